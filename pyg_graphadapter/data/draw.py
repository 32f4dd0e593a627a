"""Few shots per class, and base and new classes, of an image data set."""

import datasets
import torch

from pyg_graphadapter.features import draw_shots, num_base_classes


def few_shot(
    dataset: datasets.Dataset, shots: int, seed: int, *, allow_fewer: bool = False
) -> datasets.Dataset:
    """Draws the same number of images of every class, without replacement; the draw is that of
    :meth:`pyg_graphadapter.Features.draw` on the features of the same images.

    Args:
        dataset (datasets.Dataset): Images with labels.
        shots (int): The number of images per class.
        seed (int): Seeds the draw.
        allow_fewer (bool, optional): Take all images of a class that has fewer.
            (default: :obj:`False`)

    Raises:
        ValueError: If a class has fewer images than :obj:`shots`, naming it.
    """
    names = dataset.features["label"].names
    y = torch.tensor(dataset["label"], dtype=torch.long)
    index = draw_shots(y, shots, seed, len(names), names, allow_fewer=allow_fewer)
    return dataset.select(index.tolist())


def base_and_new(dataset: datasets.Dataset) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Splits a data set into the first half of its classes and the others (CoCoOp's base-to-new
    protocol). If the number of classes is odd, there is one more base class. The labels of both
    halves begin at 0.

    Raises:
        ValueError: If there are fewer than two classes.
    """
    names = dataset.features["label"].names
    num_base = num_base_classes(len(names))
    base = _classes(dataset, names[:num_base], 0)
    return base, _classes(dataset, names[num_base:], num_base)


def _classes(dataset: datasets.Dataset, names: list[str], first: int) -> datasets.Dataset:
    labels = dataset["label"]
    index = [i for i, y in enumerate(labels) if first <= y < first + len(names)]
    images = dataset.select(index).remove_columns("label")
    renumbered = [labels[i] - first for i in index]
    return images.add_column("label", renumbered, feature=datasets.ClassLabel(names=names))
