"""Few shots, base and new classes of an image data set."""

import datasets
import torch

from pyg_graphadapter.features import draw_shots


def few_shot(
    dataset: datasets.Dataset, shots: int, seed: int, *, allow_fewer: bool = False
) -> datasets.Dataset:
    """Draws the same number of images of every class, without replacement; the draw is that of
    :meth:`pyg_graphadapter.Features.draw` on the features of the same images.

    Args:
        dataset (datasets.Dataset): Images with labels.
        shots (int): The number of images a class.
        seed (int): Seeds the draw.
        allow_fewer (bool, optional): Take what there is of a class that has fewer images.
            (default: :obj:`False`)

    Raises:
        ValueError: If a class has fewer images than :obj:`shots`, naming it.
    """
    names = dataset.features["label"].names
    y = torch.tensor(dataset["label"], dtype=torch.long)
    index = draw_shots(y, shots, seed, len(names), names, allow_fewer=allow_fewer)
    return dataset.select(index.tolist())


def base_and_new(dataset: datasets.Dataset) -> tuple[datasets.Dataset, datasets.Dataset]:
    """The first half of the classes, by label, and the rest (CoCoOp's base-to-new protocol). Of an
    odd number, one more is base. The labels of either half begin at 0.

    Raises:
        ValueError: If there are fewer than two classes.
    """
    names = dataset.features["label"].names
    if len(names) < 2:
        raise ValueError(f"Base and new classes need at least two classes (got {len(names)}).")
    num_base = -(-len(names) // 2)
    base = _classes(dataset, names[:num_base], 0)
    return base, _classes(dataset, names[num_base:], num_base)


def _classes(dataset: datasets.Dataset, names: list[str], first: int) -> datasets.Dataset:
    labels = dataset["label"]
    index = [i for i, y in enumerate(labels) if first <= y < first + len(names)]
    part = dataset.select(index).remove_columns("label")
    renumbered = [labels[i] - first for i in index]
    return part.add_column("label", renumbered, feature=datasets.ClassLabel(names=names))
