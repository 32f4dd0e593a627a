"""What tests of commands on images share."""

import pytest

from pyg_graphadapter.testing import fake_images
from tests.checkpoints import save_checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_checkpoint("clip", tmp_path_factory.mktemp("clip"))


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def images(tmp_path):
    return fake_images(tmp_path / "images", splits={"train": 3, "test": 2})
