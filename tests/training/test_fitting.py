import pytest
import torch
from torch.nn.functional import normalize

from pyg_graphadapter import Features
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.fitting import fit_method, with_text_shots


@pytest.mark.parametrize("views", [1, 3])
def test_texts_that_stand_in_for_shots_lie_where_images_lie(views):
    generator = torch.Generator().manual_seed(0)
    text = torch.randn(4, 8, generator=generator)
    x, y = torch.randn(7, views, 8, generator=generator), torch.tensor([0, 0, 0, 0, 2, 2, 2])
    task = FewShotTask(("a", "b", "c", "d"), text, Features(x, y), image_hashes=("0",) * 7)
    support = with_text_shots(task).support
    assert torch.equal(support.x[:7], x)
    assert support.y[7:].tolist() == [1, 3] * 4  # 3.5 shots on average
    images, texts = normalize(x, dim=2).mean(dim=1), normalize(text, dim=1)
    differences = [images[:4].mean(dim=0) - texts[0], images[4:].mean(dim=0) - texts[2]]
    moved = texts[[1, 3]] + (differences[0] + differences[1]) / 2
    expected = normalize(moved, dim=1).unsqueeze(1).expand(-1, views, -1)
    torch.testing.assert_close(support.x[7:], expected.repeat(4, 1, 1))


def test_nothing_stands_in_where_no_class_lacks_shots():
    task = FewShotTask(("a", "b"), torch.eye(2), Features(torch.eye(2), torch.arange(2)))
    assert with_text_shots(task) is task
    without = FewShotTask(("a", "b"), torch.eye(2), Features(torch.eye(2)[:0], torch.arange(0)))
    assert with_text_shots(without) is without


def test_methods_that_add_up_over_shots_say_what_unequal_classes_do():
    shots = Features(torch.randn(7, 1, 8), torch.tensor([0] * 5 + [1, 1]))
    task = FewShotTask.without_text(("a", "b"), shots)
    with pytest.warns(UserWarning, match=r"tip_adapter adds up .* \(2 to 5 here\).*--at-most"):
        fit_method("tip_adapter", task, TrainConfig(), {}, select=False, progress=False)
    fit_method("gda", task, TrainConfig(), {}, select=False, progress=False)  # says nothing
