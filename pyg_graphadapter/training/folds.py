"""Folds of labelled images that are held out in turn."""

import warnings
from collections.abc import Iterable

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

FEWEST_EVEN = 4  # even folds; in fewer ones, much less is trained on than in the end


def held_out_folds(
    y: Tensor, folds: int, seed: int, groups: Tensor | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Divides images into stratified folds, each of which is held out once.

    There are at most :obj:`folds`, and at most as many as the largest class has images. Every class
    keeps an image to train on: where a fold would hold out the last one, those of its class stay.
    So an image that is the only one of its class is never held out.

    Args:
        y (torch.Tensor): The labels ``[N]``.
        folds (int): The largest number of folds.
        seed (int): The seed of the division; it counts modulo :math:`2^{32}`.
        groups (torch.Tensor, optional): The group of each image ``[N]``, counted from 0. Images of
            one group are held out together; of copies of an image, one would else be trained on and
            another measured (:func:`~pyg_graphadapter.copies.groups_of_copies`).
            (default: :obj:`None`)

    Returns:
        list of tuple: The indices to train on and the indices that are held out; no pair without
        any that are held out.
    """
    groups = torch.arange(len(y)) if groups is None else groups
    first = first_of_each(groups)  # [G], one image of each group
    group_y = y[first].numpy()
    folds = min(folds, int(np.bincount(group_y).max(initial=0)))
    if folds < 2:
        return []
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed % 2**32)  # its limit
    pairs = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for _, held_out_groups in splitter.split(np.zeros(len(group_y)), group_y):
            is_held_out = torch.isin(groups, torch.from_numpy(held_out_groups))
            is_held_out = _without_last_images(y, groups, is_held_out)
            if is_held_out.any():
                pairs.append(((~is_held_out).nonzero().flatten(), is_held_out.nonzero().flatten()))
    return pairs


def even_folds(counts: Iterable[int], folds: int) -> int:
    """The largest number of folds, four or more and at most so many, that divides the images of
    every class evenly; so many if there is none. Classes of one image are never divided.

    Methods that add up over shots, as the cache of Tip-Adapter does, favour classes with more of
    them. In uneven folds, the class of a held-out image has fewer than others, and is missed.

    Args:
        counts (iterable of int): The number of different images of each class.
        folds (int): The largest number of folds.
    """
    divided = [count for count in counts if count > 1]
    return next(
        (k for k in range(folds, FEWEST_EVEN - 1, -1) if not any(c % k for c in divided)), folds
    )


def _without_last_images(y: Tensor, groups: Tensor, is_held_out: Tensor) -> Tensor:
    """Those to hold out ``[N]``, such that every class keeps an image to train on."""
    while True:
        lacking = y[is_held_out][~torch.isin(y[is_held_out], y[~is_held_out])]
        if not len(lacking):
            return is_held_out
        is_held_out = is_held_out & ~torch.isin(groups, groups[torch.isin(y, lacking)])


def first_of_each(groups: Tensor) -> Tensor:
    """The index of the first image of each group ``[G]``."""
    number = int(groups.max()) + 1 if len(groups) else 0
    first = torch.full((number,), len(groups), dtype=torch.long)
    return first.scatter_reduce(0, groups, torch.arange(len(groups)), "amin")
