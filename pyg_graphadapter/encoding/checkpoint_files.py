"""The files of a checkpoint, looked at before memory is taken for its weights."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from huggingface_hub import try_to_load_from_cache
from transformers import AutoModel

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
FLOATING = ("F16", "BF16", "F32", "F64")
# What earlier versions of transformers stored and nothing needs: buffers that count positions, and
# the pooling of a BERT whose first token alone is projected.
NOT_NEEDED = re.compile(
    r"(^|\.)(position_ids|token_type_ids)$|^text_model\.(roberta\.)?pooler\.dense\.(weight|bias)$"
)
MAX_LAYERS = 1000
# A model may have weights that files hold once and it twice, but not many times more:
MAX_RATIO = 4


@dataclass(frozen=True)
class StoredWeight:
    """A weight as the header of its file describes it."""

    dtype: str
    shape: tuple[int, ...]


def check_layers(config: Any) -> None:
    """Refuses a configuration with more layers than any model has, which would be built for ever.

    Raises:
        ValueError: If it has so many, naming the entry.
    """
    for name, value in _numbers(config.to_dict()):
        if re.search(r"layers|depth$|num_.*blocks", name) and value > MAX_LAYERS:
            raise ValueError(f"its configuration has {name} {value:,}, and at most {MAX_LAYERS:,}")


def stored_weights(source: str, revision: str | None) -> dict[str, StoredWeight]:
    """The weights in the files of a folder or of a hub model that was fetched already, by name."""
    weights = {}
    for path in _weight_files(source, revision):
        with safetensors.safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  # it is no dictionary
                part = file.get_slice(name)
                weights[name] = StoredWeight(part.get_dtype(), tuple(part.get_shape()))
    return weights


def check_stored(weights: Mapping[str, StoredWeight], config: Any) -> None:
    """Checks that weights are floating-point numbers of the shapes that a configuration describes.

    Raises:
        ValueError: If not, naming a weight.
    """
    if not weights:
        return
    with torch.device("meta"):
        model = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
        state = model.state_dict()
    for name, weight in weights.items():
        of_model = state.get(name)
        is_floating = of_model is None or of_model.is_floating_point()
        if is_floating and weight.dtype not in FLOATING and not NOT_NEEDED.search(name):
            raise ValueError(
                f"its weight {name} is stored as {weight.dtype}, not as floating-point numbers"
            )
        if of_model is not None and tuple(of_model.shape) != weight.shape:
            raise ValueError(
                f"its weight {name} is misshaped: {list(weight.shape)} is stored, and its "
                f"configuration describes {list(of_model.shape)}"
            )
    num_stored = sum(math.prod(weight.shape) for weight in weights.values())
    num_described = sum(weight.numel() for weight in state.values())
    if num_described > MAX_RATIO * num_stored:
        raise ValueError(
            f"its configuration describes {num_described:,} weights, and its files hold "
            f"{num_stored:,}"
        )


def _weight_files(source: str, revision: str | None) -> list[Path]:
    path = _file(source, WEIGHTS, revision)
    if path is not None:
        return [path]
    index = _file(source, INDEX, revision)
    if index is None:
        return []
    names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    paths = [_file(source, name, revision) for name in sorted(set(names))]
    return [path for path in paths if path is not None]


def _file(source: str, name: str, revision: str | None) -> Path | None:
    if Path(source).is_dir():
        path = Path(source) / name
        return path if path.is_file() and path.parent == Path(source) else None
    cached = try_to_load_from_cache(source, name, revision=revision)
    return Path(cached) if isinstance(cached, str) else None


def _numbers(config: Any, where: str = "") -> Iterator[tuple[str, int]]:
    if isinstance(config, dict):
        for name, value in config.items():
            yield from _numbers(value, f"{where}.{name}" if where else str(name))
    elif isinstance(config, int) and not isinstance(config, bool):
        yield where, config
