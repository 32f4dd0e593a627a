"""Where features come from: a feature file, or images and an encoder."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from pyg_graphadapter.data import load_images
from pyg_graphadapter.encoder import Encoder
from pyg_graphadapter.encoding import DatasetEncoder, EncodingConfig
from pyg_graphadapter.feature_file import FEATURE_SUFFIXES, PICKLE_SUFFIXES, SPLITS, FeatureFile
from pyg_graphadapter.features import Features
from pyg_graphadapter.storage import sha256
from pyg_graphadapter.task import FewShotTask, draw_task


@dataclass(frozen=True)
class Origin:
    """What a result says of the features that it was measured on.

    Args:
        name (str): The name of the file or the data set.
        sha256 (str): The SHA-256 of the file, or of the features.
        model (str, optional): The encoder, where it is known. (default: :obj:`None`)
        skipped (int, optional): How many images could not be decoded. (default: :obj:`0`)
    """

    name: str
    sha256: str
    model: str | None = None
    skipped: int = 0

    @classmethod
    def of_file(cls, path: Path) -> "Origin":
        """The origin of features that were read from a file."""
        return cls(path.name, sha256(path.read_bytes()))


class Source(Protocol):
    """What features can be had of."""

    def features(self) -> FeatureFile:
        """The features of all images."""

    def task(self, shots: int, seed: int) -> FewShotTask:
        """A few shots of every class."""

    def test(self) -> Features | None:
        """The features of the test split, where there is one."""

    def origin(self) -> Origin:
        """What results say of it."""

    @property
    def text_encoder(self) -> Encoder | None:
        """The encoder of its class names, where there is one."""


class FileSource:
    """A feature file.

    Args:
        path (Path): The file.
        logit_scale (float, optional): Overrides the file's. (default: :obj:`None`)

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it cannot be read.
    """

    def __init__(self, path: Path, logit_scale: float | None = None) -> None:
        self.path = path
        file = FeatureFile.load(path)
        self.file = file if logit_scale is None else replace(file, logit_scale=logit_scale)

    def features(self) -> FeatureFile:
        """The features of all images."""
        return self.file

    def task(self, shots: int, seed: int) -> FewShotTask:
        """A few shots of every class."""
        return draw_task(self.file, shots, seed)

    def test(self) -> Features | None:
        """The features of the test split, where there is one."""
        return self.file.test

    def origin(self) -> Origin:
        """What results say of it."""
        return Origin.of_file(self.path)

    @property
    def text_encoder(self) -> None:
        """A file has none."""
        return None


class ImageSource:
    """Images, encoded when they are asked for.

    Args:
        data: Images as :func:`pyg_graphadapter.data.load_images` takes them.
        encoder (Encoder): The encoder.
        config (EncodingConfig, optional): How to encode. (default: :obj:`None`)
        logit_scale (float, optional): Overrides the encoder's. (default: :obj:`None`)
        progress (bool, optional): Show progress bars, on a terminal. (default: :obj:`True`)

    Raises:
        ValueError: If there are no such images.
    """

    def __init__(
        self,
        data: Any,
        encoder: Encoder,
        config: EncodingConfig | None = None,
        *,
        logit_scale: float | None = None,
        progress: bool = True,
    ) -> None:
        self.name = str(data) if isinstance(data, str | Path) else "images"
        self.splits = load_images(data)
        self.encode = DatasetEncoder(encoder, config, progress=progress)
        self.logit_scale = logit_scale
        self._features: FeatureFile | None = None

    def features(self) -> FeatureFile:
        """The features of all images."""
        if self._features is None:
            file = self.encode.encode(self.splits)
            scale = self.logit_scale
            self._features = file if scale is None else replace(file, logit_scale=scale)
        return self._features

    def task(self, shots: int, seed: int) -> FewShotTask:
        """A few shots of every class; no other image is encoded."""
        task = self.encode.draw_task(self.splits, shots, seed)
        return task if self.logit_scale is None else replace(task, logit_scale=self.logit_scale)

    def test(self) -> Features | None:
        """The features of the test split, where there is one."""
        return self.encode.encode_split(self.splits["test"]) if "test" in self.splits else None

    def origin(self) -> Origin:
        """What results say of it."""
        return Origin(
            Path(self.name).name,
            content_hash(self.features()),
            self.encode.encoder.name,
            len(self.encode.summary.skipped),
        )

    @property
    def text_encoder(self) -> Encoder:
        """The encoder of its class names."""
        return self.encode.encoder


def open_source(
    data: str | Path,
    model: str | Path | None,
    config: EncodingConfig | None = None,
    *,
    device: str = "auto",
    logit_scale: float | None = None,
) -> FileSource | ImageSource:
    """A feature file, by its suffix, or images, which need a model.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or there is no model for images.
    """
    if is_feature_file(data):
        return FileSource(Path(data), logit_scale)
    config = config or EncodingConfig()
    encoder = load_encoder(model, config, device)
    return ImageSource(str(data), encoder, config, logit_scale=logit_scale)


def is_feature_file(data: str | Path) -> bool:
    """Whether a name is that of a feature file, readable or not."""
    return Path(data).suffix in (*FEATURE_SUFFIXES, *PICKLE_SUFFIXES)


def load_encoder(
    model: str | Path | Encoder | None, config: EncodingConfig, device: str = "auto"
) -> Encoder:
    """The encoder of images.

    Raises:
        ValueError: If none is named, or it cannot be loaded.
    """
    if isinstance(model, Encoder):
        return model
    if model is None:
        raise ValueError(
            "Images need an encoder: name one as the model, a folder or an id on the Hugging Face "
            "hub, as openai/clip-vit-base-patch16, or the one that is built in, builtin."
        )
    return config.load(model, device)


def content_hash(file: FeatureFile) -> str:
    """The SHA-256 of features, labels, texts, class names and scale."""
    found = hashlib.sha256("\n".join(file.class_names).encode())
    found.update(str(file.logit_scale).encode())
    parts = [file.text]
    for split in SPLITS:
        features = getattr(file, split)
        parts += [] if features is None else [features.x, features.y]
    for part in parts:
        found.update(str(list(part.shape)).encode())
        found.update(part.contiguous().numpy().tobytes())
    return found.hexdigest()
