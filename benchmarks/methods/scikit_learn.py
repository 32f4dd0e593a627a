"""Two classifiers of scikit-learn, as methods: what everyone has at hand, on image features alone.

    graphadapter compare features.npz --import benchmarks/methods/scikit_learn.py \
        --methods logistic_regression,lda,graph_adapter --shots 4 --out results
"""

import warnings
from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import sklearn.discriminant_analysis
import sklearn.linear_model
import torch

from pyg_graphadapter import FewShotTask, register_adapter
from pyg_graphadapter.adapters.fitted import FittedLinearAdapter


class ScikitLearn(FittedLinearAdapter):
    """A linear classifier of scikit-learn on image features of length one, the mean of the views of
    each image. The texts are not used, and nothing is selected."""

    takes_weights: ClassVar[bool] = False

    @staticmethod
    @abstractmethod
    def classifier() -> Any:
        """The classifier of scikit-learn, not fitted."""

    @classmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        """Fits the classifier to the shots.

        Raises:
            ValueError: If a class has no shot, naming it.
        """
        task.prototypes()  # raises if a class has no shot
        x, y = task.support.mean_views().float().numpy(), task.support.y.numpy()
        weight = np.zeros((task.num_classes, x.shape[1]), dtype=x.dtype)
        bias = np.zeros(task.num_classes, dtype=x.dtype)
        if task.num_classes > 1:
            fitted = cls.classifier()
            with warnings.catch_warnings():
                # With one shot per class, it takes the labels for a regression target:
                warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
                fitted.fit(x, y)
            # Of two classes, scikit-learn has the second one's weights alone:
            weight[-len(fitted.coef_) :] = fitted.coef_
            bias[-len(fitted.coef_) :] = fitted.intercept_
        tensors = torch.from_numpy(weight), torch.from_numpy(bias)
        return cls(task.text, *tensors, task.logit_scale, **settings)


class LogisticRegression(ScikitLearn):
    """:class:`sklearn.linear_model.LogisticRegression`."""

    @staticmethod
    def classifier() -> Any:
        """With little regularisation, until it converges."""
        return sklearn.linear_model.LogisticRegression(C=100, max_iter=1000)


class LinearDiscriminantAnalysis(ScikitLearn):
    """:class:`sklearn.discriminant_analysis.LinearDiscriminantAnalysis`, from two shots per class
    up."""

    @staticmethod
    def classifier() -> Any:
        """With the covariance shrunk halfway towards a multiple of the identity."""
        return sklearn.discriminant_analysis.LinearDiscriminantAnalysis(
            solver="lsqr", shrinkage=0.5
        )

    @classmethod
    def from_task(cls, task: FewShotTask, **settings: Any) -> Self:
        """Fits the classifier to the shots.

        Raises:
            ValueError: If a class has fewer than two shots, naming it.
        """
        count = torch.bincount(task.support.y, minlength=task.num_classes)
        if count.min() < 2:
            name = task.class_names[int(count.argmin())]
            raise ValueError(
                f"Linear discriminant analysis needs two shots per class to know how they vary "
                f"(the class {name!r} has {int(count.min())}): give more, or choose another method."
            )
        return super().from_task(task, **settings)


register_adapter("logistic_regression", LogisticRegression)
register_adapter("lda", LinearDiscriminantAnalysis)
