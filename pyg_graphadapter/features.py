"""Image features with labels, and the files that they come in."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from pyg_graphadapter.graph import unit
from pyg_graphadapter.settings import unknown

PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib")
SPLITS = ("train", "val", "test")
TENSOR_KEYS = (
    *(f"{split}_{part}" for split in SPLITS for part in ("features", "labels")),
    "text_features",
    "logit_scale",
    "features",
)
# Below this, what a file calls the scale is its logarithm, as CLIP's own parameter is:
SMALLEST_LOGIT_SCALE = 5.0


@dataclass(frozen=True)
class Features:
    r"""Image features of a frozen encoder with their labels, one or more augmented views an image.

    Args:
        x (torch.Tensor): The features; a matrix becomes one view an image.
        y (torch.Tensor): The labels.

    Shapes:
        - **x:** :math:`(N, V, D)` or :math:`(N, D)`
        - **y:** :math:`(N)`

    Raises:
        ValueError: If shapes or types do not fit, a value is not finite, or a label is negative.

    Example:
        >>> import torch
        >>> features = Features(torch.eye(4), torch.tensor([0, 0, 1, 1]))
        >>> features.x.shape
        torch.Size([4, 1, 4])
        >>> features.select(features.draw(shots=1, seed=0)).y
        tensor([0, 1])
    """

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        """Checks, and adds the axis of views."""
        x, y = self.x, self.y
        if x.dim() not in (2, 3) or not x.is_floating_point():
            raise ValueError(
                f"Features must be floating-point numbers [N, D] or [N, V, D] (got {x.dtype} "
                f"{list(x.shape)})."
            )
        if y.dim() != 1 or y.size(0) != x.size(0):
            raise ValueError(
                f"Expected one label an image (got labels {list(y.shape)} for features "
                f"{list(x.shape)})."
            )
        if y.is_floating_point() or y.dtype == torch.bool:
            raise ValueError(f"Labels must be integers (got {y.dtype}).")
        bad = (~x.isfinite()).flatten(1).any(dim=1)
        if bad.any():
            raise ValueError(f"Features must be finite (got NaN or infinity in {_rows(bad)}).")
        if (y < 0).any():
            raise ValueError(f"Labels must not be negative (got {int(y.min())}).")
        object.__setattr__(self, "x", x.unsqueeze(1) if x.dim() == 2 else x)
        object.__setattr__(self, "y", y.long())

    def __len__(self) -> int:
        return self.x.size(0)

    @property
    def num_channels(self) -> int:
        """The width :math:`D`."""
        return self.x.size(2)

    def mean_views(self) -> Tensor:
        """One feature of length one an image, the mean over its views ``[N, D]``."""
        return mean_views(self.x)

    def select(self, index: Tensor) -> "Features":
        """The images at ``index`` ``[M]``."""
        return Features(self.x[index], self.y[index])

    def draw(
        self,
        shots: int,
        seed: int,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        *,
        allow_fewer: bool = False,
    ) -> Tensor:
        r"""Draws the same number of images of every class, without replacement.

        Args:
            shots (int): The number of images a class.
            seed (int): Seeds the draw. Under one seed, fewer shots are a part of more shots.
            num_classes (int, optional): The number of classes; one more than the largest label if
                not given. (default: :obj:`None`)
            class_names (sequence of str, optional): Used in the error. (default: :obj:`None`)
            allow_fewer (bool, optional): Take what there is of a class that has fewer images.
                (default: :obj:`False`)

        Returns:
            torch.Tensor: The indices of the images, sorted by class.

        Raises:
            ValueError: If a class has fewer images than :obj:`shots`, naming it.
        """
        if shots < 1:
            raise ValueError(f"'shots' must be at least 1 (got {shots}).")
        count = torch.bincount(self.y, minlength=num_classes or 0)
        short = (count < shots).nonzero().flatten().tolist()
        if short and not allow_fewer:
            names = [class_names[c] if class_names is not None else str(c) for c in short]
            shown = ", ".join(
                f"{name!r} ({int(count[c])})" for name, c in zip(names[:5], short[:5], strict=True)
            )
            more = ", …" if len(short) > 5 else ""
            raise ValueError(
                f"{len(short)} of {len(count)} classes have fewer than {shots} images: {shown}"
                f"{more}. Ask for fewer shots, or add images."
            )
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self), generator=generator)
        order = order[self.y[order].argsort(stable=True)]  # by class, at random within a class
        first = count.cumsum(0) - count  # [C], where each class begins
        rank = torch.arange(len(self)) - first[self.y[order]]
        return order[rank < shots]


@dataclass(frozen=True)
class FeatureFile:
    r"""What a feature file holds: the features of a data set under one frozen encoder.

    Files are ``.npz`` or ``.safetensors``, with the keys ``train_features`` :math:`(N, D)` or
    :math:`(N, V, D)`, ``train_labels`` :math:`(N)`, ``text_features`` :math:`(C, D)`,
    ``class_names`` :math:`(C)`, and where there are any ``val_features``, ``val_labels``,
    ``test_features``, ``test_labels`` and ``logit_scale``, by which cosine similarities are
    multiplied (about 100 for CLIP). In ``.safetensors``, ``class_names`` is a JSON list in the
    metadata. Nothing is ever unpickled.

    Args:
        text (torch.Tensor): The class text features.
        class_names (tuple of str): The names of the classes.
        train (Features): What few shots are drawn from.
        val (Features, optional): The validation split. (default: :obj:`None`)
        test (Features, optional): The test split. (default: :obj:`None`)
        logit_scale (float, optional): The factor of the cosine. (default: :obj:`100.0`)

    Shapes:
        - **text:** :math:`(C, D)`

    Raises:
        ValueError: If the parts do not fit together.
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
                    f"'{split}_features' holds features that are all zero, in {_rows(empty)}: "
                    f"an image that was not encoded. Encode it again, or remove it."
                )
        if not self.logit_scale > 0:
            raise ValueError(f"'logit_scale' must be positive (got {self.logit_scale}).")

    @classmethod
    def load(cls, path: str | Path) -> "FeatureFile":
        """Reads a file.

        Raises:
            FileNotFoundError: If there is none.
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
        """Writes the file, as its suffix says.

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
        if path.suffix == ".safetensors":
            names = json.dumps(list(self.class_names), ensure_ascii=False)
            # Cloned, since safetensors refuses tensors that share memory:
            content = {key: value.contiguous().clone() for key, value in arrays.items()}
            path.write_bytes(safetensors.torch.save(content, {"class_names": names}))
        elif path.suffix == ".npz":
            plain: dict[str, Any] = {key: value.numpy() for key, value in arrays.items()}
            np.savez(path, class_names=np.array(self.class_names), **plain)
        else:
            raise ValueError(f"Feature files end with .npz or .safetensors (got {path.name}).")


