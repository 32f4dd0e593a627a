"""Image features with their labels, the draw of few shots, and checks of shapes."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, overload

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.utils.data import Dataset, TensorDataset

from pyg_graphadapter.graph import unit
from pyg_graphadapter.settings import check_whole_number

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LOGIT_SCALES = (5.0, 1000.0)  # the factors of the cosine that can be meant
SAME = 1e-12  # of a cosine from 1, in float64
MAX_LENGTH = 1e18  # of a feature; its square must not overflow in float32
ALL = "all"  # as a number of shots: every image of every class
MAX_VALIDATION_SHOTS = 4  # of CoOp's protocol: min(K, 4) validation images per class
Shots: TypeAlias = int | str  # a number per class, or "all"
Several: TypeAlias = slice | Tensor | Sequence[int]  # what selects several images


@dataclass(frozen=True)
class Features(Dataset[tuple[Tensor, Tensor]]):
    r"""Image features of a frozen encoder with their labels, with one or more views per image.

    It is a data set of PyTorch: :obj:`features[i]` is the pair of the views :math:`(V, D)` and the
    label of image :obj:`i`, so that :class:`~torch.utils.data.DataLoader` gives batches of
    :math:`(B, V, D)` and :math:`(B)`. As in PyG's data sets, a slice, a mask, or several indices
    select a smaller :class:`Features`.

    Args:
        x (torch.Tensor): The features; a matrix becomes one view per image.
        y (torch.Tensor): The labels.

    Shapes:
        - **x:** :math:`(N, V, D)` or :math:`(N, D)`
        - **y:** :math:`(N)`

    Raises:
        ValueError: If shapes or types do not fit, a value is not finite, or a label is negative.

    Example:
        >>> import torch
        >>> features = Features(torch.eye(4), torch.tensor([0, 0, 1, 1]))
        >>> features
        Features(4 images, 1 view, 4 wide, 2 classes)
        >>> x, y = features[-1]
        >>> x, y
        (tensor([[0., 0., 0., 1.]]), tensor(1))
        >>> features[:3]
        Features(3 images, 1 view, 4 wide, 2 classes)
        >>> features.select(features.draw(shots=1, seed=0)).y
        tensor([0, 1])
    """

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        """Checks the tensors, and adds the axis of views."""
        x, y = self.x, self.y
        if x.dim() not in (2, 3) or x.dtype not in DTYPES:
            raise ValueError(
                f"Features must be floating-point numbers [N, D] or [N, V, D] (got {x.dtype} "
                f"{list(x.shape)})."
            )
        if y.dim() != 1 or y.size(0) != x.size(0):
            raise ValueError(
                f"Expected one label per image (got labels {list(y.shape)} for features "
                f"{list(x.shape)})."
            )
        if y.is_floating_point() or y.dtype == torch.bool:
            raise ValueError(f"Labels must be integers (got {y.dtype}).")
        check_finite(x, "Features")
        y = y.long()  # torch compares no unsigned numbers of more than 8 bits
        if (y < 0).any():
            raise ValueError(f"Labels must not be negative (got {int(y.min())}).")
        # Draws and folds are made on the CPU; training moves the features that it needs:
        object.__setattr__(self, "x", (x.unsqueeze(1) if x.dim() == 2 else x).cpu())
        object.__setattr__(self, "y", y.cpu())

    def __len__(self) -> int:
        return self.x.size(0)

    @overload
    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]: ...

    @overload
    def __getitem__(self, index: Several) -> "Features": ...

    def __getitem__(self, index: int | Several) -> "tuple[Tensor, Tensor] | Features":
        if isinstance(index, slice):
            return Features(self.x[index], self.y[index])
        several = torch.as_tensor(index)
        if several.dim() > 0:
            return self.select(several if several.numel() else several.long())
        i = operator.index(index)  # type: ignore[arg-type]  # it is a single number
        if not -len(self) <= i < len(self):
            raise IndexError(f"There is no image {i}: the features are of {len(self)} images.")
        return self.x[i], self.y[i]

    @property
    def num_channels(self) -> int:
        """The width :math:`D`."""
        return self.x.size(2)

    def mean_views(self) -> Tensor:
        """One feature of length one per image, the mean over its views ``[N, D]``."""
        return mean_views(self.x)

    def as_dataset(self) -> TensorDataset:
        """The images as a data set of torch with one feature per image, for the training of any
        other model: pairs of the mean over the views :math:`(D)` and the label. The way back is
        ``Features(*dataset.tensors)``.

        Example:
            >>> import torch
            >>> from torch.utils.data import DataLoader
            >>> features = Features(torch.eye(4), torch.tensor([0, 0, 1, 1]))
            >>> x, y = next(iter(DataLoader(features.as_dataset(), batch_size=3)))
            >>> x.shape, y
            (torch.Size([3, 4]), tensor([0, 0, 1]))
        """
        return TensorDataset(self.mean_views(), self.y)

    def first_views(self) -> "Features":
        """The images without augmented views: the first view is the image itself."""
        return self if self.x.size(1) == 1 else Features(self.x[:, :1], self.y)

    def select(self, index: Tensor) -> "Features":
        """The images at ``index`` ``[M]``."""
        return Features(self.x[index], self.y[index])

    def draw(
        self,
        shots: Shots,
        seed: int,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        *,
        allow_fewer: bool = False,
    ) -> Tensor:
        r"""Draws the same number of images of every class, without replacement.

        Args:
            shots (int or str): The number of images per class, or :obj:`"all"`.
            seed (int): Seeds the draw. With the same seed, a draw of fewer shots is a
                part of one of more shots.
            num_classes (int, optional): The number of classes; one more than the largest label if
                not given. (default: :obj:`None`)
            class_names (sequence of str, optional): Used in the error. (default: :obj:`None`)
            allow_fewer (bool, optional): Take all images of a class that has fewer.
                (default: :obj:`False`)

        Returns:
            torch.Tensor: The indices of the images, sorted by class.

        Raises:
            ValueError: If a class has fewer images than :obj:`shots`, or none, naming it.
        """
        return draw_shots(self.y, shots, seed, num_classes, class_names, allow_fewer=allow_fewer)

    def __repr__(self) -> str:
        images, views = counted(len(self), "image"), counted(self.x.size(1), "view")
        classes = counted(len(torch.unique(self.y)), "class")
        return f"{type(self).__name__}({images}, {views}, {self.num_channels} wide, {classes})"


def draw_shots(
    y: Tensor,
    shots: Shots,
    seed: int,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    *,
    allow_fewer: bool = False,
) -> Tensor:
    """The draw of :meth:`Features.draw`, from the labels ``[N]``."""
    check_shots(shots, low=1)
    check_whole_number("seed", seed)
    count = torch.bincount(y, minlength=num_classes or 0)
    needed, most = (1, len(y)) if isinstance(shots, str) else (shots, shots)
    short = (count < needed).nonzero().flatten().tolist()
    if short and not allow_fewer:
        names = [class_names[c] if class_names is not None else str(c) for c in short]
        listing = ", ".join(
            f"{name!r} ({int(count[c])})" for name, c in zip(names[:5], short[:5], strict=True)
        )
        more = ", …" if len(short) > 5 else ""
        remedy = "Add images, or leave these classes out."
        if needed > 1:
            remedy = (
                f"Ask for fewer shots, or fit with up to {needed} per class (--at-most {needed}, "
                f"at_most={needed}), or add images."
            )
        lack = f"have fewer than {needed} images"
        if needed == 1:
            listing = ", ".join(map(repr, names[:5]))
            lack = f"{'has' if len(short) == 1 else 'have'} no image"
        raise ValueError(f"{len(short)} of {len(count)} classes {lack}: {listing}{more}. {remedy}")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(y), generator=generator)
    order = order[y[order].argsort(stable=True)]  # sorted by class, in random order within a class
    first = count.cumsum(0) - count  # [C], the position of the first image of each class
    rank = torch.arange(len(y)) - first[y[order]]
    return order[rank < most]


def check_shots(shots: Shots, low: int = 0) -> None:
    """Checks a number of images per class, or :obj:`"all"`.

    Raises:
        ValueError: If it is neither, or below :obj:`low`.
    """
    if shots == ALL:
        return
    if isinstance(shots, str):
        raise ValueError(f"'shots' must be a whole number or 'all' (got {shots!r}).")
    check_whole_number("shots", shots, low)


def num_base_classes(num_classes: int) -> int:
    """The number of base classes in CoCoOp's base-to-new protocol: half of all, rounded up.

    Raises:
        ValueError: If there are fewer than two classes.
    """
    if num_classes < 2:
        raise ValueError(f"Base and new classes need at least two classes (got {num_classes}).")
    return -(-num_classes // 2)


def mean_views(x: Tensor) -> Tensor:
    """Features of length one ``[N, D]``, each the mean over its views ``[N, V, D]``."""
    return unit(unit(x).mean(dim=1))


def check_text(text: Tensor, class_names: Sequence[str]) -> None:
    """Checks that class text features ``[C, D]`` fit the class names ``[C]``.

    Raises:
        ValueError: If they do not fit, or a text feature is not finite or zero.
    """
    if text.dim() != 2 or text.dtype not in DTYPES:
        raise ValueError(
            f"'text_features' must be floating-point numbers [C, D] (got {text.dtype} "
            f"{list(text.shape)})."
        )
    if text.size(0) != len(class_names):
        raise ValueError(
            f"'text_features' has {text.size(0)} rows for {len(class_names)} class names: one row "
            f"per class is needed."
        )
    check_directions(text, "'text_features'")


def check_different(text: Tensor) -> None:
    """Checks that class text features ``[C, D]`` are not all the same.

    Raises:
        ValueError: If they are.
    """
    first = torch.nn.functional.cosine_similarity(text[:1].double(), text.double())
    if len(text) > 1 and bool((first > 1 - SAME).all()):
        raise ValueError(
            f"'text_features' has the same direction in all {len(text)} rows, so that they tell "
            f"no class from another: encode the class names again."
        )


def check_directions(x: Tensor, name: str) -> None:
    """Checks that vectors ``[N, D]`` have a direction.

    Raises:
        ValueError: If one is not finite, zero, or so large that its square is not finite.
    """
    check_finite(x, name)
    zero = _lengths(x) < 1 / MAX_LENGTH  # whose squares are zero
    if zero.any():
        raise ValueError(
            f"{name} must not be zero (got zeros in {rows_of(zero)}): only vectors with a "
            f"direction can be compared."
        )


def check_finite(x: Tensor, name: str) -> None:
    """Checks that vectors ``[N, D]`` or ``[N, V, D]`` are finite, and so are their lengths.

    Raises:
        ValueError: If a value is not finite, or so large that its square is not.
    """
    bad = ~(_lengths(x) <= MAX_LENGTH)  # so written that it holds for NaN
    bad = bad.any(dim=1) if bad.dim() == 2 else bad
    if not bad.any():
        return
    if x[bad].isfinite().all():
        raise ValueError(
            f"{name} must not be so large that their squares overflow (got up to "
            f"{float(x[bad].abs().max()):.3g} in {rows_of(bad)}): divide them by their lengths."
        )
    raise ValueError(f"{name} must be finite (got NaN or infinity in {rows_of(bad)}).")


def _lengths(x: Tensor) -> Tensor:
    """The lengths of vectors ``[..., D]``; half precision is summed in ``float32``."""
    lengths: Tensor = vector_norm(x, dim=-1, dtype=torch.promote_types(x.dtype, torch.float32))
    return lengths


def check_logit_scale(scale: float) -> float:
    """Checks the factor of cosine similarities, which is about 100 for CLIP.

    Raises:
        ValueError: If it is not within :obj:`LOGIT_SCALES`: a smaller one is taken for the
            logarithm, which is CLIP's parameter.
    """
    low, high = LOGIT_SCALES
    if not low <= scale <= high:
        raise ValueError(
            f"'logit_scale' is the factor of the cosine, about 100 for CLIP, and lies between "
            f"{low:g} and {high:g} (got {scale:g}): give exp(logit_scale) instead of the encoder's "
            f"parameter."
        )
    return scale


def check_fits(features: Features, text: Tensor, name: str) -> None:
    """Checks that image features fit the class text features ``[C, D]``.

    Raises:
        ValueError: If the widths differ, or a label has no class.
    """
    if features.num_channels != text.size(1):
        raise ValueError(
            f"'{name}' is {features.num_channels} wide, but the text features are "
            f"{text.size(1)} wide: both must come from the same encoder."
        )
    check_labels(features, text.size(0), name)


def check_labels(features: Features, num_classes: int, name: str) -> None:
    """Checks that every label has a class.

    Raises:
        ValueError: If one has none.
    """
    if len(features) and int(features.y.max()) >= num_classes:
        raise ValueError(
            f"Labels must lie in [0, {num_classes}), one per class (got {int(features.y.max())} "
            f"with '{name}')."
        )


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 class``, ``1,000 classes``."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def rows_of(mask: Tensor) -> str:
    """Lists the first rows of a mask ``[N]`` that are set."""
    index = mask.nonzero().flatten().tolist()
    return "rows " + ", ".join(map(str, index[:5])) + (", …" if len(index) > 5 else "")
