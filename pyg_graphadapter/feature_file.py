"""Feature files: the features of a data set in ``.npz`` or ``.safetensors``."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
import safetensors.torch
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from pyg_graphadapter.display import json_text
from pyg_graphadapter.feature_keys import known_key, match_keys, nearest_key
from pyg_graphadapter.features import (
    Features,
    check_different,
    check_fits,
    check_labels,
    check_logit_scale,
    check_text,
    counted,
    num_base_classes,
    rows_of,
)
from pyg_graphadapter.labels import check_unique, class_names_of, names_of_labels, read_labels
from pyg_graphadapter.orientation import (
    as_rows,
    as_texts,
    check_order_of_texts,
    check_same_order,
    list_of_names,
    tensor_or_names,
)
from pyg_graphadapter.outputs import check_output_file
from pyg_graphadapter.settings import unknown, warn
from pyg_graphadapter.storage import (
    Array,
    Arrays,
    ContentError,
    FileKind,
    checked,
    read,
    write_output,
)
from pyg_graphadapter.storage.read import PARSERS, PICKLE_SUFFIXES

FEATURE_SUFFIXES = (".npz", ".safetensors")
SPLITS = ("train", "val", "test")
NEEDED = ("train_features", "train_labels")
NAMES_IF_TEXT = ("classes", "names", "categories")  # are class names only where they are text
# Shapes and types are checked again where they are used, in the words of their use:
Numbers: TypeAlias = Annotated[Any, Array("fiub", (0, 1, 2, 3, 4))]
# In the metadata of .safetensors, labels and names are JSON lists:
Labels: TypeAlias = Annotated[Any, Array("fiubUS", (0, 1, 2, 3))] | str


@dataclass(frozen=True)
class Content:
    """The arrays of a feature file as they are stored; one that is not there is :obj:`None`."""

    train_features: Numbers = None
    train_labels: Labels | None = None
    val_features: Numbers = None
    val_labels: Labels | None = None
    test_features: Numbers = None
    test_labels: Labels | None = None
    features: Numbers = None
    labels: Labels | None = None
    text_features: Numbers = None
    logit_scale: Numbers = None
    class_names: Annotated[Any, Array("USiu", (1,))] | str | None = None
    unknown_keys: tuple[str, ...] = ()


class _KnownKeys(Arrays):
    """The arrays of a file under the keys that their names stand for."""

    def __init__(self, arrays: Arrays) -> None:
        names = [name for name in arrays if not _describes(arrays, name)]
        candidates = [name for name in names if not _is_other_array(arrays, name)]
        try:
            by_key, _ = match_keys(candidates)
        except ValueError as error:
            raise ContentError(str(error)) from error
        unknown_keys = [name for name in names if name not in by_key.values()]
        super().__init__({**by_key, "unknown_keys": unknown_keys})
        self._arrays = arrays

    def __getitem__(self, name: str) -> Any:
        if name == "unknown_keys":
            return self._entries[name]
        return self._arrays[self._entries[name]]


def _describes(arrays: Arrays, name: str) -> bool:
    """Whether a name is that of a text which describes the file, and of no list."""
    key = known_key(name) or ""
    is_list = key == "class_names" or key.endswith("labels")
    return arrays.description(name) is not None and not is_list


def _is_other_array(arrays: Arrays, name: str) -> bool:
    """Whether an array has the usual name of class names and holds none."""
    if name.lower() not in NAMES_IF_TEXT or arrays.description(name) is not None:
        return False
    return arrays[name].kind not in "US"


def _parse(stream: BinaryIO, path: Path) -> _KnownKeys:
    return _KnownKeys(PARSERS[path.suffix.lower()](stream, path))


FEATURE_FILE: FileKind[Content] = FileKind(
    "feature file",
    Content,
    "It is damaged or of another kind: write it again",
    suffixes=FEATURE_SUFFIXES,
    parse=_parse,
    max_bytes=2**44,  # the arrays that are asked for must fit into memory, nothing else
    content_remedy="Correct it and write it again",
)


@dataclass(frozen=True)
class FeatureFile:
    r"""The features of a data set under one frozen encoder, as a feature file holds them.

    Files are ``.npz`` or ``.safetensors``, with the keys ``train_features`` :math:`(N, D)` or
    :math:`(N, V, D)`, ``train_labels`` :math:`(N)`, and optionally ``text_features``
    :math:`(C, D)`, ``class_names`` :math:`(C)`, ``val_features``, ``val_labels``,
    ``test_features``, ``test_labels`` and ``logit_scale``, the factor of cosine similarities (about
    100 for CLIP). In ``.safetensors``, ``class_names`` is a JSON list in the
    metadata. Files are never unpickled.

    Usual other names of these keys are understood (``classnames``, ``validation_features``,
    ``test_feats``), and a key that is not read is named in a warning. Labels are whole numbers that
    count the classes from 0, one-hot rows, or class names.

    Without texts, only methods that need none can be used
    (:obj:`~pyg_graphadapter.adapters.Adapter.needs_text`).

    Args:
        text (torch.Tensor, optional): The class text features, or :obj:`None`.
        class_names (tuple of str): The names of the classes.
        train (Features): The images from which few shots are drawn.
        val (Features, optional): The validation split. (default: :obj:`None`)
        test (Features, optional): The test split. (default: :obj:`None`)
        logit_scale (float, optional): The factor of the cosine. (default: :obj:`100.0`)
        is_numbered (bool, optional): The class names are only numbers that stand for the names
            which the file lacks. (default: :obj:`False`)

    Shapes:
        - **text:** :math:`(C, D)`

    Raises:
        ValueError: If the parts do not fit together.

    Example:
        >>> train = Features(torch.eye(4), torch.tensor([0, 0, 1, 1]))
        >>> FeatureFile(text=torch.ones(2, 4), class_names=("cat", "dog"), train=train)
        FeatureFile(2 classes, 4 wide, train: 4 images, 1 view)
    """

    text: Tensor | None
    class_names: tuple[str, ...]
    train: Features
    val: Features | None = None
    test: Features | None = None
    logit_scale: float = 100.0
    is_numbered: bool = False

    def __post_init__(self) -> None:
        """Checks that the parts fit together."""
        if self.text is not None:
            check_text(self.text, self.class_names)
        for split, features in self._splits():
            if self.text is not None:
                check_fits(features, self.text, f"{split}_features")
            elif features.num_channels != self.num_channels:
                raise ValueError(
                    f"'{split}_features' is {features.num_channels} wide, but 'train_features' is "
                    f"{self.num_channels} wide: both must come from the same encoder."
                )
            check_labels(features, len(self.class_names), f"{split}_features")
            empty = (features.x == 0).all(dim=2).any(dim=1)
            if empty.any():
                raise ValueError(
                    f"'{split}_features' holds features that are all zero, in {rows_of(empty)}: "
                    f"an image that was not encoded. Encode it again, or remove it."
                )
        check_logit_scale(self.logit_scale)

    def _splits(self) -> Iterator[tuple[str, Features]]:
        for split in SPLITS:
            features = getattr(self, split)
            if features is not None:
                yield split, features

    @property
    def num_channels(self) -> int:
        """The width :math:`D`."""
        return self.train.num_channels

    @property
    def has_class_names(self) -> bool:
        """Whether its classes have names, and not only the numbers 0, 1, …"""
        return self.class_names != tuple(map(str, range(len(self.class_names))))

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
        present.remove("unknown_keys")
        missing = [name for name in NEEDED if name not in present]
        if missing:
            listing = ", ".join(sorted(present)) or "no known key"
            raise ValueError(f"{path} has no {', '.join(missing)} (it has {listing}).")
        try:
            file = cls._of(content)
            if file.text is not None:
                check_different(file.text)
            return file
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def _of(cls, content: Content) -> "FeatureFile":
        labels = {f"{split}_labels": _labels_of(content, f"{split}_labels") for split in SPLITS}
        stored_names = _names_of(content)
        names = class_names_of(stored_names, content.text_features, labels)
        has_names = stored_names is not None or any(isinstance(y, list) for y in labels.values())
        splits = {
            split: _split_of(content, split, labels[f"{split}_labels"], names) for split in SPLITS
        }
        return cls(
            text=content.text_features,
            class_names=names,
            logit_scale=_logit_scale_of(content),
            is_numbered=not has_names,
            **splits,  # type: ignore[arg-type]
        )

    @classmethod
    def from_arrays(
        cls,
        train_features: Any,
        train_labels: Any,
        *,
        val_features: Any = None,
        val_labels: Any = None,
        test_features: Any = None,
        test_labels: Any = None,
        text_features: Any = None,
        class_names: Sequence[str] | None = None,
        logit_scale: float = 100.0,
    ) -> "FeatureFile":
        """The features of arrays of numpy, torch or pandas, or of lists.

        Labels are whole numbers that count the classes from 0, one-hot rows, or class names.
        Features and texts that are stored as columns are recognised by their widths and the
        number of labels, which a warning says.

        Args:
            train_features (array): The features ``[N, D]`` or ``[N, V, D]``, or ``[D, N]``.
            train_labels (array): Their labels.
            val_features (array, optional): Those of the validation split. (default: :obj:`None`)
            val_labels (array, optional): Their labels. (default: :obj:`None`)
            test_features (array, optional): Those of the test split. (default: :obj:`None`)
            test_labels (array, optional): Their labels. (default: :obj:`None`)
            text_features (array, optional): The texts ``[C, D]``, or ``[D, C]``.
                (default: :obj:`None`)
            class_names (sequence of str, optional): The names of the classes; if not given, those
                in the labels, else numbers. (default: :obj:`None`)
            logit_scale (float, optional): The factor of the cosine. (default: :obj:`100.0`)

        Raises:
            ValueError: If an array holds something else, or they do not fit together.

        Example:
            >>> FeatureFile.from_arrays(np.ones((4, 8)), ["cat", "cat", "dog", "dog"])
            FeatureFile(2 classes, 8 wide, no texts, train: 4 images, 1 view)
        """
        stored = {
            "train_features": train_features,
            "train_labels": train_labels,
            "val_features": val_features,
            "val_labels": val_labels,
            "test_features": test_features,
            "test_labels": test_labels,
            "text_features": text_features,
        }
        arrays: dict[str, Any] = {
            name: tensor_or_names(values, name)
            for name, values in stored.items()
            if values is not None
        }
        for split in SPLITS:
            check_same_order(stored[f"{split}_features"], stored[f"{split}_labels"])
            x, labels = (arrays.get(f"{split}_{kind}") for kind in ("features", "labels"))
            if isinstance(x, Tensor) and labels is not None:
                arrays[f"{split}_features"] = as_rows(x, len(labels), f"{split}_features")
        if isinstance(arrays.get("text_features"), Tensor):
            width = arrays["train_features"].shape[-1]
            arrays["text_features"] = as_texts(arrays["text_features"], width)
        names = None if class_names is None else list_of_names(class_names)
        check_unique(names or ())
        scale = torch.tensor(logit_scale)
        file = cls._of(Content(**arrays, class_names=names, logit_scale=scale))
        check_order_of_texts(text_features, file.class_names)
        return file

    def save(self, path: str | Path) -> None:
        """Writes the file in the format of its suffix.

        Raises:
            ValueError: If the suffix is neither ``.npz`` nor ``.safetensors``.
            OSError: If it cannot be written.
        """
        path = Path(path)
        check_feature_path(path)
        check_output_file(path)
        arrays = {"logit_scale": torch.tensor(self.logit_scale)}
        if self.text is not None:
            arrays["text_features"] = self.text
        for split, features in self._splits():
            arrays[f"{split}_features"] = features.x
            arrays[f"{split}_labels"] = features.y
        names = None if self._has_numbers_alone() else list(self.class_names)
        if path.suffix == ".safetensors":
            metadata = None if names is None else {"class_names": json_text(names)}
            # Cloned, since safetensors refuses tensors that share memory:
            content = {key: value.contiguous().clone() for key, value in arrays.items()}
            write_output(path, safetensors.torch.save(content, metadata))
        else:
            numpy_arrays: dict[str, Any] = {
                # numpy knows no bfloat16:
                key: (value.float() if value.dtype == torch.bfloat16 else value).numpy()
                for key, value in arrays.items()
            }
            if names is not None:
                numpy_arrays["class_names"] = np.array(names)
            stream = io.BytesIO()
            np.savez(stream, **numpy_arrays)
            write_output(path, stream.getvalue())

    def as_dataset(self, split: str = "train") -> TensorDataset:
        """A split as a data set of torch (:meth:`Features.as_dataset`).

        Args:
            split (str, optional): ``train``, ``val`` or ``test``. (default: :obj:`"train"`)

        Raises:
            ValueError: If there is no such split, listing those that there are.
        """
        splits = dict(self._splits())
        if split not in splits:
            raise unknown("split", split, list(splits))
        return splits[split].as_dataset()

    def _has_numbers_alone(self) -> bool:
        """Whether texts and labels say what the classes are, so that names would say no more."""
        present = torch.cat([features.y for _, features in self._splits()])
        last = len(self.class_names) - 1
        return self.is_numbered and (self.text is not None or bool((present == last).any()))

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
        parts = [counted(len(self.class_names), "class"), f"{self.num_channels} wide"]
        if self.text is None:
            parts.append("no texts")
        for split, features in self._splits():
            images, views = features.x.shape[:2]
            parts.append(f"{split}: {counted(images, 'image')}, {counted(views, 'view')}")
        return f"{type(self).__name__}({', '.join(parts)})"

    def _classes(self, start: int, stop: int) -> "FeatureFile":
        def images(features: Features) -> Features:
            index = ((features.y >= start) & (features.y < stop)).nonzero().flatten()
            return Features(features.x[index], features.y[index] - start)

        return replace(
            self,
            text=None if self.text is None else self.text[start:stop],
            class_names=self.class_names[start:stop],
            is_numbered=self.is_numbered and start == 0,
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
    x, labels = getattr(content, key), key.replace("features", "labels")
    try:
        names, values = _names_of(content), _labels_of(content, labels)
        if values is None:
            return StoredImages(_images_of(x).mean_views(), None, names)
        if isinstance(values, list) and names is None:
            names = names_of_labels(values)
        y, _ = read_labels(values, labels, names, None)
        return StoredImages(Features(x, y).mean_views(), y, names)
    except ValueError as error:
        raise ValueError(f"{path}, {key!r}: {error}") from error


def read_content(path: Path) -> Content:
    """Reads the known tensors of a feature file, and its class names if it has any.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, pickled, or of an unknown kind.
    """
    if not is_feature_file(path):
        raise ValueError(f"Feature files end with .npz or .safetensors (got {path.name}).")
    content = read(path, FEATURE_FILE)
    if content.unknown_keys:
        listing = []
        for name in content.unknown_keys:
            nearest = nearest_key(name)
            listing.append(repr(name) + (f" (did you mean {nearest!r}?)" if nearest else ""))
        warn(f"{path} holds keys that are not read: {', '.join(listing)}.")
    return content


def _json_list(text: str, name: str) -> tuple[str | int, ...]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name!r} is no JSON list ({error}).") from error
    values: tuple[str | int, ...] = checked(content, tuple[str | int, ...], repr(name))
    return values


def _names_of(content: Content) -> tuple[str, ...] | None:
    """The class names: an array of texts or whole numbers, or the text of a JSON list."""
    names = content.class_names
    if isinstance(names, str):
        names = _json_list(names, "class_names")
    if names is None:
        return None
    return tuple(str(name) for name in (names.tolist() if isinstance(names, Tensor) else names))


def _labels_of(content: Content, name: str) -> Tensor | list[str] | None:
    """Labels as they are stored: numbers, or names."""
    values: Any = getattr(content, name)
    if isinstance(values, str):
        entries = _json_list(values, name)
        if all(isinstance(entry, int) for entry in entries):
            return torch.tensor(entries, dtype=torch.long)
        return [str(entry) for entry in entries]
    if isinstance(values, list) and not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name!r} must have one name per image.")
    if isinstance(values, Tensor) and values.dtype in (torch.uint16, torch.uint32, torch.uint64):
        values = values.long()
    return values  # type: ignore[no-any-return]


def _images_of(x: Tensor) -> Features:
    return Features(x, torch.zeros(x.shape[:1], dtype=torch.long))


def _split_of(
    content: Content, split: str, labels: Tensor | list[str] | None, names: tuple[str, ...]
) -> Features | None:
    x = getattr(content, f"{split}_features")
    if x is None and labels is None:
        return None
    if x is None or labels is None:
        raise ValueError(f"'{split}_features' and '{split}_labels' are needed together.")
    y, _ = read_labels(labels, f"{split}_labels", names, len(names))
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
