"""What ``graphadapter evaluate`` writes, and what a page of one classifier is drawn from."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pyg_graphadapter.display import json_text
from pyg_graphadapter.storage import FileKind, Length, SchemaError, Within, read, write_atomic

EVALUATION, EVALUATION_PAGE = "evaluation.json", "evaluation.html"
EVALUATION_FORMAT = "pyg_graphadapter/evaluation/1"
Probability: TypeAlias = Annotated[float, Within(0, 1)]
Percent: TypeAlias = Annotated[float, Within(0, 100)]
Class: TypeAlias = Annotated[int, Within(0)]


@dataclass(frozen=True)
class Choice:
    """A class, and the calibrated probability that an image shows it."""

    label: Class
    probability: Probability


@dataclass(frozen=True)
class EvaluatedImage:
    """An image with a label, and what the classifier says of it.

    Args:
        label (int): The number of the class that it shows.
        top (tuple of Choice): The likeliest classes, the likeliest first, at most five.
        uncalibrated (float): The probability of the likeliest class before calibration.
        file (str, optional): Its path, where it has one. (default: :obj:`None`)
        log_loss (float): The negative logarithm of the calibrated probability of its class.
        log_loss_uncalibrated (float): The same before calibration.
        squared_error (float): Its part of the Brier score, calibrated.
        squared_error_uncalibrated (float): The same before calibration.
        thumbnail (str, optional): A small JPEG of it in base64, of images that a page shows.
            (default: :obj:`None`)
        explanation (str, optional): Why it was classified so, in words. (default: :obj:`None`)
        copy_of (int, optional): The number of the first image that is the same, by its features.
            (default: :obj:`None`)
    """

    label: Class
    top: Annotated[tuple[Choice, ...], Length(1)]
    uncalibrated: Probability
    log_loss: Annotated[float, Within(0)]
    log_loss_uncalibrated: Annotated[float, Within(0)]
    squared_error: Annotated[float, Within(0, 2)]
    squared_error_uncalibrated: Annotated[float, Within(0, 2)]
    file: str | None = None
    thumbnail: str | None = None
    explanation: str | None = None
    copy_of: Annotated[int, Within(0)] | None = None


@dataclass(frozen=True)
class Edge:
    """An edge of a knowledge graph: two classes and their cosine."""

    source: Class
    target: Class
    cosine: Annotated[float, Within(-1.001, 1.001)]


@dataclass(frozen=True)
class Skipped:
    """An image that could not be decoded, with the reason."""

    file: str | None
    reason: str


@dataclass(frozen=True)
class EvaluationFile:
    """What a file ``evaluation.json`` holds. What can be computed from the images (accuracies per
    class, confusions, calibration, coverage, intervals) is not in it twice.

    Args:
        format (str): The version of the format.
        command (str): The command that made it, as a shell reads it; or the call in Python.
        class_names (tuple of str): The names of the classes.
        images (tuple of EvaluatedImage): The images.
        measures (dict): The fields of :class:`~pyg_graphadapter.training.evaluation.Evaluation`.
        classifier (dict): The card of the classifier: method, training, encoding, settings,
            selected, measured, and has_text.
        data (str): The data that it was measured on. (default: :obj:`""`)
        split (str): The split of them, where they have any. (default: :obj:`""`)
        temperature (float): What logits are divided by. (default: 1)
        temperature_source (str): How the temperature was found, in words. (default: :obj:`""`)
        skipped (tuple of Skipped): The images that could not be decoded.
        text_edges, image_edges (tuple of Edge): The strongest edges of every class in the two
            knowledge graphs, if there are any.
        class_explanations (dict): Why a class's feature is what it is, in words, by its name.
        versions (dict): The versions of the libraries.
    """

    format: str
    command: str
    class_names: Annotated[tuple[str, ...], Length(1)]
    images: Annotated[tuple[EvaluatedImage, ...], Length(1)]
    measures: dict[str, Any]
    classifier: dict[str, Any]
    data: str = ""
    split: str = ""
    temperature: Annotated[float, Within(1e-9, 1e9)] = 1.0
    temperature_source: str = ""
    skipped: tuple[Skipped, ...] = ()
    text_edges: tuple[Edge, ...] = ()
    image_edges: tuple[Edge, ...] = ()
    class_explanations: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks that all labels have a class, and that copies are of earlier images."""
        labels = {image.label for image in self.images}
        labels |= {choice.label for image in self.images for choice in image.top}
        for edge in (*self.text_edges, *self.image_edges):
            labels |= {edge.source, edge.target}
        if max(labels) >= len(self.class_names):
            raise SchemaError("images", f"of {len(self.class_names)} classes", max(labels))
        for i, image in enumerate(self.images):
            if image.copy_of is not None and image.copy_of >= i:
                raise SchemaError(f"images[{i}].copy_of", "an earlier image", image.copy_of)

    @classmethod
    def load(cls, path: str | Path) -> "EvaluationFile":
        """Reads ``evaluation.json``, or the folder that it is in.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged, or no evaluation.
        """
        path = Path(path)
        return read(path / EVALUATION if path.is_dir() else path, EVALUATION_KIND)

    def save(self, folder: str | Path) -> Path:
        """Writes ``evaluation.json`` to a folder that is there."""
        path = Path(folder) / EVALUATION
        write_atomic(path, f"{json_text(asdict(self))}\n".encode())
        return path


EVALUATION_KIND: FileKind[EvaluationFile] = FileKind(
    "evaluation",
    EvaluationFile,
    "Evaluate the classifier again",
    (EVALUATION_FORMAT,),
    (".json",),
    max_bytes=2**30,
)
