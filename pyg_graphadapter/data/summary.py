"""What was read of images, in three lines."""

from collections import Counter

from pyg_graphadapter.data.reading import ImageSet
from pyg_graphadapter.display import visible
from pyg_graphadapter.features import counted

MAX_NAMES = 5
UNBALANCED = 5  # times as many images of one class as of another


def summary_lines(images: ImageSet, name: str = "images") -> list[str]:
    """What was read: the splits and classes with counts, what was left out by reason, and what else
    should be known.

    Args:
        images (ImageSet): What was read.
        name (str, optional): What the lines call the source. (default: :obj:`"images"`)
    """
    names = images.class_names
    listed = ", ".join(map(visible, names[:MAX_NAMES])) + (", …" if len(names) > MAX_NAMES else "")
    splits = "; ".join(
        f"{split} {counted(counts.total(), 'image')} ({_per_class(counts)})"
        for split, counts in images.counts().items()
    )
    reading = images.reading
    layout = f" as {visible(reading.layout)}" if reading.layout else ""
    left_out, *notes = reading.sentences() if reading.left_out else ["", *reading.sentences()]
    notes = [*filter(None, [unbalanced(images)]), *notes]
    return [
        f"Read {visible(name)}{layout}: {counted(len(names), 'class')} ({listed}); {splits}.",
        left_out or "Left out: nothing.",
        f"Note: {' '.join(map(visible, notes)) or 'every class has about as many images.'}",
    ]


def _per_class(counts: Counter[int]) -> str:
    fewest, most = min(counts.values()), max(counts.values())
    return f"{fewest} per class" if fewest == most else f"{fewest} to {most} per class"


def unbalanced(images: ImageSet) -> str:
    """A sentence on classes of training that are much smaller than others, or nothing."""
    counts = images.counts().get("train")
    if not counts:
        return ""
    (largest, most), (smallest, fewest) = counts.most_common()[0], counts.most_common()[-1]
    if most < UNBALANCED * fewest:
        return ""
    names = images.class_names
    return (
        f"The classes are unbalanced: {names[smallest]!r} has {fewest} training images, "
        f"{names[largest]!r} {most}."
    )
