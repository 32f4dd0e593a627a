"""Files of predictions: ``.csv``, ``.json`` or ``.parquet``, one row per image."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyg_graphadapter.classifier.predictions import Prediction
from pyg_graphadapter.display import SURROGATE, csv_text, json_text, visible
from pyg_graphadapter.storage import write_output

SUFFIXES = (".csv", ".json", ".parquet")
PLACES = ("label", "second", "third")
COLUMNS = (
    "file",
    *(column for name in PLACES for column in (name, f"{name}_probability")),
    "reason",
)  # fmt: skip
SCORE = "unknown_score"  # a further column where images are rejected


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
    Where images are rejected, it has the unknown score, too; the likeliest class of a rejected
    image is its second one.
    Where the classifier abstained, there is the probability of the likeliest class and no class.

    Raises:
        ValueError: If the suffix is none of ``.csv``, ``.json`` and ``.parquet``.
        OSError: If it cannot be written.
    """
    check_prediction_file(path)
    records = [_record(row) for row in rows]
    if any(row.unknown_score is not None for row in rows):
        records = [
            {**record, SCORE: row.unknown_score} for record, row in zip(records, rows, strict=True)
        ]
    suffix = path.suffix.lower()
    if suffix == ".json":
        write_output(path, json_text(records, indent=2).encode())
    elif suffix == ".csv":
        values = (record.values() for record in records)
        write_output(path, csv_text(_columns(records), values).encode())
    else:
        write_output(path, _parquet(records))


def _record(row: Prediction) -> dict[str, Any]:
    record: dict[str, Any] = dict.fromkeys(COLUMNS)
    record["file"] = str(row.index) if row.file is None else row.file
    record["label_probability"] = row.probability
    if row.rejected_as is not None:
        record["label"] = row.rejected_as
    choices = row.top if row.is_answered else ()
    places = PLACES if row.rejected_as is None else PLACES[1:]
    for name, choice in zip(places, choices, strict=False):
        record[name] = choice.class_name
        record[f"{name}_probability"] = choice.probability
    record["reason"] = row.reason
    return record


def _columns(records: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(records[0]) if records else COLUMNS


def _parquet(records: Sequence[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    fields = [
        pa.field(name, pa.float64() if name.endswith(("probability", "score")) else pa.string())
        for name in _columns(records)
    ]
    records = [
        {name: visible(value) if isinstance(value, str) and SURROGATE.search(value) else value
         for name, value in record.items()}
        for record in records
    ]  # fmt: skip
    stream = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(records), pa.schema(fields)), stream)
    return stream.getvalue()
