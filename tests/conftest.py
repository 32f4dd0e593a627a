"""Fixtures of all tests."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

# Tests are small: threads would wait for each other more than they work.
torch.set_num_threads(1)

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
