import numpy as np
import pytest
import torch

from pyg_graphadapter import EvaluationTask, FeatureFile, ZeroShot
from pyg_graphadapter.testing import fake_features


def test_logits_by_hand():
    text = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    x = torch.tensor([[10.0, 0.0], [0.0, 0.5], [0.0, 0.0]])
    logits = ZeroShot(text, logit_scale=50.0)(x)
    torch.testing.assert_close(logits, torch.tensor([[30.0, 0.0], [40.0, 50.0], [0.0, 0.0]]))


def test_nothing_is_trained():
    adapter = ZeroShot(torch.randn(4, 3))
    assert adapter.num_parameters() == 0
    assert list(adapter.parameters()) == []
    assert adapter.num_classes == 4
    assert adapter.settings() == {}


def test_built_from_a_task():
    task = EvaluationTask.from_file(fake_features(), shots=2, seed=1).task
    adapter = ZeroShot.from_task(task)
    torch.testing.assert_close(adapter.class_weights(), task.text)
    assert adapter.logit_scale == task.logit_scale
    with pytest.raises(TypeError, match="alpha"):
        ZeroShot.from_task(task, alpha=0.5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_saved_and_built_again(dtype):
    adapter = ZeroShot(torch.randn(4, 3).to(dtype), logit_scale=30.0)
    again = ZeroShot.from_state(adapter.state_dict(), 30.0, adapter.settings())
    x = torch.randn(5, 3).to(adapter.text.dtype)
    assert torch.equal(again(x), adapter(x))


def test_real_features(shared_data):
    path = shared_data / "clip_vitb32" / "imagenet_fewshot.npz"
    with np.load(path, allow_pickle=False) as file:
        x, y = torch.from_numpy(file["test_features"]), torch.from_numpy(file["test_labels"])
    logits = ZeroShot(FeatureFile.load(path).text)(x)
    accuracy = (logits.argmax(dim=1) == y).double().mean()
    assert 100 * accuracy == pytest.approx(61.07, abs=0.05)  # measured by a plain prototype
