"""Fixtures of all tests."""

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

# Tests are small: threads would wait for each other more than they work, here and in the processes
# that tests start.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts what it runs in the background with Ctrl-C ignored, and so does what that starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A long text or file as a parameter is named by its argument, not by its content."""
    return argname if isinstance(val, str | bytes) and len(val) > 100 else None


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(12345)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real features and images beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"there is no {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Callable[[str], Path]:
    """The folder of a family's tiny checkpoint, written once; a test that changes it copies it."""
    from tests.checkpoints import save_checkpoint

    root = tmp_path_factory.mktemp("checkpoints")

    @functools.cache
    def folder(family: str) -> Path:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            return save_checkpoint(family, root / family)

    return folder
