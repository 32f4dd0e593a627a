"""How images and class names are encoded: settings alone, without torch."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pyg_graphadapter.data import TEMPLATES, check_templates
from pyg_graphadapter.data.descriptions import (
    DESCRIPTIONS_WEIGHT,
    DescriptionsLike,
    descriptions_of,
)
from pyg_graphadapter.settings import check_settings, setting

if TYPE_CHECKING:
    from pyg_graphadapter.encoding.encoder import Encoder

DTYPES = ("float32", "float16", "bfloat16")
SHARD_IMAGES = 128
CACHE_VARIABLES = ("GRAPHADAPTER_CACHE_DIR", "PYG_GRAPHADAPTER_CACHE")


def default_cache_folder() -> Path:
    """``$GRAPHADAPTER_CACHE_DIR``, else ``$PYG_GRAPHADAPTER_CACHE``, else ``pyg_graphadapter`` in
    the user's cache folder."""
    for variable in CACHE_VARIABLES:
        if os.environ.get(variable):
            return Path(os.environ[variable])
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
    descriptions: DescriptionsLike | None = setting(
        None, "Sentences about each class, as a table or as the path of a JSON file"
    )
    descriptions_weight: float = setting(
        DESCRIPTIONS_WEIGHT,
        "Weight of the descriptions against the templates; 1 is in place of them",
        low=0,
        high=1,
    )

    def __post_init__(self) -> None:
        """Checks every setting against its bounds, and reads the descriptions."""
        check_settings(self)
        check_templates(self.templates)
        object.__setattr__(self, "descriptions", descriptions_of(self.descriptions))

    def matched(self, class_names: tuple[str, ...]) -> Self:
        """The configuration with the descriptions of these classes alone, under their names.

        Raises:
            ValueError: As :meth:`~pyg_graphadapter.data.Descriptions.matched` does.
        """
        table = descriptions_of(self.descriptions)
        if table is None:
            return self
        return replace(self, descriptions=table.matched(class_names, self.descriptions_weight))

    def with_descriptions(
        self, descriptions: DescriptionsLike | None, weight: float | None
    ) -> Self:
        """The configuration with descriptions and their weight, where these are given.

        Raises:
            ValueError: If there is a weight, and nothing to which it belongs.
        """
        if descriptions is not None:
            self = replace(self, descriptions=descriptions)
        if weight is None:
            return self
        if self.descriptions is None:
            raise ValueError(
                "'descriptions_weight' is the weight of descriptions: give these, too."
            )
        return replace(self, descriptions_weight=weight)

    def cache_folder(self) -> Path | None:
        """The folder of the feature cache; :obj:`None` without a cache."""
        if not self.cache:
            return None
        return default_cache_folder() if self.cache_dir is None else Path(self.cache_dir)

    def describe(self) -> dict[str, Any]:
        """The settings that features depend on, as plain JSON values. Descriptions of no weight
        are none."""
        described: dict[str, Any] = {
            "dtype": self.dtype,
            "views": self.views,
            "view_seed": self.view_seed,
            "templates": self.templates,
        }
        table = descriptions_of(self.descriptions)
        if table is not None and self.descriptions_weight > 0:
            described["descriptions"] = table.digest
            described["descriptions_weight"] = self.descriptions_weight
        return described

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