def mean_views(x: Tensor) -> Tensor:
    """Features of length one ``[N, D]``, each the mean over its views ``[N, V, D]``."""
    return unit(unit(x).mean(dim=1))


def read_images(path: Path, split: str | None = None) -> tuple[Tensor, Tensor | None]:
    """Image features ``[N, D]`` of a file, the mean over views, and their labels ``[N]`` if it has
    them.

    Args:
        path (Path): A feature file; texts and class names may be missing.
        split (str, optional): ``train``, ``val`` or ``test``. If not given, the plain
            ``features`` of the file, else its last split of these. (default: :obj:`None`)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or has no such features.
    """
    if split is not None and split not in SPLITS:
        raise unknown("split", split, SPLITS)
    arrays, _ = read_arrays(path)
    wanted = [f"{name}_features" for name in ([split] if split else reversed(SPLITS))]
    keys = wanted if split else ["features", *wanted]
    key = next((key for key in keys if key in arrays), None)
    if key is None:
        raise ValueError(f"{path} has no {' or '.join(keys)}.")
    x, y = arrays[key], arrays.get(key.replace("features", "labels"))
    try:
        features = Features(x, torch.zeros(len(x), dtype=torch.long) if y is None else y)
    except ValueError as error:
        raise ValueError(f"{path}, {key!r}: {error}") from error
    return features.mean_views(), None if y is None else features.y


def check_text(text: Tensor, class_names: Sequence[str]) -> None:
    """Holds class text features ``[C, D]`` against the class names ``[C]``.

    Raises:
        ValueError: If they do not fit, or a text feature is not finite.
    """
    if text.dim() != 2 or not text.is_floating_point():
        raise ValueError(
            f"'text_features' must be floating-point numbers [C, D] (got {text.dtype} "
            f"{list(text.shape)})."
        )
    if text.size(0) != len(class_names):
        raise ValueError(
            f"'text_features' has {text.size(0)} rows for {len(class_names)} class names: one row "
            f"a class is needed."
        )
    bad = (~text.isfinite()).any(dim=1)
    if bad.any():
        raise ValueError(f"'text_features' must be finite (got NaN or infinity in {_rows(bad)}).")


def check_fits(features: Features, text: Tensor, name: str) -> None:
    """Holds image features against the class text features ``[C, D]``.

    Raises:
        ValueError: If widths differ, or a label has no class.
    """
    if features.num_channels != text.size(1):
        raise ValueError(
            f"'{name}' is {features.num_channels} wide, but the text features are "
            f"{text.size(1)} wide: both must come from one encoder."
        )
    if len(features) and int(features.y.max()) >= text.size(0):
        raise ValueError(
            f"Labels must lie in [0, {text.size(0)}), one a class (got {int(features.y.max())} "
            f"with '{name}')."
        )


def read_arrays(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...] | None]:
    """The known tensors of a feature file, and its class names where it has them.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, pickled, or of another kind.
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
        raise ValueError(f"{path} is damaged or no .npz file ({error}): write it again.") from error
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
            f"{path} is damaged or no .safetensors file ({error}): write it again."
        ) from error
    return arrays, None if names is None else tuple(str(name) for name in names)


def _split_of(arrays: dict[str, Tensor], split: str) -> Features | None:
    x, y = arrays.get(f"{split}_features"), arrays.get(f"{split}_labels")
    if x is None and y is None:
        return None
    if x is None or y is None:
        raise ValueError(f"'{split}_features' and '{split}_labels' come together or not at all.")
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


def _rows(mask: Tensor) -> str:
    index = mask.nonzero().flatten().tolist()
    return "rows " + ", ".join(map(str, index[:5])) + (", …" if len(index) > 5 else "")
