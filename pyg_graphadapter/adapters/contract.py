"""What every method must keep to, checked when it is first used and not when it fails."""

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyg_graphadapter.adapters.base import Adapter, LinearAdapter
from pyg_graphadapter.adapters.parts import WHOLE
from pyg_graphadapter.adapters.seeding import own_draws
from pyg_graphadapter.features import rows_of
from pyg_graphadapter.task import FewShotTask

SAMPLE = 8  # images

_checked: set[type[Adapter]] = set()


def build_adapter(cls: type[Adapter], task: FewShotTask, settings: Mapping[str, Any]) -> Adapter:
    """Builds a method for a task. A method from outside this package is checked when it is first
    built (:func:`check_built`).

    Raises:
        ValueError: If a setting is out of bounds, the task lacks the texts that the method needs,
            or the method does not keep the contract.
    """
    if cls.needs_text and not task.has_text:
        raise ValueError(
            f"{cls.__name__} needs class text features, and there are none: give a model that "
            f"makes them of the class names (--model), write 'text_features' to the file, or "
            f"choose a method that needs none, as linear_probe."
        )
    if cls.__module__.startswith("pyg_graphadapter."):
        return cls.from_task(task, **settings)
    features = (task.text, task.support.x, task.support.y)
    copies = [tensor.clone() for tensor in features]
    adapter = cls.from_task(task, **settings)
    _check_unchanged(features, copies, f"from_task of {cls.__name__}")
    if cls not in _checked:
        check_built(adapter, task)
        _checked.add(cls)
    return adapter


def _check_unchanged(tensors: Sequence[Tensor], copies: Sequence[Tensor], culprit: str) -> None:
    """Checks that what other methods use as well is as it was, and restores it."""
    changed = False
    for tensor, copy in zip(tensors, copies, strict=True):
        if not torch.equal(tensor, copy):
            tensor.copy_(copy)
            changed = True
    if changed:
        raise ValueError(f"{culprit} changes the features in place: work on copies.")


def check_built(adapter: Any, task: FewShotTask) -> None:
    """Checks what was built for a task: tensors, settings, logits, saving and gradients.

    Raises:
        ValueError: Naming the class, what is wrong, and what to do.
    """
    name = type(adapter).__name__
    if not isinstance(adapter, Adapter):
        raise ValueError(f"from_task must return an Adapter (got {name}).")
    text = getattr(adapter, "text", None)
    if not isinstance(text, Tensor) or text.shape != task.text.shape:
        got = list(text.shape) if isinstance(text, Tensor) else "none"
        raise ValueError(
            f"{name} must hold the class text features as 'text', {list(task.text.shape)} (got "
            f"{got})."
        )
    _check_tensors(adapter)
    x = _sample(task)
    with own_draws():  # checks change no later draw
        logits = _logits(adapter, x)
        copy = _saved_and_loaded(adapter)
        if not torch.allclose(_logits(copy, x), logits, rtol=1e-4, atol=1e-4, equal_nan=True):
            raise ValueError(
                f"{name} gives other logits after saving and loading: whatever forward uses must "
                f"be a setting, a parameter, a buffer, or computed from these in the constructor."
            )
        _check_rows(copy.eval(), x, logits)
        _check_linear(copy, x, logits)
        _check_parts(copy, x, logits)
        if adapter.is_trained:
            _check_gradients(copy, task)


def check_logits(logits: Any, adapter: Adapter, num_images: int) -> Tensor:
    """Checks that logits are finite and have one column per class ``[B, C]``, and returns them.

    Raises:
        ValueError: Naming the class, the shape and the one that is wanted, or the rows.
    """
    name, expected = type(adapter).__name__, [num_images, adapter.num_classes]
    if isinstance(logits, Tensor) and not logits.is_floating_point():
        raise ValueError(f"{name} must return floating-point logits (got {logits.dtype}).")
    if not isinstance(logits, Tensor) or list(logits.shape) != expected:
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"{name} must return one logit per class, {expected} (got {got}).")
    bad = ~logits.isfinite().all(dim=1)
    if bad.any():
        raise ValueError(f"{name} returned logits that are NaN or infinite, in {rows_of(bad)}.")
    return logits


def _sample(task: FewShotTask) -> Tensor:
    x = task.support.mean_views()[:SAMPLE]
    return x if len(x) else task.text[:SAMPLE]


@torch.no_grad()
def _logits(adapter: Adapter, x: Tensor) -> Tensor:
    was_training, x = adapter.training, x.to(adapter.text)
    copy = x.clone()
    logits = check_logits(adapter.eval()(x), adapter, len(x))
    name = type(adapter).__name__
    _check_unchanged([x], [copy], f"forward of {name}")
    is_repeatable = torch.equal(adapter(x), adapter(x))
    adapter.train(was_training)
    if not is_repeatable:
        raise ValueError(
            f"forward of {name} gives other logits when it is called again: dropout and other "
            f"noise belong to training alone (self.training)."
        )
    return logits


