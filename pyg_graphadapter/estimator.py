"""GraphAdapter for scikit-learn."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from pyg_graphadapter.adapters import GraphAdapter
from pyg_graphadapter.features import Features
from pyg_graphadapter.graph import class_prototypes
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.engine import train


class GraphAdapterClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """GraphAdapter classifier over the features of a frozen encoder.

    Class features collect knowledge from the other classes through two graphs, one over texts and
    one over images, and are compared with images by cosine similarity.

    Read more in the `paper <https://arxiv.org/abs/2309.13625>`_.

    Parameters
    ----------
    alpha : float, default=0.9
        Weight of a class's text feature against the knowledge of the graphs.

    beta : float, default=0.7
        Weight of the text graph against the image graph.

    bias : {"class", "shared", "none"}, default="class"
        One trained bias per class, one shared by all classes, or none.

    groups : int, default=1
        Number of sub-graphs that share the classes; 4 in the published code.

    k : int, default=None
        Number of neighbours per class in the graphs. If None, all classes.

    activation : {"tanh", "gelu", "none"}, default="tanh"
        Activation of the graph convolutions.

    self_loop_weight : float, default=2.0
        Weight of a node's connection to itself.

    logit_scale : float, default=100.0
        Factor of the cosine similarity in the logits.

    epochs : int, default=None
        Passes over the training images. If None, 30, or more to make 100 steps.

    lr : float, default=1e-3
        Learning rate of Adam at the start of its cosine decay.

    batch_size : int, default=256
        Images per training step.

    temperature : float, default=2.0
        Divisor of the logits in training.

    weight_decay : float, default=0.0
        Decoupled weight decay.

    label_smoothing : float, default=0.0
        Label smoothing of the training loss.

    device : str, default="auto"
        Where to train: "cpu", "cuda", … "auto" takes a GPU if there is one.

    random_state : int, RandomState instance or None, default=None
        Seeds the order of the training images.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.

    class_weights_ : ndarray of shape (n_classes, n_features)
        The adapted class features, of length one.

    adapter_ : GraphAdapter
        The trained adapter.

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
    """

    def __init__(
        self,
        alpha: float = 0.9,
        beta: float = 0.7,
        bias: str = "class",
        groups: int = 1,
        k: int | None = None,
        activation: str = "tanh",
        self_loop_weight: float = 2.0,
        logit_scale: float = 100.0,
        epochs: int | None = None,
        lr: float = 1e-3,
        batch_size: int = 256,
        temperature: float = 2.0,
        weight_decay: float = 0.0,
        label_smoothing: float = 0.0,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.alpha = alpha
        self.beta = beta
        self.bias = bias
        self.groups = groups
        self.k = k
        self.activation = activation
        self.self_loop_weight = self_loop_weight
        self.logit_scale = logit_scale
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.temperature = temperature
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.device = device
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,  # noqa: N803
        y: ArrayLike,
        text_features: ArrayLike | Mapping[Any, ArrayLike] | None = None,
    ) -> Self:
        """Fit the adapter.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Image features, of any length.

        y : array-like of shape (n_samples,)
            Labels.

        text_features : array-like of shape (n_classes, n_features) or dict, default=None
            Text feature of every class, in the order of the sorted labels, or a dictionary from
            label to text feature. A dictionary may have more labels than `y`, as happens in
            cross-validation. If None, the class means are used.

        Returns
        -------
        self : object
            Fitted estimator.
        """
        samples, y = validate_data(self, X, y, dtype=np.float64)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, encoded = np.unique(y, return_inverse=True)
        images = torch.from_numpy(_unit_rows(samples)).float()
        labels = torch.from_numpy(encoded)
        if text_features is None:
            text = class_prototypes(images, labels)
        else:
            text = torch.from_numpy(_unit_rows(self._text_of(text_features))).float()
        task = FewShotTask(
            tuple(str(label) for label in self.classes_),
            text,
            Features(images, labels),
            logit_scale=self.logit_scale,
        )
        self.adapter_ = GraphAdapter.from_task(
            task,
            alpha=self.alpha,
            beta=self.beta,
            bias=self.bias,
            groups=self.groups,
            k=self.k,
            activation=self.activation,
            self_loop_weight=self.self_loop_weight,
        )
        config = TrainConfig(
            epochs=self.epochs,
            lr=self.lr,
            batch_size=self.batch_size,
            temperature=self.temperature,
            weight_decay=self.weight_decay,
            label_smoothing=self.label_smoothing,
            seed=int(check_random_state(self.random_state).randint(2**31)),
            device=self.device,
        )
        train(self.adapter_, task, config, progress=False)
        self.adapter_.cpu()
        with torch.no_grad():
            # In double precision, the probabilities of a sample do not depend on the other samples
            # of the batch:
            self.class_weights_ = _unit_rows(self.adapter_.class_weights().double().numpy())
        return self

    def _text_of(self, text_features: Any) -> NDArray[np.float64]:
        if isinstance(text_features, Mapping):
            missing = [label for label in self.classes_ if label not in text_features]
            if missing:
                raise ValueError(f"'text_features' has no entry for the labels {missing[:5]}.")
            text_features = [text_features[label] for label in self.classes_]
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

    def _logits(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        check_is_fitted(self)
        samples = validate_data(self, X, dtype=np.float64, reset=False)
        logits: NDArray[np.float64] = self.logit_scale * (
            _unit_rows(samples) @ self.class_weights_.T
        )
        return logits

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


def _unit_rows(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length one; a zero row stays zero."""
    # Scaled first, as the square of a large number may not be finite:
    x = x / np.maximum(np.abs(x).max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    rows: NDArray[np.float64] = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return rows
