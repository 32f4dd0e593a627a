"""Feature files: the features of a data set in ``.npz`` or ``.safetensors``."""

import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from pyg_graphadapter.display import json_text
from pyg_graphadapter.features import (
    Features,
    check_different,
    check_fits,
    check_logit_scale,
    check_text,
    counted,
    num_base_classes,
    rows_of,
)
from pyg_graphadapter.outputs import check_output_file
from pyg_graphadapter.settings import unknown
from pyg_graphadapter.storage import Array, FileKind, checked, read, write_output
from pyg_graphadapter.storage.read import PICKLE_SUFFIXES

FEATURE_SUFFIXES = (".npz", ".safetensors")
SPLITS = ("train", "val", "test")
NEEDED = ("train_features", "train_labels", "text_features")
# Shapes and types are checked again where they are used, in the words of their use:
Numbers: TypeAlias = Annotated[Any, Array("fiub", (0, 1, 2, 3, 4))]


@dataclass(frozen=True)
class Content:
    """The arrays of a feature file as they are stored; one that is not there is :obj:`None`."""

    train_features: Numbers = None
    train_labels: Numbers = None
    val_features: Numbers = None
    val_labels: Numbers = None
    test_features: Numbers = None
    test_labels: Numbers = None
    features: Numbers = None
    labels: Numbers = None
    text_features: Numbers = None
    logit_scale: Numbers = None
    class_names: Annotated[Any, Array("USiu", (1,))] | str | None = None


FEATURE_FILE: FileKind[Content] = FileKind(
    "feature file",
    Content,
    "It is damaged or of another kind: write it again",
    suffixes=FEATURE_SUFFIXES,
    max_bytes=2**44,  # the arrays that are asked for must fit into memory, nothing else
)


