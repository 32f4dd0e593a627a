"""Which files a folder or a repository on the hub holds, and whether its model is one of open_clip
alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError

from pyg_graphadapter.encoding.checkpoint_files import INDEX, WEIGHTS
from pyg_graphadapter.encoding.open_clip.settings import CONFIG
from pyg_graphadapter.hub import is_reachable
from pyg_graphadapter.storage import FileKind, read

TRANSFORMERS_CONFIG = "config.json"


@dataclass(frozen=True)
class _ModelType:
    """The one entry of ``config.json`` that is looked at."""

    model_type: str = ""


_CONFIG_FILE: FileKind[_ModelType] = FileKind(
    "configuration of transformers", _ModelType, "Fetch it again", suffixes=(".json",)
)


def file_of(source: str, name: str, where: Mapping[str, Any]) -> Path | None:
    """A file of a folder or of a repository on the hub, which is fetched if it is there.

    Args:
        source (str): The folder, or the id on the hub.
        name (str): The name of the file.
        where (dict): Which version of it, and how it is fetched.
    """
    if Path(source).is_dir():
        path = Path(source) / name
        return path if path.is_file() else None
    choices = {key: value for key, value in where.items() if key != "trust_remote_code"}
    try:
        return Path(hf_hub_download(source, name, **choices))
    except (EntryNotFoundError, HFValidationError, OSError):  # who loads the model says why
        return None


def elsewhere(where: Mapping[str, Any]) -> dict[str, Any]:
    """How another repository is fetched, which the configuration of a model names."""
    others = {key: value for key, value in where.items() if key != "revision"}
    return others if is_reachable() else {**others, "local_files_only": True}


def model_type_of(config: Path) -> str:
    """The ``model_type`` of a ``config.json``; empty if it has none or cannot be read."""
    try:
        return read(config, _CONFIG_FILE).model_type
    except (OSError, ValueError):
        return ""


def is_open_clip(source: str, where: Mapping[str, Any], model_types: tuple[str, ...]) -> bool:
    """Whether a folder or repository holds a model in the format of open_clip alone. If it is there
    for transformers, too, that is taken.

    Args:
        source (str): The folder, or the id on the hub.
        where (dict): Which version of it, and how it is fetched.
        model_types (tuple of str): The types of models that are read as transformers saves them.
    """
    config = file_of(source, TRANSFORMERS_CONFIG, where)
    is_of_transformers = config is not None and model_type_of(config) in model_types
    if is_of_transformers and any(file_of(source, name, where) for name in (WEIGHTS, INDEX)):
        return False
    return file_of(source, CONFIG, where) is not None
