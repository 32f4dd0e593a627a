"""Where features come from: a feature file, or images and an encoder."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

from pyg_graphadapter.data.reading import ImageSet, ReadOptions
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.feature_file import FeatureFile, is_feature_file
from pyg_graphadapter.features import Features, Shots
from pyg_graphadapter.settings import check_whole_number, warn
from pyg_graphadapter.task import (
    DrawKey,
    EvaluationTask,
    FewShotTask,
    Origin,
    draw_task,
    not_drawn,
)

if TYPE_CHECKING:
    from pyg_graphadapter.encoding.image_source import ImageSource
    from pyg_graphadapter.encoding.model import EncoderModel


@runtime_checkable
class Source(Protocol):
    """Classes and the features of their images, from a file or from an encoder."""

    name: str

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes."""

    @property
    def text_encoder(self) -> "EncoderModel | None":
        """The encoder of its class names, where there is one."""

    @property
    def encoding(self) -> EncodingConfig | None:
        """How its images are encoded, where it has images."""

    @property
    def has_test(self) -> bool:
        """Whether there is a test split."""

    def text(self) -> Tensor:
        """The text features of the classes ``[C, D]``."""

    def features(self) -> FeatureFile:
        """The features of all images."""

    def task(self, shots: Shots, seed: int, *, allow_fewer: bool = False) -> FewShotTask:
        """A few shots of every class, or all; of classes with fewer, all that they have, if that is
        allowed."""

    def not_drawn(
        self, shots: Shots, seed: int, *, allow_fewer: bool = False, limit: int
    ) -> Features | None:
        """The features of training images that :meth:`task` does not draw, at most so many of
        images that must be encoded."""

    def test(self) -> Features | None:
        """The features of the test split, where there is one."""

    def test_or_all(self) -> Features:
        """The features of the test split, or of all images where there is none."""

    def base_and_new(self) -> tuple["Source", "Source"]:
        """The first half of the classes, and the rest."""

    def origin(self) -> Origin:
        """What results record about it."""


def evaluation_tasks(source: Source, draws: Iterable[DrawKey]) -> dict[DrawKey, EvaluationTask]:
    """The tasks of several draws, with the test split. Only images that are drawn are encoded, each
    of them once.

    Raises:
        ValueError: If a class has too few images, or there is no test split.
    """
    if not source.has_test:
        why = ""
        if "test" in getattr(source, "unlabelled", {}):
            why = ", as the images of test have no labels"
        what_to_do = (
            "give it 'test_features' and 'test_labels' (graphadapter data import)"
            if isinstance(source, FileSource)
            else "put images of every class into a split that is called test, or name it with "
            "--split test=NAME (split='test=NAME')"
        )
        raise ValueError(f"{source.name} has no test split to evaluate on{why}: {what_to_do}.")
    keys = sorted(set(draws), reverse=True)
    most: dict[int, FewShotTask] = {}  # by seed; a draw of fewer shots is the start of one of more
    for shots, seed in keys:
        check_whole_number("shots", shots, low=1)
        if seed not in most:
            most[seed] = source.task(shots, seed)
    test = source.test()
    assert test is not None
    return {(shots, seed): EvaluationTask(most[seed].fewer(shots), test) for shots, seed in keys}


class FileSource:
    """A feature file.

    Args:
        file (FeatureFile): Its content.
        name (str): Its name.
    """

    def __init__(self, file: FeatureFile, name: str) -> None:
        self.file, self.name = file, name

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.file.class_names

    @property
    def text_encoder(self) -> None:
        """A file has none."""
        return None

    @property
    def encoding(self) -> None:
        """A file has no images."""
        return None

    @property
    def has_test(self) -> bool:
        """Whether there is a test split."""
        return self.file.test is not None

    @property
    def has_text(self) -> bool:
        """Whether the file has texts."""
        return self.file.text is not None

    def text(self) -> Tensor:
        """The text features of the classes ``[C, D]``.

        Raises:
            ValueError: If the file has none.
        """
        if self.file.text is None:
            raise ValueError(
                f"{self.name} has no texts: give the model that makes them of the class names "
                f"(--model), or write 'text_features' to the file."
            )
        return self.file.text

    def features(self) -> FeatureFile:
        """The features of all images."""
        return self.file

    def task(self, shots: Shots, seed: int, *, allow_fewer: bool = False) -> FewShotTask:
        """A few shots of every class, or all."""
        return draw_task(self.file, shots, seed, allow_fewer=allow_fewer)

    def not_drawn(
        self, shots: Shots, seed: int, *, allow_fewer: bool = False, limit: int
    ) -> Features:
        """All training images that :meth:`task` does not draw."""
        return not_drawn(self.file, shots, seed, allow_fewer=allow_fewer)

    def test(self) -> Features | None:
        """The features of the test split, where there is one."""
        return self.file.test

    def test_or_all(self) -> Features:
        """The features of the test split, or of all images where there is none."""
        return self.file.train if self.file.test is None else self.file.test

    def base_and_new(self) -> tuple["FileSource", "FileSource"]:
        """The first half of the classes, and the rest."""
        base, new = self.file.base_and_new()
        return FileSource(base, self.name), FileSource(new, self.name)

    def origin(self) -> Origin:
        """What results record about it."""
        return Origin(self.name)


