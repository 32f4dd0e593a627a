"""The classifier of images, for scikit-learn."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.image_batches import digests_of
from pyg_graphadapter.estimator import refuse_missing_labels, refuse_transductive
from pyg_graphadapter.features import ALL, Features, Shots, draw_shots
from pyg_graphadapter.image_estimators.encoders import Model, encoded, encoder_of, images_of
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.evidence import told_once


class FewShotImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """:class:`pyg_graphadapter.FewShotClassifier` on images, as an estimator of scikit-learn, for
    `Pipeline`, `cross_val_score`, `GridSearchCV` and the like.

    Features are kept in the feature cache, so that a search encodes each image once. What
    :meth:`fit` makes is a FewShotClassifier, `classifier_`, which can be saved, explained and
    exported.

    Parameters
    ----------
    model : str, Path or EncoderModel
        The encoder: a folder, an id on the Hugging Face hub, "builtin", or an
        :class:`pyg_graphadapter.Encoder` or
        :class:`pyg_graphadapter.ImageEncoder`. A name is quicker than an
        object where scikit-learn starts processes.

    method : str, default="graph_adapter"
        The name of a method; `graphadapter methods` lists all of them. A transductive method, as
        "transclip", is refused.

    shots : int or "all", default="all"
        The number of images per class that are drawn from those that :meth:`fit` is given.

    class_names : sequence or dict, default=None
        The names of the classes, which become texts: a dictionary from label to name, or a sequence
        for labels that count from 0. If None, the labels are the names.

    settings : dict, default=None
        Settings of the method, from name to value. To search over them, give dictionaries:
        `{"settings": [{"alpha": 0.7}, {"alpha": 0.9}]}`.

    select : bool, default=True
        Whether to select what the settings leave open inside the images that :meth:`fit` is given,
        instead of the method's defaults.

    config : TrainConfig, default=None
        How to train. Its seed is not used.

    encoding : EncodingConfig, default=None
        How images and class names are encoded, as the prompts and the folder of the feature cache.

    random_state : int, RandomState instance or None, default=1
        Seeds the draw of shots and the training.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.

    classifier_ : FewShotClassifier
        The fitted classifier, whose classes are in the order of `classes_`.

    See Also
    --------
    ImageFeatures : Turns images into features.
    GraphAdapterClassifier : Classifies features.

    Examples
    --------
    >>> from pyg_graphadapter import FewShotImageClassifier
    >>> from pyg_graphadapter.data import load_images
    >>> images = load_images("builtin")
    >>> names = images["train"].features["label"].names
    >>> X, y = list(images["train"]["image"]), [names[i] for i in images["train"]["label"]]
    >>> clf = FewShotImageClassifier("builtin", shots=4).fit(X, y)
    >>> clf.predict(images["test"]["image"][:2]).tolist()
    ['bird', 'mammal']
    >>> clf.classifier_.class_names[:2]
    ('bird', 'building')
    """

    def __init__(
        self,
        model: Model,
        method: str = "graph_adapter",
        *,
        shots: Shots = ALL,
        class_names: Sequence[str] | Mapping[Any, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        select: bool = True,
        config: TrainConfig | None = None,
        encoding: EncodingConfig | None = None,
        random_state: int | np.random.RandomState | None = 1,
    ) -> None:
        self.model = model
        self.method = method
        self.shots = shots
        self.class_names = class_names
        self.settings = settings
        self.select = select
        self.config = config
        self.encoding = encoding
        self.random_state = random_state

    def fit(self, X: Any, y: ArrayLike) -> Self:  # noqa: N803
        """Fit the method.

        Parameters
        ----------
        X : sequence of images
            Paths, PIL images, encoded bytes, arrays of uint8, or a column of them.

        y : array-like of shape (n_samples,)
            Labels.

        Returns
        -------
        self : object
            Fitted estimator.
        """
        refuse_transductive(self.method)
        config, seed = self._training()
        images = images_of(X)
        refuse_missing_labels(y)
        target: NDArray[Any] = column_or_1d(y, warn=True)
        check_consistent_length(images, target)
        check_classification_targets(target)
        self.classes_, labels = np.unique(target, return_inverse=True)
        names = self._names()
        y_all = torch.from_numpy(labels.astype(np.int64))
        index = draw_shots(y_all, self.shots, seed, len(names), names)
        drawn = [images[i] for i in index.tolist()]
        encoder = encoder_of(self.model, self.encoding, config.device)
        digests = digests_of(drawn, range(len(drawn)))
        support = Features(encoded(drawn, encoder, digests), y_all[index])
        task = encoder.task(names, support, tuple(digest.hex() for digest in digests))
        with told_once():
            self.classifier_ = FewShotClassifier.fit(
                task,
                method=self.method,
                config=config,
                select=self.select,
                progress=False,
                **(self.settings or {}),
            )
        self.classifier_.use_encoder(encoder.encoder, encoder.config.matched(names))
        return self

    def _training(self) -> tuple[TrainConfig, int]:
        """How to train, and the seed."""
        seed = self.random_state
        if isinstance(seed, np.random.RandomState) or seed is None:
            seed = int(check_random_state(seed).randint(2**31))
        seed = int(seed)
        return replace(self.config or TrainConfig(), seed=seed), seed

    def _names(self) -> tuple[str, ...]:
        """The name of each class.

        Raises:
            ValueError: If a class has none.
        """
        labels, names = self.classes_.tolist(), self.class_names
        if names is None:
            return tuple(map(str, labels))
        if not isinstance(names, Mapping):
            if isinstance(names, str) or not all(type(label) is int for label in labels):
                raise ValueError(
                    f"'class_names' in a sequence belong to labels that count from 0 (got the "
                    f"label {labels[0]!r}): give a dictionary from label to name."
                )
            names = dict(enumerate(names))
        missing = [label for label in labels if label not in names]
        if missing:
            raise ValueError(f"'class_names' has no name for the labels {missing[:5]}: add them.")
        return tuple(str(names[label]) for label in labels)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Class probabilities.

        Parameters
        ----------
        X : sequence of images
            Paths, PIL images, encoded bytes, arrays of uint8, or a column of them.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        check_is_fitted(self)
        encoder = encoder_of(self.model, self.encoding, (self.config or TrainConfig()).device)
        probabilities = self.classifier_.predict_proba(encoded(images_of(X), encoder))
        return probabilities.double().numpy()

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Class labels.

        Parameters
        ----------
        X : sequence of images
            Paths, PIL images, encoded bytes, arrays of uint8, or a column of them.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Values of `classes_`.
        """
        probabilities = self.predict_proba(X)
        labels: NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return labels

    def __sklearn_tags__(self) -> Any:
        """The tags of scikit-learn: X is no matrix."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = False, True
        tags.no_validation = True
        return tags
