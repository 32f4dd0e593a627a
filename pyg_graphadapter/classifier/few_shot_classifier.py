"""Fitted classifiers of images or of their features, saved without the training data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pyg_graphadapter.adapters import Adapter, adapter_class
from pyg_graphadapter.classifier import growth, measurement
from pyg_graphadapter.classifier.base import Images
from pyg_graphadapter.classifier.calibration import calibrated
from pyg_graphadapter.classifier.confidence import Confidence
from pyg_graphadapter.classifier.evaluation_mixin import EvaluationMixin
from pyg_graphadapter.classifier.explanation_mixin import ExplanationMixin
from pyg_graphadapter.classifier.export_mixin import ExportMixin
from pyg_graphadapter.classifier.prediction_mixin import PredictionMixin
from pyg_graphadapter.classifier.refitting import method_without_shots
from pyg_graphadapter.classifier.shots import shot_hashes
from pyg_graphadapter.classifier.source import source_of
from pyg_graphadapter.classifier.storage_mixin import StorageMixin
from pyg_graphadapter.data.descriptions import DescriptionsLike
from pyg_graphadapter.data.reading import ReadOptions
from pyg_graphadapter.data.splits import SplitOption
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.sources import Source, refuse_descriptions
from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.features import ALL, Features, Shots, check_shots, counted
from pyg_graphadapter.labels import told_apart
from pyg_graphadapter.progress import obeys_progress
from pyg_graphadapter.settings import check_whole_number, warn
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.callbacks import Callback
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.engine import History
from pyg_graphadapter.training.evidence import evidence_of, tell_of_poor_texts
from pyg_graphadapter.training.familiarity import Familiarity
from pyg_graphadapter.training.fitting import fit_method, recipe

if TYPE_CHECKING:
    import datasets

    from pyg_graphadapter.encoding.model import EncoderModel


@dataclass(eq=False)
class FewShotClassifier(
    PredictionMixin, EvaluationMixin, ExplanationMixin, ExportMixin, StorageMixin
):
    """A trained adapter with its class names and, if it was fitted on images, their encoder.

    Args:
        adapter (Adapter): The adapter.
        class_names (tuple of str): The names of its classes.
        method (str): The method's name.
        training (dict): How it was trained. (default: :obj:`{}`)
        encoding (dict): The origin of its features: the encoder's name, revision and hash, the
            templates, and how images were encoded; empty if it was fitted on features.
            (default: :obj:`{}`)
        measured (dict): Measured accuracies, for the model card. (default: :obj:`{}`)
        selected (dict): The settings that :meth:`fit` selected inside the few shots, or that the
            method chose for them where none were given.
            (default: :obj:`{}`)
        shot_hashes (tuple of str): The hashes of the images that it was fitted on
            (:mod:`pyg_graphadapter.classifier.shots`); empty if they are not known.
            (default: :obj:`()`)
        shots (Features, optional): The features of its shots, if it was fitted with
            :obj:`keep_shots`. (default: :obj:`None`)
        confidence (Confidence): How far its probabilities can be trusted: the temperature, and how
            often it was right on shots that were held out. (default: temperature 1)
        familiarity (Familiarity, optional): How images of its classes look, by which others can be
            rejected; :obj:`None` in files of earlier versions. (default: :obj:`None`)

    Example:
        >>> from pyg_graphadapter.testing import fake_features
        >>> data = fake_features(num_classes=3)
        >>> classifier = FewShotClassifier.fit(data, shots=4, progress=False)
        >>> classifier
        FewShotClassifier(graph_adapter, 3 classes, 32 wide, 2,240 parameters)
        >>> classifier.predict(data.test.mean_views()[:3])
        ['class 0', 'class 0', 'class 0']
    """

    adapter: Adapter
    class_names: tuple[str, ...]
    method: str
    training: dict[str, Any] = field(default_factory=dict)
    encoding: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    selected: dict[str, Any] = field(default_factory=dict)
    shot_hashes: tuple[str, ...] = ()
    shots: Features | None = field(default=None, repr=False)
    confidence: Confidence = field(default_factory=Confidence, repr=False)
    familiarity: Familiarity | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """The hub wants a ``config.json`` to count downloads by; ``classifier.json`` says more."""
        self._hub_mixin_config = {"library_name": "pyg_graphadapter"}
        self._encoder: EncoderModel | None = None
        #: The losses of the training; not saved with the classifier.
        self.history: History | None = None

    @classmethod
    @obeys_progress
    def fit(
        cls,
        data: "Images | datasets.DatasetDict | FeatureFile | FewShotTask | Source",
        shots: Shots = ALL,
        seed: int = 1,
        method: str = "graph_adapter",
        config: TrainConfig | None = None,
        *,
        at_most: int | None = None,
        model: "str | Path | EncoderModel | None" = None,
        encoding: EncodingConfig | None = None,
        descriptions: DescriptionsLike | None = None,
        descriptions_weight: float | None = None,
        select: bool = True,
        measure: bool = False,
        calibrate: bool = True,
        keep_shots: bool = False,
        progress: bool = True,
        callbacks: Iterable[Callback] = (),
        image_column: str | None = None,
        label_column: str | None = None,
        split_column: str | None = None,
        split: SplitOption | None = None,
        class_names: str | Path | Mapping[str, str] | None = None,
        layout: str | None = None,
        crops: bool = False,
        follow_links: bool = False,
        **settings: Any,
    ) -> Self:
        """Trains a method on all labelled images, or on a few shots that are drawn. Warns if the
        class names say next to nothing about the images.

        Args:
            data (str, Path, datasets.Dataset, FeatureFile, FewShotTask or Source): Images as
                :func:`pyg_graphadapter.data.load_images` takes them, features or the path of a
                feature file, shots that are drawn already, or a source of features, which brings
                its own encoder.
            shots (int or str, optional): The number of images per class, or :obj:`"all"`. With 0,
                it is the zero-shot classifier of the class names, or by a method that needs no
                shots. (default: :obj:`"all"`)
            seed (int, optional): The seed of the draw. (default: :obj:`1`)
            method (str, optional): The method's name. (default: :obj:`"graph_adapter"`)
            config (TrainConfig, optional): How to train; the defaults with :obj:`seed` if not
                given. (default: :obj:`None`)
            at_most (int, optional): The largest number of images per class; classes with fewer use
                what they have. (default: :obj:`None`)
            model (str, Path or EncoderModel, optional): The encoder of images: a folder or an id
                on the hub (:meth:`Encoder.from_pretrained`), an :class:`Encoder`, or any
                :class:`~pyg_graphadapter.encoding.model.EncoderModel`. (default: :obj:`None`)
            encoding (EncodingConfig, optional): How images are encoded. (default: :obj:`None`)
            descriptions (Descriptions, dict, str or Path, optional): Sentences about each class, or
                the path of a JSON file of them (:class:`~pyg_graphadapter.data.Descriptions`); as
                in :obj:`encoding`. (default: :obj:`None`)
            descriptions_weight (float, optional): Their weight against the prompts; with 1, they
                take the place of them. If not given, that of :obj:`encoding`, 0.5.
                (default: :obj:`None`)
            select (bool, optional): Select what the settings leave open inside the few shots
                (:func:`~pyg_graphadapter.training.selection.select_defaults`), instead of the
                method's defaults. (default: :obj:`True`)
            measure (bool, optional): Measure the accuracy and the zero-shot accuracy into
                :obj:`measured`: on the test split, or else on training images that were not drawn,
                or else by cross-validation inside the shots. (default: :obj:`False`)
            calibrate (bool, optional): Fit the temperature of the probabilities, and learn how
                often they are right, on shots that are held out
                (:func:`~pyg_graphadapter.classifier.calibration.calibrated`). The method is
                fitted once more per fold. (default: :obj:`True`)
            keep_shots (bool, optional): Keep the features of the shots, which are saved with the
                classifier, so that shots and classes can be added later. (default: :obj:`False`)
            progress (bool, optional): Show progress bars, on a terminal. (default: :obj:`True`)
            callbacks (iterable of Callback, optional): Are told of the start of the training, of
                every epoch and of the end (:class:`~pyg_graphadapter.Callback`).
                (default: :obj:`()`)
            image_column, ..., follow_links (optional): How images are read, as in
                :func:`pyg_graphadapter.data.load_images`.
            **settings (optional): The method's settings.

        Raises:
            ValueError: If a class has too few images, a name or setting is unknown, or there is
                no encoder for images.
        """
        config = config or TrainConfig(seed=seed)
        adapter_class(method)  # says which methods there are
        if descriptions is not None or descriptions_weight is not None:
            encoding = encoding or EncodingConfig()
            encoding = encoding.with_descriptions(descriptions, descriptions_weight)
        drawn = _draw_of(shots, seed, at_most)
        options = ReadOptions(
            image_column,
            label_column,
            split_column,
            split,
            class_names,
            layout,
            crops,
            follow_links,
        )
        if isinstance(data, FewShotTask):
            options.refuse("shots that are drawn already")
            if encoding is not None:
                refuse_descriptions(encoding, "The task")
            source, task = None, data
        else:
            source = source_of(data, model, encoding, config.device, options, progress=progress)
            task = source.task(drawn.shots, seed, allow_fewer=drawn.allow_fewer)
            if drawn.shots == 0:
                method = method_without_shots(method, settings)
        fitted = fit_method(
            method, task, config, settings, select=select, progress=progress, callbacks=callbacks
        )
        training = recipe(method, task, config, fitted.history, None if source is None else seed)
        names = told_apart(task.class_names)
        if names != task.class_names:
            first = next(name for name in names if name not in task.class_names)
            warn(f"Classes of one name are told apart by their numbers, as {first!r}.")
        tell_of_poor_texts(evidence_of(training), fitted.adapter, method)
        classifier = cls(fitted.adapter, names, method, training)
        classifier.selected = fitted.selected
        classifier.history = fitted.history
        classifier.shot_hashes = shot_hashes(task)
        classifier.shots = task.support if keep_shots else None
        classifier.familiarity = Familiarity.from_task(task)
        if source is not None and source.text_encoder is not None:
            classifier.use_encoder(source.text_encoder, source.encoding)
        classifier.confidence, held_out = calibrated(
            method,
            task,
            config,
            settings,
            fitted.selected,
            calibrate=calibrate,
            select=select,
            progress=progress,
        )
        if measure and source is not None:
            classifier.measured = measurement.measure(classifier.adapter, task, source, drawn)
        if measure and not classifier.measured:
            classifier.measured = measurement.cross_validated(
                method,
                task,
                config,
                settings,
                select=select,
                held_out=held_out,
                progress=progress,
            )
        return classifier

    @classmethod
    def from_names(
        cls,
        class_names: "Sequence[str] | str | Path",
        *,
        model: "str | Path | EncoderModel",
        encoding: EncodingConfig | None = None,
        device: str = "auto",
        method: str = "zero_shot",
        **settings: Any,
    ) -> Self:
        """Makes the zero-shot classifier of class names, to which shots may be added later.

        Args:
            class_names (sequence of str, str or Path): The names of the classes, or a file of them
                (:func:`~pyg_graphadapter.data.names_file.read_names`).
            model (str, Path or EncoderModel): The encoder, as in :meth:`fit`.
            encoding (EncodingConfig, optional): The prompts, and how images that are added later
                are encoded. (default: :obj:`None`)
            device (str, optional): The device of the encoder. (default: :obj:`"auto"`)
            method (str, optional): A method that needs no shots. (default: :obj:`"zero_shot"`)
            **settings (optional): The method's settings.

        Raises:
            ValueError: If there are fewer than two names, one is empty or there twice, the method
                needs shots, or the encoder cannot be loaded.
        """
        encoding = encoding or EncodingConfig()
        return growth.from_names(cls, class_names, model, encoding, device, method, settings)

    def add_shots(self, data: Any, labels: Sequence[str | int] | None = None, **how: Any) -> Self:
        """The classifier, fitted again to its shots and more, in seconds: with the same method,
        recipe and settings. It must have been fitted with :obj:`keep_shots`. A zero-shot classifier
        becomes one by GraphAdapter, unless a method is named. Images that are among its shots
        already, and images with labels that cannot be decoded, are left out, with a warning.

        Args:
            data: Labelled images or features as in :meth:`fit`, or images or features without
                labels.
            labels (sequence, optional): Their labels: text is a class name, also ``"1"``, and a
                whole number counts the classes from 0. (default: :obj:`None`)
            **how (optional): The arguments of :func:`~pyg_graphadapter.classifier.growth.grow`.

        Raises:
            ValueError: If it holds no shots, or there is a class that it does not have.
        """
        return growth.add_shots(self, data, labels, **how)

    def add_classes(self, data: Any, labels: Sequence[str] | None = None, **how: Any) -> Self:
        """The classifier with more classes: from their names alone, or with shots of them.

        Classes without shots are added to the fitted method, where it can classify new ones
        (:meth:`~pyg_graphadapter.adapters.Adapter.extend`). Otherwise it is fitted again to the
        shots that it holds, and text features stand in for the shots that the new classes lack
        (:func:`~pyg_graphadapter.training.fitting.with_text_shots`). Such classes are predicted
        less often than those with shots, and hardly ever by ``linear_probe``, ``clap`` and
        ``ss_text``.

        Args:
            data: The names of the new classes, or labelled images or features as in
                :meth:`add_shots`.
            labels (sequence of str, optional): The labels of images. (default: :obj:`None`)
            **how (optional): The arguments of :func:`~pyg_graphadapter.classifier.growth.grow`,
                and ``text``, the text features ``[C', D]`` of names, which are encoded if they are
                not given.

        Raises:
            ValueError: If a name is there already, shots are needed that it does not hold, there
                is ``text`` beside images, or the classes of a feature file have no names.
        """
        return growth.add_classes(self, data, labels, **how)

    def rename_classes(self, names: Mapping[str, str], *, encode: bool = False, **how: Any) -> Self:
        """The classifier with other names of its classes.

        Args:
            names (dict): The new name of each class that is renamed.
            encode (bool, optional): Encode the new names, too: the classifier is fitted again with
                their text features. (default: :obj:`False`)
            **how (optional): The arguments of :func:`~pyg_graphadapter.classifier.growth.grow`.

        Raises:
            ValueError: If a class is unknown, two classes get one name, or shots are needed that it
                does not hold.
        """
        return growth.rename_classes(self, names, encode=encode, **how)

    def __repr__(self) -> str:
        name = f"{self.method} (transductive)" if self.adapter.is_transductive else self.method
        parts = [name, counted(len(self.class_names), "class")]
        parts.append(f"{self.adapter.text.size(1)} wide")
        parts.append(counted(self.adapter.num_parameters(), "parameter"))
        if self.encoding:
            parts.append(f"encoder {self.encoding['model']!r}")
        return f"{type(self).__name__}({', '.join(parts)})"


def _draw_of(shots: Shots, seed: int, at_most: int | None) -> measurement.Drawn:
    """How shots are drawn, from the arguments of ``fit``."""
    check_shots(shots)
    if at_most is None:
        return measurement.Drawn(shots, seed, allow_fewer=False)
    check_whole_number("at_most", at_most, low=1)
    if shots != ALL:
        raise ValueError(
            f"'shots' is the number of images of every class, and 'at_most' the largest one: give "
            f"one of them (got shots={shots}, at_most={at_most})."
        )
    return measurement.Drawn(at_most, seed, allow_fewer=True)
