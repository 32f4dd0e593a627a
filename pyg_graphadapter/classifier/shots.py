"""The hashes by which a classifier knows the images that it was fitted on, its shots.

A hash is the first 16 hexadecimal digits of SHA-256, behind the word that says of what it is:
``image:`` of the encoded bytes (or the pixels) of an image, ``features:`` of its features. A saved
classifier holds these hashes, and nothing else of its shots.
"""

import hashlib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from pyg_graphadapter.features import Features, counted
from pyg_graphadapter.settings import warn
from pyg_graphadapter.task import FewShotTask

IMAGE, FEATURES = "image:", "features:"
DIGITS = 16


def shot_hashes(task: FewShotTask) -> tuple[str, ...]:
    """The hashes of the shots of a task: of its images where these are known, else of features."""
    if task.image_hashes:
        return image_hashes(task.image_hashes)
    return feature_hashes(task.support)


def image_hashes(digests: Iterable[str]) -> tuple[str, ...]:
    """The hashes of images, from their SHA-256 in hexadecimal digits."""
    return tuple(IMAGE + digest[:DIGITS] for digest in digests)


def feature_hashes(features: Features) -> tuple[str, ...]:
    """The hashes of images by their features: those of the first view, which is the image."""
    rows = features.x[:, 0].float().contiguous() + 0.0  # so that -0 is 0
    return tuple(FEATURES + _digest(row)[:DIGITS] for row in rows)


def _digest(row: Tensor) -> str:
    return hashlib.sha256(row.numpy().tobytes()).hexdigest()


def are_shots(hashes: Sequence[str], shots: Sequence[str]) -> Tensor | None:
    """Which images ``[N]`` are among the shots; :obj:`None` where the hashes of the shots are of
    another kind, or there are none."""
    kinds = {each.partition(":")[0] for each in shots}
    if not hashes or hashes[0].partition(":")[0] not in kinds:
        return None
    known = set(shots)
    return torch.tensor([each in known for each in hashes])


def tell_of_shots(is_shot: Tensor, accuracy: float, accuracy_of_others: float | None) -> None:
    """Warns of shots among the images that a classifier is measured on."""
    count, total = int(is_shot.sum()), counted(len(is_shot), "image")
    others = (
        "there are no others"
        if accuracy_of_others is None
        else f"{accuracy_of_others:.2f} % on the others"
    )
    warn(
        f"{count:,} of {total} that the classifier is measured on {'was' if count == 1 else 'were'}"
        f" among its shots, which it knows: the accuracy is {accuracy:.2f} % with them, "
        f"{others}. Measure it on images that it was not fitted on."
    )
