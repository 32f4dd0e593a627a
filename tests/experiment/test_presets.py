import pytest

from pyg_graphadapter.adapters import ADAPTERS, adapter_class
from pyg_graphadapter.experiment.presets import preset_of
from pyg_graphadapter.training.config import TrainConfig

COOP = {"context_length": 16, "vector_scale": 1.0}


@pytest.mark.parametrize(
    ("method", "dataset", "shots", "settings", "training"),
    [
        (
            "graph_adapter",
            "dtd",
            1,
            {"alpha": 0.6, "beta": 0.7, "nodes": "texts", "whitening": 0.0},
            {"epochs": 100},
        ),
        ("coop", "dtd", 1, COOP, {"epochs": 50}),
        ("coop", "dtd", 3, COOP, {"epochs": 100}),
        ("coop", "dtd", 16, COOP, {"epochs": 200}),
        ("coop", "imagenet", 16, COOP, {"epochs": 50}),
        ("task_res", "oxford_flowers", 4, {"scale": 1.0}, {"lr": 2e-3, "epochs": 100}),
        ("task_res", "imagenet", 8, {"scale": 0.5}, {"lr": 2e-4, "epochs": 200}),
        ("clip_adapter", "dtd", 2, {"ratio": 0.2}, {"epochs": 200}),
        ("tip_adapter", "oxford_flowers", 2, {"alpha": 10.0, "beta": 1.0}, {}),
        ("tip_adapter_f", "eurosat", 2, {"alpha": 2.0, "beta": 1.0}, {"epochs": 100}),
        ("tip_adapter_f", "my own", 2, {"alpha": 1.17, "beta": 1.0}, {"epochs": 20}),
        ("gda", "dtd", 2, {}, {}),
        ("ape", "dtd", 2, {"channels": 500 / 1024}, {}),
        ("ape_t", "imagenet", 2, {"channels": 800 / 1024}, {"epochs": 20}),
    ],
)
def test_the_papers_settings(method, dataset, shots, settings, training):
    own, trained = preset_of("paper", method, dataset, shots)
    assert own == settings
    assert trained.items() >= training.items()


@pytest.mark.parametrize("method", ADAPTERS)
def test_every_preset_can_be_taken(method):
    own, trained = preset_of("paper", method, "dtd", 4)
    adapter_class(method).Config(**own)
    TrainConfig(**trained)


def test_without_one_and_with_one_that_there_is_not():
    assert preset_of(None, "coop", "dtd", 1) == ({}, {})
    with pytest.raises(ValueError, match=r"preset 'mine'\. Choose from paper"):
        preset_of("mine", "coop", "dtd", 1)
