"""This process among those that ``torchrun`` or ``accelerate launch`` has started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Process:
    """One of several processes that do one work.

    Args:
        index (int): Which it is, from 0.
        count (int): How many there are.
        state (accelerate.PartialState, optional): What joins them. (default: :obj:`None`)
    """

    index: int = 0
    count: int = 1
    state: Any = None

    @property
    def part(self) -> tuple[int, int]:
        """Which it is, and of how many."""
        return self.index, self.count

    def own(self, length: int) -> range:
        """The indices of a list that fall to this process."""
        return range(self.index, length, self.count)

    def shared(self, own: list[Any], length: int) -> list[Any]:
        """The whole list, of which every process has made its :meth:`own` part."""
        if self.state is None:
            return own
        from accelerate.utils import gather_object

        parts = gather_object([own])
        return [parts[i % self.count][i // self.count] for i in range(length)]

    def wait(self) -> None:
        """Waits until all have come so far."""
        if self.state is not None:
            self.state.wait_for_everyone()


@contextmanager
def this_process(device: str) -> Iterator[Process]:
    """This process; alone, unless it was started with others.

    Args:
        device (str): Where to compute, as it was asked for; on GPUs each process has its own.

    Raises:
        ValueError: If there are several and accelerate is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Process()
        return
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ValueError(
            "Several processes need accelerate: pip install 'pyg-graphadapter[distributed]'."
        ) from error
    state = PartialState(cpu=device == "cpu")
    try:
        yield Process(state.process_index, state.num_processes, state)
    finally:
        state.destroy_process_group()
