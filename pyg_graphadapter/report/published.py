"""Published accuracies, which figures show beside measured ones."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


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
        accuracy: dict[str, dict[str, dict[int, float]]] = {}
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            backbone = str(content["backbone"])
            sources = {name: str(paper["source"]) for name, paper in content["methods"].items()}
            for method, paper in content["methods"].items():
                for dataset, points in paper["accuracy"].items():
                    accuracy.setdefault(dataset, {})[method] = {
                        int(shots): float(value) for shots, value in points.items()
                    }
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"{path} has no published numbers ({type(error).__name__}: {error}): it must be "
                '{"backbone": ..., "methods": {method: {"source": ..., "accuracy": '
                "{data set: {shots: percent}}}}}."
            ) from error
        return cls(backbone, accuracy, sources)

    def is_of(self, backbone: str | None) -> bool:
        """Whether these are numbers of an image tower, whatever the spelling of its name:
        ``ViT-B/16`` is that of ``openai/clip-vit-base-patch16``."""
        return backbone is not None and _plain(self.backbone) == _plain(backbone)


def _plain(backbone: str) -> str:
    name = backbone.casefold().rpartition("/clip-")[2]
    for long, short in (("base-patch", "b"), ("large-patch", "l"), ("resnet", "rn")):
        name = name.replace(long, short)
    return "".join(char for char in name if char.isalnum())