@dataclass(frozen=True)
class FeatureFile:
    r"""The features of a data set under one frozen encoder, as a feature file holds them.

    Files are ``.npz`` or ``.safetensors``, with the keys ``train_features`` :math:`(N, D)` or
    :math:`(N, V, D)`, ``train_labels`` :math:`(N)`, ``text_features`` :math:`(C, D)`,
    ``class_names`` :math:`(C)`, and optionally ``val_features``, ``val_labels``,
    ``test_features``, ``test_labels`` and ``logit_scale``, the factor of cosine similarities (about
    100 for CLIP). In ``.safetensors``, ``class_names`` is a JSON list in the
    metadata. Files are never unpickled.

    Args:
        text (torch.Tensor): The class text features.
        class_names (tuple of str): The names of the classes.
        train (Features): The images from which few shots are drawn.
        val (Features, optional): The validation split. (default: :obj:`None`)
        test (Features, optional): The test split. (default: :obj:`None`)
        logit_scale (float, optional): The factor of the cosine. (default: :obj:`100.0`)

    Shapes:
        - **text:** :math:`(C, D)`

    Raises:
        ValueError: If the parts do not fit together.

    Example:
        >>> train = Features(torch.eye(4), torch.tensor([0, 0, 1, 1]))
        >>> FeatureFile(text=torch.ones(2, 4), class_names=("cat", "dog"), train=train)
        FeatureFile(2 classes, 4 wide, train: 4 images, 1 view)
    """

    text: Tensor
    class_names: tuple[str, ...]
    train: Features
    val: Features | None = None
    test: Features | None = None
    logit_scale: float = 100.0

    def __post_init__(self) -> None:
        """Checks that the parts fit together."""
        check_text(self.text, self.class_names)
        for split in SPLITS:
            features = getattr(self, split)
            if features is None:
                continue
            check_fits(features, self.text, f"{split}_features")
            empty = (features.x == 0).all(dim=2).any(dim=1)
            if empty.any():
                raise ValueError(
                    f"'{split}_features' holds features that are all zero, in {rows_of(empty)}: "
                    f"an image that was not encoded. Encode it again, or remove it."
                )
        check_logit_scale(self.logit_scale)

    @classmethod
    def load(cls, path: str | Path) -> "FeatureFile":
        """Reads a file.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If it is damaged, pickled, or its content does not fit together.
        """
        path = Path(path)
        content = read_content(path)
        present = [name for name, value in vars(content).items() if value is not None]
        missing = [name for name in NEEDED if name not in present]
        if missing:
            listing = ", ".join(sorted(present)) or "no known key"
            raise ValueError(f"{path} has no {', '.join(missing)} (it has {listing}).")
        try:
            text = content.text_features
            names = _names_of(content)
            file = cls(
                text=text,
                class_names=tuple(str(c) for c in range(len(text))) if names is None else names,
                logit_scale=_logit_scale_of(content),
                **{split: _split_of(content, split) for split in SPLITS},  # type: ignore[arg-type]
            )
            check_different(file.text)
            return file
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, path: str | Path) -> None:
        """Writes the file in the format of its suffix.

        Raises:
            ValueError: If the suffix is neither ``.npz`` nor ``.safetensors``.
            OSError: If it cannot be written.
        """
        path = Path(path)
        check_feature_path(path)
        check_output_file(path)
        arrays = {
            "text_features": self.text,
            "logit_scale": torch.tensor(self.logit_scale),
        }
        for split in SPLITS:
            features = getattr(self, split)
            if features is not None:
                arrays[f"{split}_features"] = features.x
                arrays[f"{split}_labels"] = features.y
        if path.suffix == ".safetensors":
            names = json_text(list(self.class_names))
            # Cloned, since safetensors refuses tensors that share memory:
            content = {key: value.contiguous().clone() for key, value in arrays.items()}
            write_output(path, safetensors.torch.save(content, {"class_names": names}))
        else:
            numpy_arrays: dict[str, Any] = {key: value.numpy() for key, value in arrays.items()}
            stream = io.BytesIO()
            np.savez(stream, class_names=np.array(self.class_names), **numpy_arrays)
            write_output(path, stream.getvalue())

    def base_and_new(self) -> tuple["FeatureFile", "FeatureFile"]:
        """Splits the file into the first half of its classes and the others, like
        :func:`pyg_graphadapter.data.base_and_new`.

        Raises:
            ValueError: If there are fewer than two classes.
        """
        num_classes = len(self.class_names)
        num_base = num_base_classes(num_classes)
        return self._classes(0, num_base), self._classes(num_base, num_classes)

    def __repr__(self) -> str:
        parts = [counted(len(self.class_names), "class"), f"{self.text.size(1)} wide"]
        for split in SPLITS:
            features = getattr(self, split)
            if features is not None:
                images, views = features.x.shape[:2]
                parts.append(f"{split}: {counted(images, 'image')}, {counted(views, 'view')}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def _classes(self, start: int, stop: int) -> "FeatureFile":
        def images(features: Features) -> Features:
            index = ((features.y >= start) & (features.y < stop)).nonzero().flatten()
            return Features(features.x[index], features.y[index] - start)

        return replace(
            self,
            text=self.text[start:stop],
            class_names=self.class_names[start:stop],
            train=images(self.train),
            val=None if self.val is None else images(self.val),
            test=None if self.test is None else images(self.test),
        )


def is_feature_file(data: object) -> bool:
    """Whether data is the name of a feature file, readable or not."""
    suffixes = (*FEATURE_SUFFIXES, *PICKLE_SUFFIXES)
    return isinstance(data, str | Path) and Path(data).suffix in suffixes


def check_feature_path(path: Path) -> None:
    """Checks the suffix of a feature file.

    Raises:
        ValueError: If the suffix is neither ``.npz`` nor ``.safetensors``.
    """
    if path.suffix not in FEATURE_SUFFIXES:
        raise ValueError(f"Feature files end with .npz or .safetensors (got {path.name}).")


class StoredImages(NamedTuple):
    """Image features of a feature file, which may lack all else.

    Args:
        x (torch.Tensor): The mean over views ``[N, D]``.
        y (torch.Tensor, optional): The labels ``[N]``.
        class_names (tuple of str, optional): The names of the classes that the labels count.
    """

    x: Tensor
    y: Tensor | None
    class_names: tuple[str, ...] | None


def read_images(path: Path, split: str | None = None) -> StoredImages:
    """Reads image features, and their labels and the names of their classes if it has any.

    Args:
        path (Path): A feature file, which may lack texts and class names.
        split (str, optional): ``train``, ``val`` or ``test``. If not given, the
            ``features`` of the file or, if there are none, its last split. (default: :obj:`None`)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or has no such features.
    """
    if split is not None and split not in SPLITS:
        raise unknown("split", split, SPLITS)
    content = read_content(path)
    split_keys = [f"{name}_features" for name in ([split] if split else reversed(SPLITS))]
    keys = split_keys if split else ["features", *split_keys]
    key = next((key for key in keys if getattr(content, key) is not None), None)
    if key is None:
        raise ValueError(f"{path} has no {' or '.join(keys)}.")
    x, y = getattr(content, key), getattr(content, key.replace("features", "labels"))
    try:
        features = Features(x, torch.zeros(x.shape[:1], dtype=torch.long) if y is None else y)
        names = _names_of(content)
    except ValueError as error:
        raise ValueError(f"{path}, {key!r}: {error}") from error
    return StoredImages(features.mean_views(), None if y is None else features.y, names)


def read_content(path: Path) -> Content:
    """Reads the known tensors of a feature file, and its class names if it has any.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, pickled, or of an unknown kind.
    """
    if not is_feature_file(path):
        raise ValueError(f"Feature files end with .npz or .safetensors (got {path.name}).")
    return read(path, FEATURE_FILE)


def _names_of(content: Content) -> tuple[str, ...] | None:
    """The class names: an array of texts or whole numbers, or the text of a JSON list."""
    names = content.class_names
    if isinstance(names, str):
        try:
            names = json.loads(names)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"'class_names' is no JSON list ({error}).") from error
        names = checked(names, tuple[str | int, ...], "'class_names'")
    if names is None:
        return None
    return tuple(str(name) for name in (names.tolist() if isinstance(names, Tensor) else names))


def _split_of(content: Content, split: str) -> Features | None:
    x, y = getattr(content, f"{split}_features"), getattr(content, f"{split}_labels")
    if x is None and y is None:
        return None
    if x is None or y is None:
        raise ValueError(f"'{split}_features' and '{split}_labels' are needed together.")
    try:
        return Features(x, y)
    except ValueError as error:
        raise ValueError(f"'{split}_features' and '{split}_labels': {error}") from error


def _logit_scale_of(content: Content) -> float:
    stored = content.logit_scale
    if stored is None:
        return 100.0
    if stored.numel() != 1:
        raise ValueError(f"'logit_scale' must be one number (got {list(stored.shape)}).")
    return check_logit_scale(float(stored))
