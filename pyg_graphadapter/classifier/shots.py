"""The marks by which a classifier knows the images that it was fitted on, its shots.

A mark is a word that says of what it is, and hexadecimal digits. Behind ``image:`` stand the first
16 digits of the SHA-256 of the encoded bytes (or the pixels) of an image. Behind ``direction:``
stands a sketch of its features: the products of their direction with :obj:`NUMBERS` fixed random
vectors, four digits each. Sketches are compared with a tolerance, so that the same features are
known in ``float16`` and in ``float64``, and whatever their length. A saved classifier holds these
marks, and nothing else of its shots.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyg_graphadapter.features import Features, counted
from pyg_graphadapter.graph import unit
from pyg_graphadapter.settings import warn
from pyg_graphadapter.task import FewShotTask

IMAGE, DIRECTION = "image:", "direction:"
DIGITS = 16
# The product of a direction with a vector of normal numbers is itself normal, with deviation one.
# float16 changes it by about 2e-4, bfloat16 by 2e-3. Two images whose cosine is 0.999 differ by
# 0.045 in each of the products, and agree in all of them once in a million pairs:
NUMBERS = 8
STEPS = 1024  # of a sketch between two whole numbers
TOLERANCE = 8  # steps
ZERO = 2**15  # the number that stands for a product of zero


def shot_hashes(task: FewShotTask) -> tuple[str, ...]:
    """The marks of the shots of a task: of its images where these are known, else of features."""
    if task.image_hashes:
        return image_hashes(task.image_hashes)
    return feature_hashes(task.support)


def image_hashes(digests: Iterable[str]) -> tuple[str, ...]:
    """The marks of images, from their SHA-256 in hexadecimal digits."""
    return tuple(IMAGE + digest[:DIGITS] for digest in digests)


def feature_hashes(features: Features) -> tuple[str, ...]:
    """The marks of images by their features: those of the first view, which is the image."""
    x = unit(features.x[:, 0].double()).numpy()
    vectors = np.random.RandomState(0).standard_normal((x.shape[1], NUMBERS))  # a frozen stream
    steps = np.rint(x @ vectors * STEPS).clip(-ZERO, ZERO - 1).astype(np.int64) + ZERO
    return tuple(DIRECTION + "".join(f"{number:04x}" for number in row) for row in steps.tolist())


def are_shots(hashes: Sequence[str], shots: Sequence[str]) -> Tensor | None:
    """Which images ``[N]`` are among the shots; :obj:`None` where the marks of the shots are of
    another kind, or there are none."""
    kinds = {mark.partition(":")[0] for mark in shots}
    if not hashes or hashes[0].partition(":")[0] not in kinds:
        return None
    known = set(shots)
    is_shot = torch.tensor([mark in known for mark in hashes])
    sketches, of_shots = _sketches(hashes), _sketches(shots)
    if len(sketches) < len(hashes) or not len(of_shots):
        return is_shot
    return is_shot | torch.from_numpy(_is_near(sketches, of_shots))


def _sketches(marks: Iterable[str]) -> NDArray[np.float64]:
    """The numbers ``[M, 8]`` of the marks of features."""
    digits = [mark.removeprefix(DIRECTION) for mark in marks if mark.startswith(DIRECTION)]
    wanted = 4 * NUMBERS
    rows = [
        [int(row[i : i + 4], 16) for i in range(0, wanted, 4)]
        for row in digits
        if len(row) == wanted and set(row) <= set("0123456789abcdef")
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, NUMBERS)


def _is_near(sketches: NDArray[np.float64], of_shots: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which sketches ``[N, 8]`` differ from that of some shot by no more than the tolerance."""
    from scipy.spatial import cKDTree

    bound = TOLERANCE + 0.5  # the bound itself is not found
    distance, _ = cKDTree(of_shots).query(sketches, p=np.inf, distance_upper_bound=bound)
    is_near: NDArray[np.bool_] = np.isfinite(distance)
    return is_near


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
