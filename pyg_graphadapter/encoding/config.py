"""How images and class names are encoded: settings alone, without torch."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyg_graphadapter.data import TEMPLATES, check_templates
from pyg_graphadapter.settings import check_settings, setting

if TYPE_CHECKING:
    from pyg_graphadapter.encoding.encoder import Encoder

DTYPES = ("float32", "float16", "bfloat16")
SHARD_IMAGES = 128
CACHE_VARIABLE = "PYG_GRAPHADAPTER_CACHE"


def default_cache_folder() -> Path:
    """``$PYG_GRAPHADAPTER_CACHE``, or ``pyg_graphadapter`` in the user's cache folder."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "pyg_graphadapter"


@dataclass(frozen=True)
class EncodingConfig:
    """How images and class names become features."""

    revision: str | None = setting(None, "Branch, tag or commit of a model on the hub")
    dtype: str = setting("float32", "Floating-point type of the encoder", choices=DTYPES)
    views: int = setting(1, "Views per training image: the image, then augmented ones", low=1)
    view_seed: int = setting(0, "Seeds the augmented views")
    encode_batch_size: int | None = setting(
        None, "Views at once in the encoder; 8 on a CPU, 256 on a GPU", low=1
    )
    workers: int | None = setting(None, "Processes that decode images", low=0)
    shard_images: int = setting(SHARD_IMAGES, "Images per shard of the feature cache", low=1)
    cache: bool = setting(True, "Keep features in the cache and use them again")
    cache_dir: str | None = setting(None, "Folder of the feature cache")
    strict: bool = setting(False, "Stop at an image that cannot be decoded, instead of skipping it")
    offline: bool = setting(False, "Download no model")
    templates: tuple[str, ...] = setting(TEMPLATES, "Prompts with {} for the class name")

    def __post_init__(self) -> None:
        """Checks every setting against its bounds."""
        check_settings(self)
        check_templates(self.templates)

    def cache_folder(self) -> Path | None:
        """The folder of the feature cache; :obj:`None` without a cache."""
        if not self.cache:
            return None
        return default_cache_folder() if self.cache_dir is None else Path(self.cache_dir)

    def describe(self) -> dict[str, Any]:
        """The settings that features depend on, as plain JSON values."""
        names = ("dtype", "views", "view_seed", "templates")
        return {name: value for name, value in asdict(self).items() if name in names}

    def load(self, model: str | Path, device: str = "auto") -> "Encoder":
        """The encoder.

        Raises:
            ValueError: As :meth:`Encoder.from_pretrained` does.
        """
        from pyg_graphadapter.encoding.encoder import Encoder  # loads transformers

        return Encoder.from_pretrained(
            model,
            revision=self.revision,
            local_files_only=self.offline,
            device=device,
            dtype=self.dtype,
            batch_size=self.encode_batch_size,
            workers=self.workers,
            shard_images=self.shard_images,
        )