@torch.no_grad()
def _check_rows(adapter: Adapter, x: Tensor, logits: Tensor) -> None:
    """Checks that the logits of an image are those that it has alone, unless the method says that
    it classifies images together: they are else given in batches of any size."""
    alone = adapter(x[:1].to(adapter.text))
    if not adapter.is_transductive and not torch.allclose(alone, logits[:1], 1e-3, 1e-3):
        raise ValueError(
            f"forward of {type(adapter).__name__} gives other logits for an image alone than for "
            f"the same image among others: compute each row from itself, or set is_transductive = "
            f"True if the method classifies images together."
        )


@torch.no_grad()
def _check_linear(adapter: Adapter, x: Tensor, logits: Tensor) -> None:
    """Checks that a linear method's weights, which are exported, give its logits."""
    if not isinstance(adapter, LinearAdapter):
        return
    expected = LinearAdapter.forward(adapter, x.to(adapter.text))
    if expected.shape != logits.shape or not torch.allclose(expected, logits, 1e-3, 1e-3):
        raise ValueError(
            f"forward of {type(adapter).__name__} gives other logits than its class_weights and "
            f"class_biases: extend Adapter, if the method is not linear in the image."
        )


@torch.no_grad()
def _check_parts(adapter: Adapter, x: Tensor, logits: Tensor) -> None:
    """Checks that parts of the logits that the method itself gives add up to them. Where it extends
    another method, whose parts are no longer right, it has one part, the whole."""
    gives_parts = {"logit_parts", "weight_parts"} & vars(type(adapter)).keys()
    if gives_parts and not add_up(adapter.logit_parts(x.to(adapter.text)), logits):
        raise ValueError(
            f"logit_parts (or weight_parts) of {type(adapter).__name__} do not add up to its "
            f"logits: give every part, or leave the method out."
        )


def add_up(parts: Mapping[str, Tensor], logits: Tensor) -> bool:
    """Whether parts of logits add up to them."""
    total = sum(parts.values())
    return isinstance(total, Tensor) and torch.allclose(total, logits, 1e-3, 1e-3)


@torch.no_grad()
def parts_of_logits(adapter: Adapter, x: Tensor) -> dict[str, Tensor]:
    """What the logits of image features ``[B, D]`` add up from ``[B, C]``, by their kind
    (:meth:`~pyg_graphadapter.adapters.Adapter.logit_parts`); the whole where the parts do not add
    up, as of a method from outside that changes the logits of the one that it extends."""
    parts, logits = adapter.logit_parts(x), adapter(x)
    return parts if add_up(parts, logits) else {WHOLE: logits}


def _check_tensors(adapter: Adapter) -> None:
    cls, state = type(adapter), adapter.state_dict()
    for tensor in cls.inputs:
        if tensor not in state and tensor not in cls.optional_inputs:
            raise ValueError(
                f"{cls.__name__} has {tensor!r} in 'inputs' and no buffer or parameter of this "
                f"name, so it cannot be saved: call self.register_buffer({tensor!r}, …)."
            )
    arguments: dict[str, Any] = dict.fromkeys([*cls.inputs, "logit_scale", *adapter.settings()])
    try:
        inspect.signature(cls).bind(**arguments)
    except TypeError as error:
        raise ValueError(
            f"The constructor of {cls.__name__} must take the names in 'inputs', logit_scale and "
            f"the settings, {', '.join(arguments)} ({error})."
        ) from error


def _saved_and_loaded(adapter: Adapter) -> Adapter:
    cls = type(adapter)
    try:
        settings = json.loads(json.dumps(adapter.settings()))
    except TypeError as error:
        raise ValueError(
            f"The settings of {cls.__name__} must be plain numbers, texts and lists ({error})."
        ) from error
    state = {name: value.detach().clone() for name, value in adapter.state_dict().items()}
    return cls.from_state(state, adapter.logit_scale, settings)


def _check_gradients(adapter: Adapter, task: FewShotTask) -> None:
    name = type(adapter).__name__
    trained = {key: p for key, p in adapter.named_parameters() if p.requires_grad}
    if not trained:
        raise ValueError(
            f"{name} has no parameters to train: make them torch.nn.Parameter, or set is_trained = "
            f"False."
        )
    x, y = adapter.prepare(_sample(task).to(adapter.text)), task.support.y[:SAMPLE]
    if not len(y):
        return
    try:
        loss = adapter.train().backward(x[: len(y)], y)
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
        raise ValueError(f"No gradient reaches a parameter of {name} ({error}).") from error
    if not loss.isfinite().all():
        raise ValueError(f"The training loss of {name} is {float(loss)} before the first step.")
    gradients = {key: p.grad for key, p in trained.items()}
    if all(gradient is None for gradient in gradients.values()):
        raise ValueError(f"No gradient reaches a parameter of {name} ({', '.join(trained)}).")
    for key, gradient in gradients.items():
        if gradient is not None and not gradient.isfinite().all():
            raise ValueError(f"The gradient of {key!r} of {name} is NaN or infinite.")
