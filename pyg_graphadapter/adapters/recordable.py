"""Methods whose training step a GPU can record and replay."""

from typing import ClassVar, Protocol, runtime_checkable


@runtime_checkable
class Recordable(Protocol):
    """A method whose training step can be recorded as a CUDA graph: it does not wait for the
    device, does not look at values, and uses no Python number that changes from step to step."""

    is_recordable: ClassVar[bool]


def is_recordable(trainee: object) -> bool:
    """Whether a GPU can record the training step of an adapter, or of a batch of adapters."""
    return isinstance(trainee, Recordable) and trainee.is_recordable
