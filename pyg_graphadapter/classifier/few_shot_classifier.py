"""Fitted classifiers of images or of their features, saved without the training data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast

import safetensors.torch
import torch
from huggingface_hub import ModelCard, ModelHubMixin, snapshot_download
from torch import Tensor

from pyg_graphadapter.adapters import Adapter, LinearAdapter, adapter_class
from pyg_graphadapter.classifier import growth, measurement
from pyg_graphadapter.classifier.explanation import Explanation, explain_class, explain_image
from pyg_graphadapter.classifier.file import (
    CARD,
    FIELDS,
    WEIGHTS,
    read_classifier,
    write_classifier,
)
from pyg_graphadapter.classifier.inputs import FeatureInput, ImageInput, Input, read_input
from pyg_graphadapter.classifier.labelled import Labelled, labels_of, of_file, of_images
from pyg_graphadapter.classifier.model_card import model_card
from pyg_graphadapter.classifier.predictions import Classified, Prediction, check_on_error
from pyg_graphadapter.classifier.shots import image_hashes, shot_hashes
from pyg_graphadapter.data.reading import ReadOptions
from pyg_graphadapter.data.splits import SplitOption
from pyg_graphadapter.display import json_text
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.identity import PARTS, changed_parts
from pyg_graphadapter.encoding.sources import FileSource, Source, load_encoder
from pyg_graphadapter.feature_file import FeatureFile, is_feature_file
from pyg_graphadapter.features import ALL, Features, Shots, check_shots, counted
from pyg_graphadapter.outputs import check_output_file
from pyg_graphadapter.settings import check_whole_number, refuse_arguments, unknown
from pyg_graphadapter.storage import write_output
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.evaluation import Evaluation, predict_logits
from pyg_graphadapter.training.fitting import fit_method, recipe

if TYPE_CHECKING:
    import datasets

    from pyg_graphadapter.encoding.model import EncoderModel
    from pyg_graphadapter.encoding.pipeline import EncodedImages

NO_TEXTS = "none"  # in the recipe of a classifier that was fitted without texts
# A folder, a path, a data set, or a sequence of images:
Images: TypeAlias = str | Path | Sequence[Any]


@dataclass(eq=False)
class FewShotClassifier(ModelHubMixin):
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
        selected (dict): The settings that :meth:`fit` selected inside the few shots.
            (default: :obj:`{}`)
        shot_hashes (tuple of str): The hashes of the images that it was fitted on
            (:mod:`pyg_graphadapter.classifier.shots`); empty if they are not known.
            (default: :obj:`()`)
        shots (Features, optional): The features of its shots, if it was fitted with
            :obj:`keep_shots`. (default: :obj:`None`)

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

    def __post_init__(self) -> None:
        """The hub wants a ``config.json`` to count downloads by; ``classifier.json`` says more."""
        self._hub_mixin_config = {"library_name": "pyg_graphadapter"}
        self._encoder: EncoderModel | None = None

    @classmethod
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
        select: bool = True,
        measure: bool = False,
        keep_shots: bool = False,
        progress: bool = True,
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
        """Trains a method on all labelled images, or on a few shots that are drawn.

        Args:
            data (str, Path, datasets.Dataset, FeatureFile, FewShotTask or Source): Images as
                :func:`pyg_graphadapter.data.load_images` takes them, features or the path of a
                feature file, shots that are drawn already, or a source of features, which brings
                its own encoder.
            shots (int or str, optional): The number of images per class, or :obj:`"all"`. With 0,
                it is the zero-shot classifier of the class names. (default: :obj:`"all"`)
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
            select (bool, optional): Select what the settings leave open inside the few shots
                (:func:`~pyg_graphadapter.training.selection.select_defaults`), instead of the
                method's defaults. (default: :obj:`True`)
            measure (bool, optional): Measure the accuracy and the zero-shot accuracy into
                :obj:`measured`: on the test split, or else on training images that were not drawn,
                or else by cross-validation inside the shots. (default: :obj:`False`)
            keep_shots (bool, optional): Keep the features of the shots, which are saved with the
                classifier, so that shots and classes can be added later. (default: :obj:`False`)
            progress (bool, optional): Show progress bars, on a terminal. (default: :obj:`True`)
            image_column, label_column, split_column, split, class_names, layout, crops,
                follow_links (optional): How images are read, as in
                :func:`pyg_graphadapter.data.load_images`.
            **settings (optional): The method's settings.

        Raises:
            ValueError: If a class has too few images, a name or setting is unknown, or there is
                no encoder for images.
        """
        config = config or TrainConfig(seed=seed)
        adapter_class(method)  # says which methods there are
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
            source, task = None, data
        else:
            source = source_of(data, model, encoding, config.device, options, progress=progress)
            task = source.task(drawn.shots, seed, allow_fewer=drawn.allow_fewer)
            if drawn.shots == 0:
                method, settings = growth.method_without_shots(method, settings), {}
        fitted = fit_method(method, task, config, settings, select=select, progress=progress)
        training = recipe(method, task, config, fitted.history, None if source is None else seed)
        classifier = cls(fitted.adapter, task.class_names, method, training)
        classifier.selected = fitted.selected
        classifier.shot_hashes = shot_hashes(task)
        classifier.shots = task.support if keep_shots else None
        if source is not None and source.text_encoder is not None:
            classifier.use_encoder(source.text_encoder, source.encoding)
        if measure and source is not None:
            classifier.measured = measurement.measure(classifier.adapter, task, source, drawn)
        if measure and not classifier.measured:
            classifier.measured = measurement.cross_validated(
                method, task, config, settings, select=select, progress=progress
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
    ) -> Self:
        """Makes the zero-shot classifier of class names, to which shots may be added later.

        Args:
            class_names (sequence of str, str or Path): The names of the classes, or a file of them
                (:func:`~pyg_graphadapter.data.names_file.read_names`).
            model (str, Path or EncoderModel): The encoder, as in :meth:`fit`.
            encoding (EncodingConfig, optional): The prompts, and how images that are added later
                are encoded. (default: :obj:`None`)
            device (str, optional): The device of the encoder. (default: :obj:`"auto"`)

        Raises:
            ValueError: If there are fewer than two names, one is empty or there twice, or the
                encoder cannot be loaded.
        """
        return growth.from_names(cls, class_names, model, encoding or EncodingConfig(), device)

    def add_shots(self, data: Any, labels: Sequence[str | int] | None = None, **how: Any) -> Self:
        """The classifier, fitted again to its shots and more, in seconds: with the same method,
        recipe and settings. It must have been fitted with :obj:`keep_shots`. A zero-shot classifier
        becomes one by GraphAdapter, unless a method is named.

        Args:
            data: Labelled images or features as in :meth:`fit`, or images or features without
                labels.
            labels (sequence, optional): Their labels, as names or as numbers of classes.
                (default: :obj:`None`)
            **how (optional): The arguments of :func:`~pyg_graphadapter.classifier.growth.grow`.

        Raises:
            ValueError: If it holds no shots, or there is a class that it does not have.
        """
        return growth.add_shots(self, data, labels, **how)

    def add_classes(self, data: Any, labels: Sequence[str] | None = None, **how: Any) -> Self:
        """The classifier with more classes: from their names alone, or with shots of them.

        Classes without shots are added to the fitted method, where it can classify new ones
        (:meth:`~pyg_graphadapter.adapters.Adapter.extend`). Otherwise it is fitted again to the
        shots that it holds, and text features stand in for the shots that the new classes lack.

        Args:
            data: The names of the new classes, or labelled images or features as in
                :meth:`add_shots`.
            labels (sequence of str, optional): The labels of images. (default: :obj:`None`)
            **how (optional): The arguments of :func:`~pyg_graphadapter.classifier.growth.grow`,
                and ``text``, the text features ``[C', D]`` of names, which are encoded if they are
                not given.

        Raises:
            ValueError: If a class is there already, or shots are needed that it does not hold.
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

    def use_encoder(self, encoder: "EncoderModel", config: EncodingConfig | None = None) -> None:
        """Sets the encoder of further images, which must be that of the training features."""
        self._encoder = encoder
        identity = encoder.identity()
        self.encoding = {
            "model": encoder.name,
            "revision": identity.get("revision"),
            **{part: identity.get(part) for part in PARTS},
            "width": encoder.num_channels,
            **(config or EncodingConfig()).describe(),
        }

    @property
    def encoder(self) -> "EncoderModel":
        """The encoder, loaded when it is first needed.

        Raises:
            ValueError: If the classifier was fitted on features, or the encoder that its name
                leads to now is another one.
        """
        if self._encoder is None:
            self.load_encoder()
        assert self._encoder is not None
        return self._encoder

    def load_encoder(self, device: str = "auto", *, offline: bool = False) -> None:
        """Loads the encoder that the classifier was fitted with.

        Raises:
            ValueError: If it cannot be loaded, or is another one.
        """
        if not self.encoding:
            raise ValueError(
                "The classifier was fitted on features, so it knows no encoder for images: pass "
                "features, or say which encoder they came from with use_encoder."
            )
        from pyg_graphadapter.encoding.encoder import Encoder  # loads transformers
        from pyg_graphadapter.encoding.part_hashes import hash_of_weights_and_configuration

        encoding = self.encoding
        encoder = Encoder.from_pretrained(
            encoding["model"],
            revision=encoding["revision"],
            dtype=encoding["dtype"],
            device=device,
            local_files_only=offline,
        )
        changed = changed_parts(encoding, encoder.identity())
        both = encoding.get("weights_and_configuration")  # of classifiers of format 1
        if both is not None and both != hash_of_weights_and_configuration(encoder.model):
            changed.append("weights or configuration")
        if changed:
            raise ValueError(
                f"The model {encoding['model']!r} is not the one that the classifier was fitted "
                f"with: its {' and '.join(changed)} changed. Fit the classifier again, or restore "
                f"the model."
            )
        self._encoder = encoder

    def _input(self, x: Any, *, follow_links: bool = False) -> Input:
        of = f" of {self.encoding['model']}" if self.encoding else ""
        return read_input(x, self.adapter.text.size(1), of, follow_links=follow_links)

    def encode(self, images: Images, *, progress: bool = True) -> Tensor:
        """Features ``[N, D]`` of images: a folder, paths, PIL images, arrays or a data set.

        Raises:
            ValueError: If one cannot be decoded, or there is no encoder.
        """
        return self.encode_images(images, strict=True, progress=progress).x[:, 0]

    def encode_images(
        self, images: Images, *, strict: bool = False, progress: bool = True
    ) -> "EncodedImages":
        """Features of images, and the images that cannot be decoded.

        Args:
            images: Images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            strict (bool, optional): Stop at an image that cannot be decoded, instead of skipping
                it. (default: :obj:`False`)
            progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)

        Raises:
            ValueError: If these are no images, one cannot be decoded and :obj:`strict`, or there is
                no encoder.
        """
        given = self._input(images)
        if isinstance(given, FeatureInput) and len(given.x):
            raise ValueError("These are features already, which are not encoded: give images.")
        listed = given.images if isinstance(given, ImageInput) else []
        return self._encode(listed, strict=strict, progress=progress)

    def _encode(
        self, images: Sequence[Any], *, strict: bool = False, progress: bool = True
    ) -> "EncodedImages":
        encoder = self.encoder  # says so where there is none
        from pyg_graphadapter.encoding.pipeline import pipeline_of

        return pipeline_of(encoder, EncodingConfig()).encode(
            images, strict=strict, progress=progress
        )

    def classify(
        self,
        x: Any,
        *,
        strict: bool = False,
        follow_links: bool = False,
        progress: bool = True,
    ) -> Classified:
        """Class probabilities of features or images, and which images have none, with the reason.

        Args:
            x: Features or images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            strict (bool, optional): Stop at an image that cannot be decoded. (default:
                :obj:`False`)
            follow_links (bool, optional): Follow links that lead out of a folder of images, too.
                (default: :obj:`False`)
            progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)

        Raises:
            ValueError: As :meth:`predict_proba` does.
        """
        given = self._input(x, follow_links=follow_links)
        if isinstance(given, FeatureInput):
            features, index, skipped = given.x, torch.arange(len(given.x)), {}
        else:
            encoded = self._encode(given.images, strict=strict, progress=progress)
            features, index, skipped = encoded.x[:, 0], encoded.index, encoded.skipped
        probability = predict_logits(self.adapter, features).softmax(dim=1)
        return Classified(probability, index, skipped, given.files)

    def predict_proba(self, x: Any, *, on_error: str = "raise") -> Tensor:
        """Class probabilities ``[N, C]``, one row per image.

        Args:
            x: Features or images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            on_error (str, optional): What becomes of an image that cannot be decoded: ``raise`` an
                error, or ``nan``, a row of NaN, with a warning. (default: :obj:`"raise"`)

        Raises:
            ValueError: If these are neither features nor images, features are not finite, zero, or
                of another width than those that it was fitted with; if an image cannot be decoded,
                or there is no encoder.
        """
        check_on_error(on_error, ("raise", "nan"))
        classified = self.classify(x, strict=on_error == "raise")
        classified.tell_of_skipped("have rows of NaN")
        return classified.in_all_rows()

    def predict(self, x: Any, *, on_error: str = "none") -> list[str | None]:
        """The class name of every image, in the order in which they are given; see
        :meth:`predict_rows` for their files, probabilities and further classes.

        Args:
            x: Features or images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            on_error (str, optional): What becomes of an image that cannot be decoded: ``none``, its
                name is :obj:`None`, with a warning, or ``raise`` an error.
                (default: :obj:`"none"`)

        Raises:
            ValueError: As :meth:`predict_proba` does.
        """
        check_on_error(on_error, ("none", "raise"))
        classified = self.classify(x, strict=on_error == "raise")
        classified.tell_of_skipped("are None")
        return [row.class_name for row in classified.predictions(self.class_names)]

    def predict_rows(self, x: Any, *, top: int = 1, on_error: str = "row") -> list[Prediction]:
        """One row per image: its file, its class with the probability, the next classes, and the
        reason where it cannot be classified.

        Args:
            x: Features or images, by the rule of :mod:`pyg_graphadapter.classifier.inputs`.
            top (int, optional): The number of classes per image. (default: :obj:`1`)
            on_error (str, optional): What becomes of an image that cannot be decoded: ``row``, its
                row has the reason; ``skip``, it has no row, with a warning; or ``raise`` an error.
                (default: :obj:`"row"`)

        Raises:
            ValueError: As :meth:`predict_proba` does.
        """
        check_on_error(on_error, ("row", "skip", "raise"))
        check_whole_number("top", top, low=1)
        classified = self.classify(x, strict=on_error == "raise")
        if on_error == "skip":
            classified.tell_of_skipped("have no row")
        return classified.predictions(self.class_names, top, on_error)

    def evaluate(
        self,
        data: "Images | datasets.DatasetDict | FeatureFile | Features",
        y: Any = None,
        *,
        split: str | None = None,
        encoding: EncodingConfig | None = None,
        progress: bool = True,
        **reading: Any,
    ) -> Evaluation:
        """Measures the classifier on labelled images or features: the test split where there is
        one, else all that there are. Classes are matched by their names, where the data have any;
        the labels of :class:`Features` count the classes of the classifier. Warns if it was fitted
        on some of the images.

        Args:
            data: A data set as :func:`pyg_graphadapter.data.load_images` takes it, a feature file,
                or :class:`Features`; with :obj:`y`, features or images by the rule of
                :mod:`pyg_graphadapter.classifier.inputs`.
            y (sequence, optional): The label of every image, a class name or its number.
                (default: :obj:`None`)
            split (str, optional): ``train``, ``val`` or ``test``. (default: the test split, else
                what there is)
            encoding (EncodingConfig, optional): How images are encoded. (default: :obj:`None`)
            progress (bool, optional): Show progress bars, on a terminal. (default: :obj:`True`)
            **reading (optional): Further arguments of :func:`pyg_graphadapter.data.load_images`.

        Raises:
            ValueError: If a class is not among those that it was fitted on, or there is no image.
        """
        if y is not None:
            labelled = self._labelled_by(data, y)
        elif is_feature_file(data):
            labelled = of_file(FeatureFile.load(cast(str, data)), split)
        elif isinstance(data, FeatureFile):
            labelled = of_file(data, split)
        elif isinstance(data, Features):
            labelled = Labelled(data)
        else:
            labelled = of_images(
                data, split, lambda: self.encoder, encoding, progress=progress, **reading
            )
        features = labelled.features
        own = self.own_labels(features.y, labelled.class_names)
        labelled = replace(labelled, features=Features(features.x, own))
        return labelled.measure(self.adapter, self.shot_hashes)

    def _labelled_by(self, x: Any, y: Any) -> Labelled:
        """Features or images with labels that were given apart from them."""
        given = self._input(x)
        labels = labels_of(y, self.class_names, len(given.files))
        if isinstance(given, FeatureInput):
            return Labelled(Features(given.x, labels))
        from pyg_graphadapter.encoding.image_batches import digests_of  # loads datasets

        encoded = self._encode(given.images)
        digests = digests_of(given.images, encoded.index.tolist())
        return Labelled(
            Features(encoded.x, labels[encoded.index]),
            hashes=image_hashes(digest.hex() for digest in digests),
            num_skipped=len(encoded.skipped),
        )

    def own_labels(self, y: Tensor, class_names: Sequence[str] | None) -> Tensor:
        """Labels ``[N]`` that count other class names, as labels of this classifier's classes.

        Without names, or with names that are only the numbers 0, 1, …, the labels count the classes
        of the classifier already.

        Raises:
            ValueError: If a class is not among those that it was fitted on.
        """
        numbers = [str(c) for c in range(len(self.class_names))]
        if class_names is None or list(class_names) == numbers:
            class_names = self.class_names
        unknown_names = [name for name in class_names if name not in self.class_names]
        if unknown_names:
            raise ValueError(
                f"The classifier does not know the class {unknown_names[0]!r}: it was fitted on "
                f"{len(self.class_names)} others."
            )
        if len(y) and int(y.max()) >= len(class_names):
            raise ValueError(
                f"The label {int(y.max())} has no class: there are {len(class_names)}, counted "
                f"from 0."
            )
        return torch.tensor([self.class_names.index(name) for name in class_names])[y]

    def export(self, path: str | Path | None = None) -> Tensor:
        """The class weights ``[C, D]``: logits are ``logit_scale`` times their product with image
        features of length one, plus ``class_biases`` ``[C]`` where the method has any.

        Args:
            path (str or Path, optional): Writes them to a ``.safetensors`` file, or the image tower
                with them as head to an ``.onnx`` file. (default: :obj:`None`)

        Raises:
            ValueError: If the method has no such weights, or the suffix is another.
            OSError: If the file cannot be written.
        """
        if not isinstance(self.adapter, LinearAdapter):
            raise ValueError(
                f"{type(self.adapter).__name__} compares an image with more than one weight per "
                f"class, so there are none to export: save the classifier instead."
            )
        weights, biases = self.adapter.class_weights().detach(), self.adapter.class_biases()
        if path is None:
            return weights
        path = Path(path)
        if path.suffix == ".onnx":
            from pyg_graphadapter.classifier.export import export_onnx  # loads transformers

            scale = self.adapter.logit_scale
            export_onnx(self.encoder, weights, scale, path, self.class_names, biases)
        elif path.suffix == ".safetensors":
            check_output_file(path)
            content = {
                "class_weights": weights.contiguous(),
                "logit_scale": torch.tensor(self.adapter.logit_scale),
            }
            if biases is not None:
                content["class_biases"] = biases.detach().contiguous()
            names = json_text(list(self.class_names))
            write_output(path, safetensors.torch.save(content, {"class_names": names}))
        else:
            raise ValueError(f"Exports end with .onnx or .safetensors (got {path.name}).")
        return weights

    def explain(self, image: Tensor | Any = None, class_name: str | None = None) -> Explanation:
        """Explains which neighbouring classes changed a class feature, through texts and images, or
        which parts add up to the logit of an image. What the class collects from its own text and
        its own images is listed apart from its neighbours.

        Args:
            image (optional): One image or its features, by the rule of
                :mod:`pyg_graphadapter.classifier.inputs`. (default: :obj:`None`)
            class_name (str, optional): The class; of an image, the predicted one if not given.
                (default: :obj:`None`)

        Raises:
            ValueError: If the class is unknown, nothing is given, or the method has no graphs.
        """
        if class_name is not None and class_name not in self.class_names:
            raise unknown("class", class_name, self.class_names)
        c = None if class_name is None else self.class_names.index(class_name)
        if image is not None:
            x = self._features_of(image)
            explanation = explain_image(self.adapter, self.class_names, x, c)
        elif c is None:
            raise ValueError("There is nothing to explain: give an image, a class name, or both.")
        else:
            explanation = explain_class(self.adapter, self.class_names, c)
        return explanation if self.has_text else explanation.without_text()

    @property
    def has_text(self) -> bool:
        """Whether it was fitted with class text features."""
        return self.training.get("texts") != NO_TEXTS

    def _features_of(self, image: Any) -> Tensor:
        """The features ``[D]`` of one image."""
        given = self._input(image)
        if len(given.files) != 1:
            raise ValueError(
                f"One image is explained at a time (got {len(given.files)}): give one of them."
            )
        if isinstance(given, FeatureInput):
            return given.x[0]
        return self._encode(given.images, strict=True).x[0, 0]

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Writes ``classifier.safetensors`` and ``classifier.json``.

        Raises:
            ValueError: If the folder holds something else, or a classifier and not
                :obj:`overwrite`.
        """
        fields = {name: getattr(self, name) for name in FIELDS}
        write_classifier(Path(folder), self.adapter, fields, overwrite=overwrite, shots=self.shots)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Reads a classifier that :meth:`save` wrote; the encoder is loaded when images need it.

        Raises:
            FileNotFoundError: If there is no classifier.
            ValueError: If it is damaged or of a later format.
        """
        adapter, fields = read_classifier(Path(folder))
        return cls(adapter, tuple(fields.pop("class_names")), **fields)

    def _save_pretrained(self, save_directory: Path) -> None:
        folder = Path(save_directory)
        self.save(folder, overwrite=(folder / CARD).exists())

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        **unknown_arguments: Any,
    ) -> Self:
        """Loads a classifier from a folder or from the Hugging Face hub. Only its two files are
        read; no code that comes with it is run.

        Args:
            pretrained_model_name_or_path (str or Path): The folder, or the id on the hub.
            revision (str, optional): Branch, tag or commit on the hub. (default: :obj:`None`)
            token (str or bool, optional): For classifiers that are not public.
                (default: :obj:`None`)
            cache_dir (str or Path, optional): Where downloads are kept. (default: :obj:`None`)
            force_download (bool, optional): Download again. (default: :obj:`False`)
            local_files_only (bool, optional): Download nothing. (default: :obj:`False`)

        Raises:
            ValueError: If an argument is unknown, such as ``trust_remote_code``, or the classifier
                cannot be read.
        """
        refuse_arguments(unknown_arguments)
        loaded: Self = super().from_pretrained(
            pretrained_model_name_or_path,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
        )
        return loaded

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **_: Any,  # what the mixin takes from config.json
    ) -> Self:
        if Path(model_id).is_dir():
            return cls.load(model_id)
        folder = snapshot_download(
            model_id,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
            allow_patterns=[WEIGHTS, "classifier-*.safetensors", CARD],
        )
        return cls.load(folder)

    def generate_model_card(self, *_: Any, **__: Any) -> ModelCard:
        """The model card that :meth:`push_to_hub` uploads, with measured accuracies."""
        return model_card(
            self.class_names, self.method, self.training, self.encoding, self.measured
        )

    def __repr__(self) -> str:
        parts = [self.method, counted(len(self.class_names), "class")]
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


def source_of(
    data: Any,
    model: "str | Path | EncoderModel | None",
    encoding: EncodingConfig | None,
    device: str,
    options: ReadOptions,
    *,
    progress: bool,
) -> Source:
    """The source that data is, or a source of the features or images that it holds."""
    if isinstance(data, Source | FeatureFile) or is_feature_file(data):
        options.refuse("features and sources that are open already")
    if isinstance(data, Source):
        return data
    if is_feature_file(data):
        return FileSource(FeatureFile.load(data), Path(data).name)
    if isinstance(data, FeatureFile):
        return FileSource(data, "features")
    from pyg_graphadapter.encoding.image_source import ImageSource  # loads datasets, transformers

    encoder = load_encoder(model, encoding or EncodingConfig(), device)
    return ImageSource(data, encoder, encoding, progress=progress, options=options)
