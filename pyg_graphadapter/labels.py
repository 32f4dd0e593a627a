"""Labels in the forms that people have: numbers, names, one-hot rows."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyg_graphadapter.features import rows_of
from pyg_graphadapter.settings import warn

SHOWN = 5  # names in a sentence
MAX_NUMBERED = 1_000_000  # classes that have no names
NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")  # longer ones are names


def names_of_labels(labels: Iterable[Any]) -> tuple[str, ...]:
    """The classes of text labels: sorted, and by value if all are numbers."""
    names = {str(label) for label in labels}
    if all(NUMBER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def class_names_of(
    names: tuple[str, ...] | None,
    text: Tensor | None,
    labels: Mapping[str, Tensor | list[str] | None],
) -> tuple[str, ...]:
    """The class names of a file: its own, those in its labels, or else numbers.

    Args:
        names (tuple of str, optional): Its class names, if it has any.
        text (torch.Tensor, optional): Its text features, if it has any.
        labels (mapping): The labels of its splits, as they are stored, by what they are called.

    Raises:
        ValueError: If labels are numbers in one split and names in another, and nothing says
            which number is which name; or a name is empty or there twice.
    """
    by_name = {key: values for key, values in labels.items() if isinstance(values, list)}
    by_number = [key for key, values in labels.items() if isinstance(values, Tensor)]
    for key, values in by_name.items():
        empty = torch.tensor([not value.strip() for value in values], dtype=torch.bool)
        if empty.any():
            raise ValueError(f"{key!r} holds no name in {rows_of(empty)}: remove these images.")
    if names is not None:
        empty = torch.tensor([not name.strip() for name in names], dtype=torch.bool)
        if empty.any():
            raise ValueError(f"'class_names' holds no name in {rows_of(empty)}: name the class.")
        if any(
            len(values) == len(names) > _num_classes(values, key)
            for key, values in labels.items()
            if values is not None
        ):
            check_unique(names)  # of one name per image, some are equal
        return names
    texts = list(by_name.values())
    if texts and by_number:
        raise ValueError(
            f"{by_number[0]!r} are numbers and {next(iter(by_name))!r} are names, and nothing says "
            f"which number is which name: give the class names in the order of the numbers "
            f"('class_names', --class-names), or names in all splits."
        )
    if texts:
        names = names_of_labels(label for values in texts for label in values)
        if text is not None:
            warn(
                "There are no class names, and the labels are names: the rows of 'text_features' "
                f"are taken to be in the order of the sorted names, {', '.join(names[:3])}, …"
            )
        return names
    if text is not None:
        return tuple(map(str, range(len(text))))
    counts = {key: _num_classes(values, key) for key, values in labels.items()}
    key = max(counts, key=counts.__getitem__)
    if counts[key] > MAX_NUMBERED:
        raise ValueError(
            f"{key!r} holds {counts[key] - 1}: numbers count the classes from 0, up to "
            f"{MAX_NUMBERED:,}. If these are numbers of another kind, give them as text."
        )
    return tuple(map(str, range(counts[key])))


def _num_classes(values: Tensor | list[str] | None, name: str) -> int:
    """The number of classes that labels need, by the highest number or the width of one-hot rows,
    or the number of different names."""
    if values is None or not len(values):
        return 0
    if isinstance(values, list):
        return len(set(values))
    if values.dim() == 2 and values.size(1) > 1:
        return values.size(1)
    return int(read_labels(values, name, None, None)[0].max()) + 1


def check_unique(names: Sequence[str]) -> None:
    """Checks that class names differ.

    Raises:
        ValueError: If one stands twice.
    """
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        rows = [str(c) for c, other in enumerate(names) if other == name][:SHOWN]
        raise ValueError(
            f"'class_names' holds {name!r} {count} times (classes {', '.join(rows)}"
            f"{', …' if count > SHOWN else ''}): give each class a name of its own. If it has one "
            f"name per image, these are labels."
        )


def told_apart(names: Sequence[str]) -> tuple[str, ...]:
    """Class names of which no two are equal: equal ones are followed by the numbers of their
    classes, as ``crane (134)`` and ``crane (517)``."""
    counts = Counter(names)
    apart = tuple(f"{name} ({c})" if counts[name] > 1 else name for c, name in enumerate(names))
    check_unique(apart)
    return apart


def read_labels(
    values: Any, name: str, class_names: Sequence[str] | None, num_classes: int | None
) -> tuple[Tensor, str]:
    """Labels as whole numbers that count classes, and in words how they were read.

    Args:
        values (torch.Tensor or list of str): Numbers ``[N]`` or ``[N, 1]``, one-hot rows
            ``[N, C]``, or names.
        name (str): What the sentences call them, as ``train_labels``.
        class_names (sequence of str, optional): The classes, needed for names.
        num_classes (int, optional): The number of classes, if it is known.

    Raises:
        ValueError: If a label is none of the classes, naming it and its row.
    """
    if isinstance(values, list):
        return _from_names(values, name, class_names or names_of_labels(values)), "names"
    if values.dim() == 2 and values.size(1) == 1 and num_classes != 1:
        values = values[:, 0]
    if values.dim() == 2:
        return _from_one_hot(values, name, num_classes), "one-hot rows"
    if values.dim() != 1:
        raise ValueError(
            f"{name!r} must be numbers [N], one-hot rows [N, C] or names (got "
            f"{list(values.shape)})."
        )
    words = "whole numbers"
    if values.is_floating_point():
        whole = values.long()
        if not torch.equal(whole.to(values.dtype), values):
            raise ValueError(
                f"{name!r} must be whole numbers (got {float(values[whole != values][0]):g} in "
                f"{rows_of(whole != values)})."
            )
        values, words = whole, f"whole numbers stored as {str(values.dtype).removeprefix('torch.')}"
    if values.dtype == torch.bool:
        raise ValueError(f"{name!r} must be whole numbers (got true and false): convert them.")
    return _checked_numbers(values.long(), name, num_classes), words


def _from_names(values: list[str], name: str, class_names: Sequence[str]) -> Tensor:
    check_unique(class_names)
    index = {class_name: c for c, class_name in enumerate(class_names)}
    missing = [row for row, value in enumerate(values) if value not in index]
    if missing:
        listing = ", ".join(map(repr, class_names[:SHOWN]))
        more = ", …" if len(class_names) > SHOWN else ""
        raise ValueError(
            f"{name!r} holds {values[missing[0]]!r} in row {missing[0]}, which is none of the "
            f"{len(class_names)} class names ({listing}{more})."
        )
    return torch.tensor([index[value] for value in values], dtype=torch.long)


def _from_one_hot(values: Tensor, name: str, num_classes: int | None) -> Tensor:
    if num_classes is not None and values.size(1) != num_classes:
        raise ValueError(
            f"{name!r} must be one number per image, or rows of {num_classes} numbers, one per "
            f"class, of which a single one is 1 (got {list(values.shape)})."
        )
    is_one, is_zero = values == 1, values == 0
    wrong = ~(is_one | is_zero).all(dim=1)
    if wrong.any():
        raise ValueError(
            f"{name!r} must be one number per image, or one-hot rows of 0 and 1 (got "
            f"{list(values.shape)} with other numbers in {rows_of(wrong)})."
        )
    count = is_one.sum(dim=1)
    for wrong, what in ((count > 1, "several classes"), (count == 0, "no class")):
        if wrong.any():
            raise ValueError(
                f"{name!r} has one-hot rows with {what} ({rows_of(wrong)}): each image must have "
                f"one class. Remove these images, or choose one class for each."
            )
    return is_one.int().argmax(dim=1)


def _checked_numbers(values: Tensor, name: str, num_classes: int | None) -> Tensor:
    if not len(values):
        return values
    low, high = int(values.min()), int(values.max())
    if low < 0:
        count = int((values < 0).sum())
        meaning = "; -1 often stands for an image without a label" if low == -1 else ""
        raise ValueError(
            f"{name!r} holds {low} in {rows_of(values < 0)} ({count} of {len(values)} labels are "
            f"negative{meaning}): remove these images."
        )
    if num_classes is not None and high >= num_classes:
        if low == 1 and high == num_classes:
            hint = "They count from 1: subtract 1"
        else:
            hint = "Correct them, or add the names of the missing classes"
        raise ValueError(
            f"Labels must lie in [0, {num_classes}), one per class (got {high} with {name!r} in "
            f"{rows_of(values >= num_classes)}). {hint}."
        )
    return values
