"""Evaluations of made-up probabilities, for tests."""

import numpy as np

from pyg_graphadapter.report.evaluation_file import (
    EVALUATION_FORMAT,
    Choice,
    EvaluatedImage,
    EvaluationFile,
)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def evaluation_of(logits, y, *, temperature=1.0, class_names=None, copies=None):
    """The evaluation of logits ``[N, C]`` and labels ``[N]``, by plain loops."""
    before, after = softmax(logits), softmax(logits / temperature)
    images = []
    for i, label in enumerate(y):
        order = np.argsort(-after[i], kind="stable")[:5]
        target = np.eye(logits.shape[1])[label]
        images.append(
            EvaluatedImage(
                label=int(label),
                top=tuple(Choice(int(c), float(after[i, c])) for c in order),
                uncalibrated=float(before[i, order[0]]),
                log_loss=float(-np.log(after[i, label])),
                log_loss_uncalibrated=float(-np.log(before[i, label])),
                squared_error=float(((after[i] - target) ** 2).sum()),
                squared_error_uncalibrated=float(((before[i] - target) ** 2).sum()),
                file=f"images/{i}.jpg",
                copy_of=(copies or {}).get(i),
            )
        )
    names = class_names or tuple(f"class {c}" for c in range(logits.shape[1]))
    return EvaluationFile(
        EVALUATION_FORMAT, "graphadapter evaluate", tuple(names), tuple(images), {}, {},
        temperature=temperature,
    )  # fmt: skip


def random_evaluation(num_images=300, num_classes=7, seed=0, skill=2.0, **how):
    """An evaluation with its logits and labels. The last class does not occur."""
    generator = np.random.default_rng(seed)
    y = generator.integers(num_classes - 1, size=num_images)
    logits = generator.normal(size=(num_images, num_classes)) * 1.5
    logits[np.arange(num_images), y] += skill
    return evaluation_of(logits, y, **how), logits, y
