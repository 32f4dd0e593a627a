"""This process among those that ``torchrun`` or ``accelerate launch`` has started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pyg_graphadapter.device import resolve_device

# The longest wait for processes that have more to encode; an ended process is noticed at once:
PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class Process:
    """One of several processes that do one work.

    Args:
        index (int): Which it is, from 0.
        count (int): How many there are.
        state (accelerate.PartialState, optional): The state that they share. (default: :obj:`None`)
    """

    index: int = 0
    count: int = 1
    state: Any = None

    @property
    def part(self) -> tuple[int, int]:
        """Which it is, and of how many."""
        return self.index, self.count

    def own(self, length: int) -> range:
        """The indices of a list that this process handles."""
        return range(self.index, length, self.count)

    def shared(self, entries: list[Any], length: int) -> list[Any]:
        """The whole list, from the entries of all processes (:meth:`own`)."""
        if self.state is None:
            return entries
        from accelerate.utils import gather_object

        parts = gather_object([entries])
        return [parts[i % self.count][i // self.count] for i in range(length)]

    def wait(self) -> None:
        """Waits until all processes have come to this point."""
        # Not by a barrier, which accelerate binds to a GPU even where all is computed on the CPU.
        self.shared([], 0)


@contextmanager
def this_process(device: str) -> Iterator[Process]:
    """This process; alone, unless it was started with others.

    Args:
        device (str): Where to compute, as it was asked for; on GPUs each process has its own.

    Raises:
        ValueError: If there are several, and accelerate is not installed or one GPU is asked for.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Process()
        return
    where = resolve_device(device)
    if ":" in device:
        raise ValueError(
            f"Each of several processes has a device of its own: ask for {where.type!r} (got "
            f"{device!r})."
        )
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ValueError(
            "Several processes need accelerate: pip install 'pyg-graphadapter[distributed]'."
        ) from error
    # What they exchange is small and on the CPU:
    state = PartialState(cpu=where.type != "cuda", backend="gloo", timeout=PATIENCE)
    try:
        yield Process(state.process_index, state.num_processes, state)
    finally:
        state.destroy_process_group()
