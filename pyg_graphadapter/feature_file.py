"""Feature files: the features of a data set in ``.npz`` or ``.safetensors``."""

import io
import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from pyg_graphadapter.features import (
    Features,
    check_fits,
    check_text,
    counted,
    num_base_classes,
    rows_of,
)
from pyg_graphadapter.settings import unknown
from pyg_graphadapter.storage import write_atomic

PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib")
FEATURE_SUFFIXES = (".npz", ".safetensors")
SPLITS = ("train", "val", "test")
TENSOR_KEYS = (
    *(f"{split}_{part}" for split in SPLITS for part in ("features", "labels")),
    "text_features",
    "logit_scale",
    "features",
)
# A smaller scale in a file is taken for the logarithm, which is CLIP's parameter:
SMALLEST_LOGIT_SCALE = 5.0


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
        if not self.logit_scale > 0:
            raise ValueError(f"'logit_scale' must be positive (got {self.logit_scale}).")

    @classmethod
    def load(cls, path: str | Path) -> "FeatureFile":
        """Reads a file.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If it is damaged, pickled, or its content does not fit together.
        """
        path = Path(path)
        arrays, class_names = read_arrays(path)
        needed = ("train_features", "train_labels", "text_features")
        missing = [key for key in needed if key not in arrays]
        if missing:
            present = ", ".join(sorted(arrays)) or "no known key"
            raise ValueError(f"{path} has no {', '.join(missing)} (it has {present}).")
        try:
            text = arrays["text_features"]
            return cls(
                text=text,
                class_names=class_names or tuple(str(c) for c in range(len(text))),
                logit_scale=_read_logit_scale(arrays),
                **{split: _split_of(arrays, split) for split in SPLITS},  # type: ignore[arg-type]
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, path: str | Path) -> None:
        """Writes the file in the format of its suffix.

        Raises:
            ValueError: If the suffix is neither ``.npz`` nor ``.safetensors``.
        """
        path = Path(path)
        arrays = {
            "text_features": self.text,
            "logit_scale": torch.tensor(self.logit_scale),
        }
        for split in SPLITS:
            features = getattr(self, split)
            if features is not None:
                arrays[f"{split}_features"] = features.x
                arrays[f"{split}_labels"] = features.y
        check_feature_path(path)
        if path.suffix == ".safetensors":
            names = json.dumps(list(self.class_names), ensure_ascii=False)
            # Cloned, since safetensors refuses tensors that share memory:
            content = {key: value.contiguous().clone() for key, value in arrays.items()}
            write_atomic(path, safetensors.torch.save(content, {"class_names": names}))
        else:
            numpy_arrays: dict[str, Any] = {key: value.numpy() for key, value in arrays.items()}
            stream = io.BytesIO()
            np.savez(stream, class_names=np.array(self.class_names), **numpy_arrays)
            write_atomic(path, stream.getvalue())

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


def check_feature_path(path: Path) -> None:
    """Checks the suffix of a feature file.

    Raises:
        ValueError: If the suffix is neither ``.npz`` nor ``.safetensors``.
    """
    if path.suffix not in FEATURE_SUFFIXES:
        raise ValueError(f"Feature files end with .npz or .safetensors (got {path.name}).")


def read_images(path: Path, split: str | None = None) -> tuple[Tensor, Tensor | None]:
    """Reads image features ``[N, D]``, the mean over views, and their labels ``[N]`` if it has any.

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
    arrays, _ = read_arrays(path)
    split_keys = [f"{name}_features" for name in ([split] if split else reversed(SPLITS))]
    keys = split_keys if split else ["features", *split_keys]
    key = next((key for key in keys if key in arrays), None)
    if key is None:
        raise ValueError(f"{path} has no {' or '.join(keys)}.")
    x, y = arrays[key], arrays.get(key.replace("features", "labels"))
    try:
        features = Features(x, torch.zeros(len(x), dtype=torch.long) if y is None else y)
    except ValueError as error:
        raise ValueError(f"{path}, {key!r}: {error}") from error
    return features.mean_views(), None if y is None else features.y


def read_arrays(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...] | None]:
    """Reads the known tensors of a feature file, and its class names if it has any.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, pickled, or of an unknown kind.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no feature file {path}: give the path of a .npz or .safetensors file."
        )
    if path.suffix in PICKLE_SUFFIXES:
        raise ValueError(
            f"{path} is a pickle, which can run any code when it is read: save the features as "
            f".npz or .safetensors instead."
        )
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    raise ValueError(f"Feature files end with .npz or .safetensors (got {path.name}).")


def _read_npz(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...] | None]:
    arrays: dict[str, Tensor] = {}
    class_names = None
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            for key in file.files:
                if key == "class_names":
                    class_names = tuple(str(name) for name in file[key])
                elif key in TENSOR_KEYS:
                    arrays[key] = torch.from_numpy(np.ascontiguousarray(file[key]))
    except (ValueError, TypeError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        if "pickle" in str(error).lower():
            raise ValueError(
                f"{path} holds pickled objects, which can run any code when they are read: save "
                f"plain arrays."
            ) from error
        raise ValueError(
            f"{path} is damaged or not a .npz file ({error}): write it again."
        ) from error
    return arrays, class_names


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...] | None]:
    arrays: dict[str, Tensor] = {}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            for key in file.keys():  # noqa: SIM118  # it is no dictionary
                if key in TENSOR_KEYS:
                    arrays[key] = file.get_tensor(key)
        names = json.loads(metadata["class_names"]) if "class_names" in metadata else None
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is damaged or not a .safetensors file ({error}): write it again."
        ) from error
    return arrays, None if names is None else tuple(str(name) for name in names)


def _split_of(arrays: dict[str, Tensor], split: str) -> Features | None:
    x, y = arrays.get(f"{split}_features"), arrays.get(f"{split}_labels")
    if x is None and y is None:
        return None
    if x is None or y is None:
        raise ValueError(f"'{split}_features' and '{split}_labels' are needed together.")
    try:
        return Features(x, y)
    except ValueError as error:
        raise ValueError(f"'{split}_features' and '{split}_labels': {error}") from error


def _read_logit_scale(arrays: dict[str, Tensor]) -> float:
    if "logit_scale" not in arrays:
        return 100.0
    if arrays["logit_scale"].numel() != 1:
        raise ValueError(
            f"'logit_scale' must be one number (got {list(arrays['logit_scale'].shape)})."
        )
    scale = float(arrays["logit_scale"])
    if not scale >= SMALLEST_LOGIT_SCALE:
        raise ValueError(
            f"'logit_scale' is the factor of the cosine, about 100 for CLIP (got {scale:g}): store "
            f"exp(logit_scale) instead of the encoder's parameter."
        )
    return scale
