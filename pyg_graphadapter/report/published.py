"""Published accuracies, which figures show beside measured ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pyg_graphadapter.storage import FileKind, Within, read


@dataclass(frozen=True)
class Paper:
    """The numbers of one method: their source, and accuracies in percent by data set and shots."""

    source: str
    accuracy: dict[str, dict[str, Annotated[float, Within(0, 100)]]]


@dataclass(frozen=True)
class PublishedContent:
    """What a file of published numbers holds."""

    backbone: str
    methods: dict[str, Paper]


PUBLISHED_FILE: FileKind[PublishedContent] = FileKind(
    "file of published numbers",
    PublishedContent,
    'It must be {"backbone": ..., "methods": {method: {"source": ..., "accuracy": '
    "{data set: {shots: percent}}}}}",
    suffixes=(".json",),
)


@dataclass(frozen=True)
class Published:
    """Accuracies from papers.

    Args:
        backbone (str): The image tower that they were measured with.
        accuracy (dict): By data set, method and number of shots, in percent.
        sources (dict): Where each method's numbers are from.
    """

    backbone: str
    accuracy: Mapping[str, Mapping[str, Mapping[int, float]]]
    sources: Mapping[str, str]

    @classmethod
    def load(cls, path: str | Path) -> "Published":
        """Reads a JSON file ``{"backbone": …, "methods": {method: {"source": …, "accuracy":
        {data set: {shots: percent}}}}}``.

        Raises:
            ValueError: If it is malformed.
        """
        content = read(path, PUBLISHED_FILE)
        accuracy: dict[str, dict[str, dict[int, float]]] = {}
        for method, paper in content.methods.items():
            for dataset, points in paper.accuracy.items():
                if not all(shots.isdecimal() for shots in points):
                    raise PUBLISHED_FILE.error(
                        Path(path), f"shots must be whole numbers (got {', '.join(points)})"
                    )
                accuracy.setdefault(dataset, {})[method] = {
                    int(shots): value for shots, value in points.items()
                }
        sources = {method: paper.source for method, paper in content.methods.items()}
        return cls(content.backbone, accuracy, sources)

    def is_of(self, backbone: str | None) -> bool:
        """Whether these are numbers of an image tower, whatever the spelling of its name:
        ``ViT-B/16`` is that of ``openai/clip-vit-base-patch16``."""
        return backbone is not None and _plain(self.backbone) == _plain(backbone)


def _plain(backbone: str) -> str:
    name = backbone.casefold().rpartition("/clip-")[2]
    for long, short in (("base-patch", "b"), ("large-patch", "l"), ("resnet", "rn")):
        name = name.replace(long, short)
    return "".join(char for char in name if char.isalnum())
