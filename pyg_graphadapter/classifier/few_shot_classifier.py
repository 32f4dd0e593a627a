"""Fitted classifiers of images or of their features, saved without the training data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast

import safetensors.torch
import torch
from huggingface_hub import ModelCard, ModelHubMixin, snapshot_download
from torch import Tensor

from pyg_graphadapter.adapters import Adapter, LinearAdapter, ZeroShot, adapter_class
from pyg_graphadapter.adapters.contract import build_adapter
from pyg_graphadapter.classifier.explanation import Explanation, explain_class, explain_image
from pyg_graphadapter.classifier.file import (
    CARD,
    FIELDS,
    WEIGHTS,
    read_classifier,
    write_classifier,
)
from pyg_graphadapter.classifier.model_card import model_card
from pyg_graphadapter.data.reading import ReadOptions
from pyg_graphadapter.data.splits import SplitOption
from pyg_graphadapter.display import json_text
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.identity import PARTS, changed_parts
from pyg_graphadapter.encoding.sources import FileSource, Source, load_encoder
from pyg_graphadapter.feature_file import FeatureFile, is_feature_file, read_images
from pyg_graphadapter.features import Features, check_finite, counted
from pyg_graphadapter.outputs import check_output_file
from pyg_graphadapter.settings import refuse_arguments, unknown
from pyg_graphadapter.storage import write_output
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.engine import History, train
from pyg_graphadapter.training.evaluation import Evaluation, evaluate, predict_logits
from pyg_graphadapter.training.selection import select_defaults

if TYPE_CHECKING:
    import datasets

    from pyg_graphadapter.encoding.model import EncoderModel
    from pyg_graphadapter.encoding.pipeline import EncodedImages

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
        selected (dict): The settings that :meth:`fit` selected inside the few shots; not saved.
            (default: :obj:`{}`)

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

    def __post_init__(self) -> None:
        """The hub wants a ``config.json`` to count downloads by; ``classifier.json`` says more."""
        self._hub_mixin_config = {"library_name": "pyg_graphadapter"}
        self._encoder: EncoderModel | None = None

    @classmethod
    def fit(
        cls,
        data: "Images | datasets.DatasetDict | FeatureFile | FewShotTask | Source",
        shots: int = 16,
        seed: int = 1,
        method: str = "graph_adapter",
        config: TrainConfig | None = None,
        *,
        model: "str | Path | EncoderModel | None" = None,
        encoding: EncodingConfig | None = None,
        select: bool = True,
        measure: bool = False,
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
        """Draws a few shots and trains a method on them.

        Args:
            data (str, Path, datasets.Dataset, FeatureFile, FewShotTask or Source): Images as
                :func:`pyg_graphadapter.data.load_images` takes them, features or the path of a
                feature file, shots that are drawn already, or a source of features, which brings
                its own encoder.
            shots (int, optional): The number of images per class. (default: :obj:`16`)
            seed (int, optional): The seed of the draw. (default: :obj:`1`)
            method (str, optional): The method's name. (default: :obj:`"graph_adapter"`)
            config (TrainConfig, optional): How to train; the defaults with :obj:`seed` if not
                given. (default: :obj:`None`)
            model (str, Path or EncoderModel, optional): The encoder of images: a folder or an id
                on the hub (:meth:`Encoder.from_pretrained`), an :class:`Encoder`, or any
                :class:`~pyg_graphadapter.encoding.model.EncoderModel`. (default: :obj:`None`)
            encoding (EncodingConfig, optional): How images are encoded. (default: :obj:`None`)
            select (bool, optional): Select what the settings leave open inside the few shots
                (:func:`~pyg_graphadapter.training.selection.select_defaults`), instead of the
                method's defaults. (default: :obj:`True`)
            measure (bool, optional): Measure the accuracy and the zero-shot accuracy on the test
                split, where there is one, into :obj:`measured`. (default: :obj:`False`)
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
        build = adapter_class(method)
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
            source = _source_of(data, model, encoding, config.device, options, progress=progress)
            task = source.task(shots, seed)
        selected = {}
        if select:
            selected = select_defaults(method, task, config, settings, progress=progress)
        adapter = build_adapter(build, task, {**settings, **selected})
        history = train(adapter, task, config, progress=progress)
        training = _recipe(
            task,
            config.completed(build),
            history,
            is_trained=build.is_trained,
            drawn_by=None if source is None else seed,
        )
        classifier = cls(adapter.cpu().eval(), task.class_names, method, training)
        classifier.selected = selected
        if source is not None and source.text_encoder is not None:
            classifier.use_encoder(source.text_encoder, source.encoding)
        test = source.test() if measure and source is not None else None
        if test is not None and len(test):
            classifier._measure(test, task)
        return classifier

    def _measure(self, test: Features, task: FewShotTask) -> None:
        """Fills :obj:`measured` with the accuracies on a test split."""
        zero_shot = evaluate(ZeroShot.from_task(task), test)
        self.measured = {
            "test accuracy (%)": round(evaluate(self.adapter, test).accuracy, 2),
            "zero-shot accuracy (%)": round(zero_shot.accuracy, 2),
            "test images": len(test),
        }

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

    def encode(self, images: Images, *, progress: bool = True) -> Tensor:
        """Features ``[N, D]`` of images: a folder, paths, PIL images or a data set.

        Raises:
            ValueError: If one cannot be decoded, or there is no encoder.
        """
        return self.encode_images(_listed(images), strict=True, progress=progress).x[:, 0]

    def encode_images(
        self, images: Sequence[Any], *, strict: bool = False, progress: bool = True
    ) -> "EncodedImages":
        """Features of images one by one, and the images that cannot be decoded.

        Args:
            images (sequence): As for :meth:`Encoder.encode_images`.
            strict (bool, optional): Stop at an image that cannot be decoded, instead of skipping
                it. (default: :obj:`False`)
            progress (bool, optional): Show a progress bar, on a terminal. (default: :obj:`True`)

        Raises:
            ValueError: If one cannot be decoded and :obj:`strict`, or there is no encoder.
        """
        from pyg_graphadapter.encoding.pipeline import pipeline_of

        pipeline = pipeline_of(self.encoder, EncodingConfig())
        return pipeline.encode(images, strict=strict, progress=progress)

    def predict_proba(self, x: Tensor | Images) -> Tensor:
        """Class probabilities ``[N, C]`` of image features ``[N, D]``, of a feature file (its
        ``features``, or else its last split), or of images.

        Raises:
            ValueError: If the features are not finite, or of another width than those that it was
                fitted with; if an image cannot be decoded, or there is no encoder.
        """
        if is_feature_file(x):
            x = read_images(Path(cast(str, x))).x
        elif not isinstance(x, Tensor):
            x = self.encode(x)
        width = self.adapter.text.size(1)
        if x.dim() != 2 or x.size(1) != width:
            of = f" of {self.encoding['model']}" if self.encoding else ""
            raise ValueError(
                f"The classifier was fitted with features{of} {width} wide (got {list(x.shape)}): "
                f"use those of the same encoder."
            )
        check_finite(x, "Features")
        return predict_logits(self.adapter, x).softmax(dim=1)

    def predict(self, x: Tensor | Images) -> list[str]:
        """The class name of every row of image features ``[N, D]`` or of a feature file, or of
        every image.

        Raises:
            ValueError: As :meth:`predict_proba` does.
        """
        return [self.class_names[c] for c in self.predict_proba(x).argmax(dim=1).tolist()]

    def evaluate(
        self,
        data: "Images | datasets.DatasetDict | FeatureFile | Features",
        *,
        encoding: EncodingConfig | None = None,
        progress: bool = True,
    ) -> Evaluation:
        """Measures the classifier on labelled images or features: the test split where there is
        one, else all that there are. Classes are matched by their names, where the data have any;
        the labels of :class:`Features` count the classes of the classifier.

        Raises:
            ValueError: If a class is not among those that it was fitted on, or there is no image.
        """
        if is_feature_file(data):
            data = FeatureFile.load(cast(str, data))
        if isinstance(data, FeatureFile):
            features = data.test or data.train
            data = Features(features.x, self.own_labels(features.y, data.class_names))
        elif not isinstance(data, Features):
            from pyg_graphadapter.data import load_images  # loads datasets
            from pyg_graphadapter.encoding.dataset_encoder import DatasetEncoder, class_names_of

            splits = load_images(data)
            encode = DatasetEncoder(self.encoder, encoding, progress=progress)
            split = splits[next(name for name in ("test", "val", "train") if name in splits)]
            features = encode.encode_split(split)
            data = Features(features.x, self.own_labels(features.y, class_names_of(split)))
        return evaluate(self.adapter, data)

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
            image (torch.Tensor or image, optional): Image features ``[D]``, or an image.
                (default: :obj:`None`)
            class_name (str, optional): The class; of an image, the predicted one if not given.
                (default: :obj:`None`)

        Raises:
            ValueError: If the class is unknown, nothing is given, or the method has no graphs.
        """
        if class_name is not None and class_name not in self.class_names:
            raise unknown("class", class_name, self.class_names)
        c = None if class_name is None else self.class_names.index(class_name)
        if image is not None:
            x = image if isinstance(image, Tensor) else self.encode([image])[0]
            return explain_image(self.adapter, self.class_names, x, c)
        if c is None:
            raise ValueError("There is nothing to explain: give an image, a class name, or both.")
        return explain_class(self.adapter, self.class_names, c)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Writes ``classifier.safetensors`` and ``classifier.json``.

        Raises:
            ValueError: If the folder holds something else, or a classifier and not
                :obj:`overwrite`.
        """
        fields = {name: getattr(self, name) for name in FIELDS}
        write_classifier(Path(folder), self.adapter, fields, overwrite=overwrite)

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


def _recipe(
    task: FewShotTask,
    config: TrainConfig,
    history: History,
    *,
    is_trained: bool,
    drawn_by: int | None,
) -> dict[str, Any]:
    """The whole recipe of a training, and the draw: its seed is :obj:`None` if the shots were
    given."""
    shots = int(torch.bincount(task.support.y).max())
    draw = {"shots": shots, "draw_seed": drawn_by}
    if not is_trained:
        return {**draw, "seed": config.seed, "device": config.device}
    return {**draw, **asdict(config), "epochs": len(history.loss)}


def _source_of(
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


def _listed(images: Images) -> Sequence[Any]:
    """A sequence of images: of a folder, a path, a data set or a sequence."""
    import datasets

    from pyg_graphadapter.data import list_images

    if isinstance(images, datasets.Dataset):
        return cast(
            Sequence[Any], images.cast_column("image", datasets.Image(decode=False))["image"]
        )
    if isinstance(images, str | Path):
        return list_images([images])
    return images
