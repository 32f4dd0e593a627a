"""Progress bars: those of this package, and those of the libraries that it uses."""

import functools
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from tqdm import tqdm

P = ParamSpec("P")
R = TypeVar("R")
_are_hidden: ContextVar[bool] = ContextVar("are_hidden", default=False)


def progress_bar(
    iterable: Iterable[Any] | None = None, *, progress: bool, **how: Any
) -> "tqdm[Any]":
    """A progress bar, which is shown on a terminal only.

    Args:
        iterable (iterable, optional): What is counted. (default: :obj:`None`)
        progress (bool): Whether to show it.
        **how (optional): Arguments of :class:`tqdm.tqdm`.
    """
    is_hidden = not progress or _are_hidden.get()
    return tqdm(iterable, disable=True if is_hidden else None, **how)


@contextmanager
def hidden_bars(are_hidden: bool = True) -> Iterator[None]:
    """Hides all progress bars in the block, also those of libraries, or leaves them as they are."""
    token = _are_hidden.set(_are_hidden.get() or are_hidden)
    try:
        yield
    finally:
        _are_hidden.reset(token)


def obeys_progress(function: Callable[P, R]) -> Callable[P, R]:
    """Makes all progress bars in a function obey its keyword argument ``progress``."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with hidden_bars(kwargs.get("progress") is False):
            return function(*args, **kwargs)

    return run


def is_shown(progress: bool = True) -> bool:
    """Whether a bar would be seen: it is wanted, not hidden, and there is a terminal."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    return progress and is_terminal and not _are_hidden.get()


@contextmanager
def transformers_bars(progress: bool = True) -> Iterator[None]:
    """Hides the progress bars of transformers and huggingface_hub in the block where bars are not
    wanted, are hidden, or where there is no terminal. Afterwards, the settings of these libraries
    are what they were."""
    if is_shown(progress):
        yield
        return
    from transformers.utils import logging

    was_enabled = logging.is_progress_bar_enabled()
    with hidden_bars(not progress), _hub_settings_kept():
        with _without_warnings():
            logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            with _without_warnings():
                if was_enabled:
                    logging.enable_progress_bar()  # type: ignore[no-untyped-call]


@contextmanager
def datasets_bars(progress: bool = True) -> Iterator[None]:
    """As :func:`transformers_bars`, for those of datasets and huggingface_hub."""
    if is_shown(progress):
        yield
        return
    import datasets
    from huggingface_hub.utils.tqdm import disable_progress_bars

    was_enabled = not datasets.utils.are_progress_bars_disabled()
    with hidden_bars(not progress), _hub_settings_kept():
        with _without_warnings():
            disable_progress_bars()
            datasets.disable_progress_bars()
        try:
            yield
        finally:
            with _without_warnings():
                if was_enabled:
                    datasets.enable_progress_bars()


def _without_warnings() -> "warnings.catch_warnings[None]":
    """The libraries warn where a variable of the environment decides."""
    return warnings.catch_warnings(action="ignore")


@contextmanager
def _hub_settings_kept() -> Iterator[None]:
    from huggingface_hub.utils.tqdm import progress_bar_states

    states = dict(progress_bar_states)
    try:
        yield
    finally:
        progress_bar_states.clear()
        progress_bar_states.update(states)
