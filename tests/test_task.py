from dataclasses import fields, replace

import pytest
import torch

from pyg_graphadapter import EvaluationTask, Features, FewShotTask
from pyg_graphadapter.graph import unit
from pyg_graphadapter.task import NewClasses, draw_task
from pyg_graphadapter.testing import fake_features


@pytest.fixture
def file():
    return fake_features(num_classes=4, channels=8, shots=6, tests=2)


def test_a_task_holds_no_test_split():
    assert {field.name for field in fields(FewShotTask)} == {
        "class_names",
        "text",
        "support",
        "validation",
        "logit_scale",
        "text_encoder",
        "has_text",
        "image_hashes",
    }


def test_drawing_from_a_file(file):
    evaluation = EvaluationTask.from_file(file, shots=5, seed=1)
    assert len(evaluation.task.support) == 20
    assert evaluation.task.validation is None
    assert evaluation.test is file.test
    assert evaluation.task.num_classes == 4


def test_validation_images_are_at_most_four_per_class(file):
    task = draw_task(replace(file, val=file.train), shots=5, seed=1)
    assert torch.bincount(task.validation.y).tolist() == [4] * 4
    task = draw_task(replace(file, val=file.train), shots=2, seed=1)
    assert torch.bincount(task.validation.y).tolist() == [2] * 4


def test_more_shots_than_there_are(file):
    with pytest.raises(ValueError, match=r"fewer than 7 images: 'class 0' \(6\)"):
        draw_task(file, shots=7, seed=1)


def test_a_file_without_a_test_split(file):
    with pytest.raises(ValueError, match="no 'test_features'"):
        EvaluationTask.from_file(replace(file, test=None), shots=1, seed=1)


def test_a_class_without_shots_is_named(file):
    task = draw_task(file, shots=2, seed=1)
    lacking = task.with_support((task.support.y != 2).nonzero().flatten())
    with pytest.raises(ValueError, match="1 of 4 classes have no image: 'class 2'"):
        lacking.prototypes()


def test_prototypes_are_means_of_directions(file):
    task = draw_task(file, shots=2, seed=1)
    longer = replace(task, support=Features(3 * task.support.x, task.support.y))
    torch.testing.assert_close(longer.prototypes(), task.prototypes())
    torch.testing.assert_close(task.prototypes()[1], task.support.x[2:4, 0].mean(dim=0))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"text": torch.ones(3, 8)}, "3 rows for 4 class names"),
        ({"text": torch.ones(4, 9)}, "'support' is 8 wide"),
        ({"support": Features(torch.ones(1, 8), torch.tensor([4]))}, "got 4 with 'support'"),
        ({"validation": Features(torch.ones(1, 9), torch.tensor([0]))}, "'validation' is 9 wide"),
    ],
)
def test_parts_that_do_not_fit(file, changed, message):
    with pytest.raises(ValueError, match=message):
        replace(draw_task(file, shots=1, seed=1), **changed)


def test_a_test_split_that_does_not_fit(file):
    task = draw_task(file, shots=1, seed=1)
    with pytest.raises(ValueError, match="'test_features' is 9 wide"):
        EvaluationTask(task, Features(torch.ones(1, 9), torch.tensor([0])))


def test_without_texts_prototypes_are_those_of_the_drawn_shots(file):
    without = replace(file, text=None)
    task = draw_task(without, shots=2, seed=1)
    assert not task.has_text
    torch.testing.assert_close(task.text, unit(task.prototypes()))
    for smaller in (task.fewer(1), task.with_support(torch.tensor([0, 2, 4, 6]))):
        torch.testing.assert_close(smaller.text, unit(smaller.prototypes()))
        assert not torch.equal(smaller.text, task.text)
    x = without.train.x.clone()  # whatever was not drawn plays no part
    drawn = without.train.draw(2, 1)
    others = torch.ones(len(x), dtype=torch.bool).index_fill(0, drawn, False)
    x[others] = torch.randn_like(x[others])
    changed = replace(without, train=Features(x, without.train.y))
    torch.testing.assert_close(draw_task(changed, shots=2, seed=1).text, task.text)
    with_text = FewShotTask(task.class_names, task.text, task.support)
    hashes = {EvaluationTask(t, file.test).sha256() for t in (task, with_text)}
    assert len(hashes) == 2


def test_the_hash_depends_on_the_names_of_new_classes():
    features = Features(torch.eye(2), torch.tensor([0, 1]))
    task = FewShotTask(("cat", "dog"), torch.eye(2), features)

    def sha256(*class_names):
        new = NewClasses(class_names, torch.eye(2), features)
        return EvaluationTask(task, features, new=new).sha256()

    assert sha256("bird", "fish") != sha256("bird", "frog")


def test_the_hash_depends_on_the_shapes_of_tensors():
    y = torch.tensor([0, 1])
    task = FewShotTask(("cat", "dog"), torch.eye(2), Features(torch.eye(2), y))

    def sha256(width):
        # The same bytes, as features of width two or one:
        test = Features(torch.ones(8).reshape(2, -1, width), y)
        new = NewClasses(("bird", "fish"), torch.ones(4).reshape(-1, width), test)
        return EvaluationTask(task, task.support, new=new).sha256()

    assert sha256(2) != sha256(1)