def open_source(
    data: str | Path,
    model: "str | Path | EncoderModel | None",
    config: EncodingConfig | None = None,
    *,
    device: str = "auto",
    logit_scale: float | None = None,
    options: ReadOptions | None = None,
    announce: Callable[[str], None] | None = None,
    min_classes: int = 2,
) -> "FileSource | ImageSource":
    """A feature file, by its suffix, or images, which need a model.

    The texts of a feature file without texts are made of its class names by the model, if one is
    given.

    Args:
        data (str or Path): A feature file, or images as :func:`pyg_graphadapter.data.load_images`
            takes them.
        model (str, Path or EncoderModel, optional): The encoder.
        config (EncodingConfig, optional): How images are encoded. (default: :obj:`None`)
        device (str, optional): The device of the encoder. (default: :obj:`"auto"`)
        logit_scale (float, optional): Overrides the file's or the encoder's.
            (default: :obj:`None`)
        options (ReadOptions, optional): How images are read. (default: :obj:`None`)
        announce (callable, optional): Is told what was read, line by line, before the encoder is
            loaded; if not given, what was left out is said in a warning. (default: :obj:`None`)
        min_classes (int, optional): How many classes images must have at least, where they are
            announced. (default: :obj:`2`)

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or there is no model for images.
    """
    if is_feature_file(data):
        if options is not None:
            options.refuse(f"the feature file {data}")
        file = FeatureFile.load(data)
        file = file if logit_scale is None else replace(file, logit_scale=logit_scale)
        return FileSource(with_missing_texts(file, Path(data).name, model, config, device),
                          Path(data).name)  # fmt: skip
    from pyg_graphadapter.encoding.image_source import ImageSource  # loads transformers

    config = config or EncodingConfig()
    if model is None:
        load_encoder(model, config)  # says what a model is
    images: ImageSet | str = str(data)
    if announce is not None:
        from pyg_graphadapter.data import read_images, summary_lines

        images = read_images(str(data), options, min_classes=min_classes)
        for line in summary_lines(images, str(data)):
            announce(line)
    encoder = load_encoder(model, config, device)
    name = Path(data).name
    return ImageSource(images, encoder, config, logit_scale=logit_scale, name=name, options=options)


def with_missing_texts(
    file: FeatureFile,
    name: str,
    model: "str | Path | EncoderModel | None",
    config: EncodingConfig | None,
    device: str,
) -> FeatureFile:
    """A feature file with texts of its class names, if it has none and a model is given. What has
    no effect on it is said in a warning.

    Raises:
        ValueError: As for :func:`with_texts_of`, or if there are descriptions and no text is made.
    """
    config, usual = config or EncodingConfig(), EncodingConfig()
    is_made = file.text is None and model is not None
    if not is_made:
        refuse_descriptions(config, name)
    unused = {
        "the model": model is not None and not is_made,
        "templates": config.templates != usual.templates and not is_made,
        "views": config.views != usual.views,
    }
    if any(unused.values()):
        listing = ", ".join(word for word, is_unused in unused.items() if is_unused)
        holds = "features" if file.text is None else "features and texts"
        warn(f"{name} holds {holds} already, on which this has no effect: {listing}.")
    if file.text is None and model is not None:
        return with_texts_of(file, model, config, device)
    return file


def refuse_descriptions(config: EncodingConfig, name: str) -> None:
    """Refuses descriptions where no text is encoded.

    Raises:
        ValueError: If there are some.
    """
    if config.descriptions is not None:
        raise ValueError(
            f"{name} holds features, and no text of its classes is encoded, so descriptions cannot "
            f"be used: give images, or features without texts and the model that makes them."
        )


def with_texts_of(
    file: FeatureFile, model: "str | Path | EncoderModel", config: EncodingConfig, device: str
) -> FeatureFile:
    """A feature file with the texts of its class names.

    Args:
        file (FeatureFile): The file.
        model (str, Path or EncoderModel): The encoder that the features came from.
        config (EncodingConfig): The prompts.
        device (str): Where to encode.

    Raises:
        ValueError: If its classes have no names, or the encoder has another width.
    """
    if not file.has_class_names:
        raise ValueError(
            "The features have no class names, from which the model could make texts: give them "
            "('class_names' in the file)."
        )
    encoder = load_encoder(model, config, device)
    if encoder.num_channels != file.num_channels:
        raise ValueError(
            f"The features are {file.num_channels} wide, and those of {encoder.name} are "
            f"{encoder.num_channels} wide: name the model that they came from."
        )
    from pyg_graphadapter.encoding.model import text_features_of

    return replace(file, text=text_features_of(encoder, file.class_names, config))


def open_benchmark(
    name: str,
    root: str | Path,
    encoder: "EncoderModel",
    config: EncodingConfig,
    *,
    own_templates: bool = True,
    logit_scale: float | None = None,
) -> "ImageSource":
    """One of the benchmarks below a folder, with its own prompts or those of ``config``.

    Raises:
        FileNotFoundError: If something of it is not there.
        ValueError: If there is no such benchmark.
    """
    from pyg_graphadapter.data import benchmark, load_benchmark  # loads datasets
    from pyg_graphadapter.encoding.image_source import ImageSource

    if own_templates:
        config = replace(config, templates=benchmark(name).templates)
    images = load_benchmark(name, root)
    return ImageSource(images, encoder, config, logit_scale=logit_scale, name=name)


def load_encoder(
    model: "str | Path | EncoderModel | None", config: EncodingConfig, device: str = "auto"
) -> "EncoderModel":
    """The encoder of images.

    Raises:
        ValueError: If none is named, or it cannot be loaded.
    """
    if model is None:
        raise ValueError(
            "Images need an encoder: name one as the model (--model), a folder or an id on the "
            "Hugging Face hub, as openai/clip-vit-base-patch16, or the one that is built in, "
            "builtin."
        )
    return config.load(model, device) if isinstance(model, str | Path) else model
