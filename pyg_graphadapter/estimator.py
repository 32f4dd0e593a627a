"""GraphAdapter and the other methods for features, for scikit-learn."""

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array, check_random_state, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)
from torch import Tensor

from pyg_graphadapter.adapters import Adapter, LinearAdapter, adapter_class
from pyg_graphadapter.adapters.contract import build_adapter
from pyg_graphadapter.adapters.trust import evidence
from pyg_graphadapter.device import resolve_device
from pyg_graphadapter.features import Features
from pyg_graphadapter.graph import class_prototypes
from pyg_graphadapter.settings import check_setting_names
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.callbacks import Callback
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.engine import train
from pyg_graphadapter.training.evaluation import predict_logits
from pyg_graphadapter.training.evidence import tell_of_poor_texts, told_once

# Parameters of the estimator that are settings of the method:
SETTINGS = ("alpha", "beta", "bias", "groups", "k", "activation", "self_loop_weight")
# Methods that can prefer a class in all directions:
WITH_FREE_BIAS = (
    "linear_probe", "lp_pp", "proker", "tip_adapter", "tip_adapter_f", "ape", "ape_t",
)  # fmt: skip
UNIT_TOLERANCE = 1e-6  # how far from one a length of one may be in single precision


class GraphAdapterClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Few-shot classifier over the features of a frozen encoder: GraphAdapter, or another method.

    With GraphAdapter, class features collect knowledge from the other classes through two graphs,
    one over texts and one over images, and are compared with images by cosine similarity.

    Read more in the `paper <https://arxiv.org/abs/2309.13625>`_.

    Parameters
    ----------
    method : str, default="graph_adapter"
        The name of a method. `graphadapter methods` lists all of them, and
        `graphadapter methods NAME` lists the settings of one. A method that needs
        more than features, as "coop" does, is refused, and so is a transductive method,
        as "transclip", which classifies samples together.

    alpha : float, default=None
        Setting `alpha` of the method; in GraphAdapter, the weight of a class's text feature
        against the knowledge of the graphs. If None, the method's default; in GraphAdapter, it
        follows from how well texts and images tell the samples apart, as do its settings `nodes`
        and `whitening`. The parameters from `beta` to `self_loop_weight` are settings of the
        method, too. A method without a setting of that name refuses it.

    beta : float, default=None
        In GraphAdapter, the weight of the text graph against the image graph, 0.7 by default.

    bias : {"class", "shared", "none"}, default=None
        One trained bias per class ("class", the default of GraphAdapter), one shared by all
        classes, or none.

    groups : int, default=None
        Number of sub-graphs that share the classes, 1 by default; 4 in the published code.

    k : int, default=None
        Number of neighbours per class in the graphs. If None, all classes.

    activation : {"tanh", "gelu", "none"}, default=None
        Activation of the graph convolutions, "tanh" by default.

    self_loop_weight : float, default=None
        Weight of a node's connection to itself, 2.0 by default.

    settings : dict, default=None
        Further settings of the method, from name to value, such as `{"ridge": 3.0}` for
        "proker". Settings that are given nowhere keep the method's defaults, or follow from the
        samples in GraphAdapter; unlike the command line, :meth:`fit` selects none by
        cross-validation. `adapter_.settings()` has all of them. The settings of the paper are
        `alpha=0.6` and `settings={"nodes": "texts", "whitening": 0.0}`.

    logit_scale : float, default=100.0
        Factor of the cosine similarity in the logits.

    epochs : int, default=None
        Passes over the training images. If None, those of the method's recipe; GraphAdapter
        has 30, or more to make 100 steps. A method that is not trained ignores the parameters
        from `epochs` to `label_smoothing`.

    lr : float, default=None
        Learning rate at the start of its cosine decay. If None, that of the method's recipe,
        1e-3 in GraphAdapter.

    batch_size : int, default=None
        Images per training step. If None, that of the method's recipe, 256 in GraphAdapter.

    temperature : float, default=None
        Divisor of the logits in training. If None, that of the method's recipe, 2.0 in
        GraphAdapter.

    weight_decay : float, default=None
        Weight decay, decoupled with Adam. If None, that of the method's recipe, 0.0 in
        GraphAdapter.

    label_smoothing : float, default=0.0
        Label smoothing of the training loss.

    class_weight : dict or "balanced", default=None
        Weights of the classes, from label to weight; they are multiplied with `sample_weight`.
        "balanced" gives every class the same sum of weights. If None, all weights are one.
        Where scikit-learn encodes text labels, the labels of a dictionary are understood as
        those of `text_features`, or if it has all of them.

    device : str, default="auto"
        Where to train: "cpu", "cuda", … "auto" takes a GPU if there is one. On a CPU, the method
        is fitted in single precision if `X` is of float32, which takes half the time, and in
        double precision otherwise; on a GPU, in single precision. It predicts in double precision.

    random_state : int, RandomState instance or None, default=None
        Seeds the order of the training images.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.

    class_weights_ : ndarray of shape (n_classes, n_features)
        The weights of a linear method; in GraphAdapter, the adapted class features. The logits
        are `logit_scale` times the product of weights and image features of
        length one, plus `class_biases_`. Defined only when the method is linear.

    class_biases_ : ndarray of shape (n_classes,)
        The biases of a linear method; zero in a method without biases. Defined only when the
        method is linear.

    adapter_ : Adapter
        The fitted method. It is in double precision unless the method is linear; then it is in the
        precision of its fit.

    n_features_in_ : int
        Number of features seen during :term:`fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during :term:`fit`. Defined only when `X`
        has feature names that are all strings.

    See Also
    --------
    sklearn.neighbors.NearestCentroid : Compares images with class means only.

    Examples
    --------
    >>> from pyg_graphadapter import GraphAdapterClassifier
    >>> from pyg_graphadapter.testing import fake_features
    >>> data = fake_features()
    >>> X, y = data.train.mean_views().numpy(), data.train.y.numpy()
    >>> clf = GraphAdapterClassifier(random_state=0).fit(X, y, text_features=data.text.numpy())
    >>> clf.predict(X[:3])
    array([0, 0, 0])
    >>> clf = GraphAdapterClassifier("proker", settings={"ridge": 0.3})
    >>> clf.fit(X, y, text_features=data.text.numpy()).predict(X[:3])
    array([0, 0, 0])
    """

    def __init__(
        self,
        method: str = "graph_adapter",
        *,
        alpha: float | None = None,
        beta: float | None = None,
        bias: str | None = None,
        groups: int | None = None,
        k: int | None = None,
        activation: str | None = None,
        self_loop_weight: float | None = None,
        settings: Mapping[str, Any] | None = None,
        logit_scale: float = 100.0,
        epochs: int | None = None,
        lr: float | None = None,
        batch_size: int | None = None,
        temperature: float | None = None,
        weight_decay: float | None = None,
        label_smoothing: float = 0.0,
        class_weight: Mapping[Any, float] | str | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.method = method
        self.alpha = alpha
        self.beta = beta
        self.bias = bias
        self.groups = groups
        self.k = k
        self.activation = activation
        self.self_loop_weight = self_loop_weight
        self.settings = settings
        self.logit_scale = logit_scale
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.temperature = temperature
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.device = device
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,  # noqa: N803
        y: ArrayLike,
        text_features: ArrayLike | Mapping[Any, ArrayLike] | None = None,
        sample_weight: ArrayLike | None = None,
        callbacks: Iterable[Callback] = (),
    ) -> Self:
        """Fit the method.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Image features, of any length.

        y : array-like of shape (n_samples,)
            Labels.

        text_features : array-like of shape (n_classes, n_features) or dict, default=None
            Text feature of every class, in the order of the sorted labels, or a dictionary from
            label to text feature. A dictionary may have more labels than `y`, as happens in
            cross-validation. Where scikit-learn encodes text labels as 0, 1, … before it fits, as
            `cross_val_predict(method="predict_proba")` and `VotingClassifier` do, a dictionary
            whose keys are text is taken in the order of its sorted keys; it must then have exactly
            the labels of `y`. If None, a method that needs no texts is fitted to the samples alone,
            and in others, the class means stand in for the texts.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples, none negative. They weigh the losses and all else that a method
            computes of the samples, such as class means. A sample of weight zero is left out; one
            of weight two counts like two, up to the draw of batches where there are more samples
            than `batch_size`. If None, all weights are one.

        callbacks : iterable of Callback, default=()
            Are told of the start of the training, of every epoch and of the end
            (:class:`pyg_graphadapter.Callback`).

        Returns
        -------
        self : object
            Fitted estimator.
        """
        refuse_transductive(self.method)
        method = adapter_class(self.method)
        settings = self._method_settings(method)
        config = self._train_config()
        task = self._task(X, y, text_features, sample_weight)
        if task.weight is not None and not method.takes_weights:
            raise ValueError(
                f"The method {self.method} takes no weights of samples or classes "
                f"({method.__name__}.takes_weights): leave 'sample_weight' and 'class_weight' out."
            )
        adapter = build_adapter(method, task, settings)
        train(adapter, task, config, progress=False, callbacks=callbacks)
        if text_features is not None:
            with told_once():
                tell_of_poor_texts(evidence(task), adapter, self.method)
        self._keep(adapter.cpu())
        if not np.isfinite(self._adapter_logits(task.support.x[:1, 0].double().numpy())).all():
            raise ValueError(
                f"The method {self.method} gives logits that are not finite with {settings} and "
                f"logit_scale={task.logit_scale}: choose less extreme values."
            )
        return self

    def _method_settings(self, method: type[Adapter]) -> dict[str, Any]:
        """The settings of the method that are given."""
        if not isinstance(self.settings, Mapping | None):
            raise ValueError(
                f"'settings' must be a dictionary from name to value (got {self.settings!r})."
            )
        further = self.settings or {}
        by_parameter = {name: getattr(self, name) for name in SETTINGS}
        by_parameter = {name: value for name, value in by_parameter.items() if value is not None}
        twice = by_parameter.keys() & further.keys()
        if twice:
            raise ValueError(
                f"{min(twice)!r} is given twice, as a parameter and in 'settings': leave one out."
            )
        settings = {name: _plain(value) for name, value in {**by_parameter, **further}.items()}
        check_setting_names(self.method, method.Config, settings)
        return settings

    def _train_config(self) -> TrainConfig:
        return TrainConfig(
            epochs=_plain(self.epochs),
            lr=_plain(self.lr),
            batch_size=_plain(self.batch_size),
            temperature=_plain(self.temperature),
            weight_decay=_plain(self.weight_decay),
            label_smoothing=_plain(self.label_smoothing),
            seed=int(check_random_state(self.random_state).randint(2**31)),
            device=self.device,
        )

    def _task(
        self,
        X: ArrayLike,  # noqa: N803
        y: ArrayLike,
        text_features: ArrayLike | Mapping[Any, ArrayLike] | None,
        sample_weight: ArrayLike | None,
    ) -> FewShotTask:
        """The few-shot task, after all checks of the data."""
        scale = _plain(self.logit_scale)
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < np.inf:
            raise ValueError(f"'logit_scale' must be a positive number (got {self.logit_scale!r}).")
        refuse_missing_labels(y)
        samples, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        # On a GPU, double precision is slow or missing:
        is_single = samples.dtype == np.float32 or resolve_device(self.device).type != "cpu"
        dtype = torch.float32 if is_single else torch.float64
        samples = samples.astype(np.float64)
        target: NDArray[Any] = column_or_1d(y, warn=True)
        check_classification_targets(target)
        weight = self._weights(samples, target, sample_weight, text_features)
        if weight is not None:  # a sample of weight zero is as if it were not there
            samples, target, weight = samples[weight > 0], target[weight > 0], weight[weight > 0]
        self.classes_, encoded = np.unique(target, return_inverse=True)
        images = torch.from_numpy(_unit_rows(samples)).to(dtype)
        labels = torch.from_numpy(encoded)
        weights = None if weight is None else torch.from_numpy(weight)
        if text_features is None:
            text = class_prototypes(images, labels, weight=weights)
            without_direction = (text == 0).all(dim=1).nonzero().flatten().tolist()
            if without_direction:
                label = self.classes_.tolist()[without_direction[0]]
                raise ValueError(
                    f"The class {label!r} has no direction: the mean of its samples is zero. Pass "
                    f"'text_features', or other samples."
                )
        else:
            text = torch.from_numpy(_unit_rows(self._text_of(text_features))).to(dtype)
        return FewShotTask(
            tuple(str(label) for label in self.classes_),
            text,
            Features(images, labels),
            logit_scale=scale,
            weight=weights,
            has_text=text_features is not None or adapter_class(self.method).needs_text,
        )

    def _weights(
        self,
        samples: NDArray[np.float64],
        y: NDArray[Any],
        sample_weight: ArrayLike | None,
        text_features: Any,
    ) -> NDArray[np.float64] | None:
        """The products of the weights of samples and of their classes ``[N]``; :obj:`None` where
        all are one.

        Raises:
            ValueError: If one is negative or not finite, or all are zero.
        """
        if sample_weight is None and self.class_weight is None:
            return None
        weight = _check_sample_weight(sample_weight, samples, dtype=np.float64)
        if (weight < 0).any():
            raise ValueError(
                f"'sample_weight' must not be negative (got {weight.min():g} for sample "
                f"{weight.argmin()}): Negative weights have no meaning."
            )
        classes, index = np.unique(y, return_inverse=True)
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            totals = np.bincount(index, weight)
            present = totals > 0  # so that samples of weight zero are as if left out
            factors = weight.sum() / (present.sum() * np.where(present, totals, 1))
        else:
            class_weight = self.class_weight
            if isinstance(class_weight, Mapping):
                has_names = isinstance(text_features, Mapping)
                names = _encoded_names(classes, text_features if has_names else class_weight)
                if names is not None:
                    number = {name: c for c, name in enumerate(names)}
                    class_weight = {number.get(key, key): w for key, w in class_weight.items()}
            factors = compute_class_weight(class_weight, classes=classes, y=y)
        product: NDArray[np.float64] = weight * factors[index]
        if (product < 0).any() or not np.isfinite(product).all():
            raise ValueError("'class_weight' must hold finite weights, none of them negative.")
        if not product.any():
            raise ValueError("All samples have weight zero, so that there is nothing to fit.")
        return None if (product == 1).all() else product

    def _keep(self, adapter: Adapter) -> None:
        """Keeps what predictions need, in double precision: then the probabilities of a sample do
        not depend on the other samples of the batch."""
        for name in ("class_weights_", "class_biases_"):  # of an earlier fit of another method
            self.__dict__.pop(name, None)
        if not isinstance(adapter, LinearAdapter):
            self.adapter_: Adapter = adapter.double()
            return
        self.adapter_ = adapter
        with torch.no_grad():
            weights, biases = adapter.class_weights(), adapter.class_biases()
        self.class_weights_ = _in_double_precision(weights)
        self.class_biases_ = (
            np.zeros(len(weights)) if biases is None else biases.detach().double().numpy()
        )

    def _text_of(self, text_features: Any) -> NDArray[np.float64]:
        if isinstance(text_features, Mapping):
            text_features = self._by_own_labels(text_features)
            missing = [label for label in self.classes_.tolist() if label not in text_features]
            if missing:
                raise ValueError(
                    f"'text_features' has no entry for the labels {missing[:5]}. If scikit-learn "
                    f"has encoded text labels as 0, 1, …, every fit must have samples of all "
                    f"labels of the dictionary."
                )
            text_features = [text_features[label] for label in self.classes_]
        if hasattr(text_features, "columns"):
            _check_order(text_features, "columns", getattr(self, "feature_names_in_", ()))
            if hasattr(text_features, "index"):
                _check_order(text_features, "index", self.classes_)
        text: NDArray[np.float64] = check_array(
            text_features, dtype=np.float64, input_name="text_features"
        )
        expected = (len(self.classes_), self.n_features_in_)
        if text.shape != expected:
            raise ValueError(
                f"'text_features' must have one row per class, {expected} (got {text.shape}). If "
                f"the data may lack a class, pass a dictionary from label to text feature."
            )
        return text

    def _by_own_labels(self, texts: Mapping[Any, Any]) -> Mapping[Any, Any]:
        """Texts by the labels of the fit, also where scikit-learn has encoded text labels."""
        names = _encoded_names(self.classes_, texts)
        return texts if names is None else {c: texts[name] for c, name in enumerate(names)}

    def __sklearn_tags__(self) -> Any:
        """The tags of scikit-learn. On noise around the origin, which it checks classifiers with,
        methods that compare directions by texts cannot follow the weights of classes."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = self.method not in WITH_FREE_BIAS
        return tags

    def _logits(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        check_is_fitted(self)
        return self._adapter_logits(validate_data(self, X, dtype=np.float64, reset=False))

    def _adapter_logits(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        samples = _unit_rows(samples)
        if isinstance(self.adapter_, LinearAdapter):
            # The scale of the fit, as the parameter may have been changed since:
            products = self.adapter_.logit_scale * (samples @ self.class_weights_.T)
            logits: NDArray[np.float64] = products + self.class_biases_
            return logits
        return predict_logits(self.adapter_, torch.from_numpy(samples)).numpy()

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Logits of every class; with two classes, the second logit minus the first.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Image features.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            The logits.
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Image features.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        probabilities: NDArray[np.float64] = softmax(self._logits(X), axis=1)
        return probabilities

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Class labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Image features.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Values of `classes_`.
        """
        index = self._logits(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[index]
        return labels


def refuse_transductive(method: str) -> None:
    """Refuses a method that scikit-learn's estimators cannot have.

    Raises:
        ValueError: If it classifies samples together.
    """
    if adapter_class(method).is_transductive:
        raise ValueError(
            f"The method {method} is transductive: what it predicts for a sample depends on the "
            f"samples that are given with it, which scikit-learn does not allow. Use "
            f"FewShotClassifier, or another method."
        )


def refuse_missing_labels(y: Any) -> None:
    """Refuses a missing label, before numpy makes the label ``'nan'`` of one beside text.

    Raises:
        ValueError: If a label is missing.
    """
    is_column = isinstance(y, list | tuple | np.ndarray) or hasattr(y, "isna")
    labels = list(y) if is_column else []
    missing = [i for i, label in enumerate(labels) if _is_missing(label)]
    if missing:
        raise ValueError(
            f"Input y contains NaN: {len(missing)} of {len(labels)} labels are missing, the first "
            f"of them at index {missing[0]}. Leave these samples out."
        )


def _is_missing(label: Any) -> bool:
    is_nan = isinstance(label, float | np.floating) and bool(np.isnan(label))
    return label is None or is_nan or type(label).__name__ in ("NAType", "NaTType")


def _encoded_names(classes: NDArray[Any], names: Iterable[Any]) -> list[str] | None:
    """The text labels that scikit-learn has encoded, in the order of their numbers.

    Some of its tools (`cross_val_predict` with probabilities, `VotingClassifier`) replace
    labels by 0, 1, …, in the order of the sorted labels, before they fit. Whole numbers are
    taken for that only if they are the numbers of all names, which are all text; anything else is
    refused.

    Raises:
        ValueError: If the names are such numbers as text, and are sorted in another order.
    """
    names = list(names)
    are_encoded = classes.dtype.kind in "iu" and all(isinstance(name, str) for name in names)
    if not are_encoded or classes.tolist() != list(range(len(names))):
        return None
    names.sort()
    numbers = list(map(str, range(len(names))))
    if names != numbers and names == sorted(numbers):
        raise ValueError(
            "The labels are numbers, and the keys are numbers as text, which are sorted in another "
            "order ('10' before '2'): give both as numbers, or both as text of one length ('02')."
        )
    return names


def _unit_rows(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length one; a zero row stays zero."""
    # Scaled first, as the square of a large number may not be finite:
    x = x / np.maximum(np.abs(x).max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    rows: NDArray[np.float64] = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return rows


def _in_double_precision(weights: Tensor) -> NDArray[np.float64]:
    """Class weights in double precision. A row that has length one in single precision gets it in
    double precision."""
    rows = weights.detach().double().numpy()
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(np.abs(length - 1) < UNIT_TOLERANCE, _unit_rows(rows), rows)


def _check_order(text_features: Any, part: str, expected: Iterable[Any]) -> None:
    """Checks that names of rows or columns, which a data frame has, are not in another order."""
    names, expected = list(getattr(text_features, part)), list(expected)
    if names != expected and set(names) == set(expected):
        raise ValueError(
            f"The {part} of 'text_features' must be in the order {', '.join(map(str, expected))} "
            f"(got {', '.join(map(str, names))}): sort it."
        )


def _plain(value: Any) -> Any:
    """A Python number for a NumPy one, as grids of settings often hold."""
    return value.item() if isinstance(value, np.generic) else value
