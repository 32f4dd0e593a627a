"""Files of predictions: ``.csv``, ``.json`` or ``.parquet``, one row per image."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyg_graphadapter.classifier.predictions import Prediction
from pyg_graphadapter.display import SURROGATE, csv_cell, json_text, visible
from pyg_graphadapter.storage import write_output

SUFFIXES = (".csv", ".json", ".parquet")
PLACES = ("label", "second", "third")
COLUMNS = (
    "file",
    *(column for name in PLACES for column in (name, f"{name}_probability")),
    "reason",
)  # fmt: skip


def check_prediction_file(path: Path) -> None:
    """Checks the suffix of a file of predictions.

    Raises:
        ValueError: If it is none of ``.csv``, ``.json`` and ``.parquet``.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"Predictions are written to .csv, .json or .parquet (got {path.name}).")


def write_predictions(rows: Sequence[Prediction], path: Path) -> None:
    """Writes one row per image: the file (or the row number of its features), the class name with
    its probability, the second and third likeliest classes, and the reason where there is no label.
    Where the classifier abstained, there is the probability of the likeliest class and no class.

    Raises:
        ValueError: If the suffix is none of ``.csv``, ``.json`` and ``.parquet``.
        OSError: If it cannot be written.
    """
    check_prediction_file(path)
    records = [_record(row) for row in rows]
    suffix = path.suffix.lower()
    if suffix == ".json":
        write_output(path, json_text(records, indent=2).encode())
    elif suffix == ".csv":
        stream = io.StringIO(newline="")
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows([[_csv(value) for value in record.values()] for record in records])
        write_output(path, stream.getvalue().encode())
    else:
        write_output(path, _parquet(records))


def _record(row: Prediction) -> dict[str, Any]:
    record: dict[str, Any] = dict.fromkeys(COLUMNS)
    record["file"] = str(row.index) if row.file is None else row.file
    choices = row.top if row.is_answered else ()
    record["label_probability"] = row.probability
    for name, choice in zip(PLACES, choices, strict=False):
        record[name] = choice.class_name
        record[f"{name}_probability"] = choice.probability
    record["reason"] = row.reason
    return record


def _csv(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else csv_cell(value)


def _parquet(records: Sequence[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    fields = [
        pa.field(name, pa.float64() if name.endswith("probability") else pa.string())
        for name in COLUMNS
    ]
    records = [
        {name: visible(value) if isinstance(value, str) and SURROGATE.search(value) else value
         for name, value in record.items()}
        for record in records
    ]  # fmt: skip
    stream = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(records), pa.schema(fields)), stream)
    return stream.getvalue()
