import subprocess
import sys

import pytest

from pyg_graphadapter.data import IMAGENET_TEMPLATES, TEMPLATES, check_templates, fill, prompts


def test_prompts_of_every_class():
    filled = prompts(["golden_retriever", " red\npanda "], ["a {}.", "{}"])
    assert filled == [["a golden retriever.", "golden retriever"], ["a red panda.", "red panda"]]
    assert prompts(["x"]) == [["a photo of a x."]]
    assert len(prompts(["x"], IMAGENET_TEMPLATES)[0]) == 7


@pytest.mark.parametrize("name", ["{}", "{0}", "a{b}c", "../../x", "🐈", "%s"])
def test_names_are_taken_as_they_are(name):
    assert fill("a photo of {}.", name) == f"a photo of {name}."


@pytest.mark.parametrize("template", ["a photo", "{} and {}", ""])
def test_a_template_needs_one_place(template):
    with pytest.raises(ValueError, match=r"needs one {} for the class name") as error:
        prompts(["cat"], [template])
    assert repr(template) in str(error.value)


def test_there_must_be_a_template_and_a_name():
    with pytest.raises(ValueError, match="at least one template"):
        check_templates([])
    for name in ("", "  ", "_"):
        with pytest.raises(ValueError, match="class name is empty"):
            fill(TEMPLATES[0], name)


def test_templates_load_neither_datasets_nor_torch():
    program = (
        "import sys, pyg_graphadapter.data; pyg_graphadapter.data.TEMPLATES; "
        "print(sorted({'datasets', 'torch'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=100
    )
    assert run.stdout.strip() == "[]"
