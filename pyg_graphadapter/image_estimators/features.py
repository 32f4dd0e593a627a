"""Images to features, for pipelines of scikit-learn."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.image_estimators.encoders import Model, encoded, encoder_of, images_of


class ImageFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Features of images by a frozen encoder, for pipelines.

    Nothing is learned. Features are kept in the feature cache, so that a search over the steps
    after this one encodes each image once.

    Parameters
    ----------
    model : str, Path or EncoderModel
        The encoder: a folder, an id on the Hugging Face hub, "builtin", or an
        :class:`pyg_graphadapter.Encoder` or
        :class:`pyg_graphadapter.ImageEncoder`. A name is quicker than an
        object where scikit-learn starts processes.

    encoding : EncodingConfig, default=None
        How images and class names are encoded, as the folder of the feature cache.

    device : str, default="auto"
        Where to encode: "cpu", "cuda", … "auto" takes a GPU if there is one.

    See Also
    --------
    FewShotImageClassifier : Classifies images, by their features and class names.
    GraphAdapterClassifier : Classifies features.

    Examples
    --------
    >>> from sklearn.pipeline import Pipeline
    >>> from pyg_graphadapter import GraphAdapterClassifier, ImageFeatures
    >>> from pyg_graphadapter.data import load_images
    >>> images = load_images("builtin")
    >>> names = images["train"].features["label"].names
    >>> X, y = list(images["train"]["image"]), [names[i] for i in images["train"]["label"]]
    >>> features = ImageFeatures("builtin")
    >>> pipeline = Pipeline([("features", features), ("classifier", GraphAdapterClassifier())])
    >>> texts = features.text_features(names)
    >>> pipeline.fit(X, y, classifier__text_features=texts)["classifier"].class_weights_.shape
    (15, 384)
    """

    def __init__(
        self, model: Model, *, encoding: EncodingConfig | None = None, device: str = "auto"
    ) -> None:
        self.model = model
        self.encoding = encoding
        self.device = device

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Load the encoder.

        Parameters
        ----------
        X : sequence of images
            Paths, PIL images, encoded bytes or arrays of uint8; not looked at.

        y : None
            Ignored.

        Returns
        -------
        self : object
            The transformer.
        """
        encoder_of(self.model, self.encoding, self.device)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Features of images.

        Parameters
        ----------
        X : sequence of images
            Paths, PIL images, encoded bytes or arrays of uint8.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features)
            Features of length one.
        """
        x = encoded(images_of(X), encoder_of(self.model, self.encoding, self.device))
        features: NDArray[np.float32] = x.float().numpy()
        return features

    def text_features(self, class_names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Text features of class names, for `GraphAdapterClassifier.fit`.

        Parameters
        ----------
        class_names : sequence of str
            The names, which are the labels.

        Returns
        -------
        text_features : dict
            The text feature of each name.
        """
        names = tuple(class_names)
        text = encoder_of(self.model, self.encoding, self.device).encode_text(names)
        return dict(zip(names, text.float().numpy(), strict=True))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Names of the features.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of str
            "feature0", "feature1", …
        """
        width = encoder_of(self.model, self.encoding, self.device).encoder.num_channels
        return np.array([f"feature{i}" for i in range(width)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        """Nothing is learned."""
        return True

    def __sklearn_tags__(self) -> Any:
        """The tags of scikit-learn: X is no matrix."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = False, True
        tags.requires_fit, tags.no_validation = False, True
        return tags
