"""Every line of the page "Your data" runs, in its order, on data of its form."""

import re
import shlex
import warnings
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from typer.testing import CliRunner

from pyg_graphadapter import FeatureFile, FewShotClassifier, ImageEncoder, cli
from tests.data.pictures import picture
from tests.own_data import CLASSES, LABELS, NAMES, write_features, write_images

PAGE = (Path(__file__).parents[1] / "docs/howto/your_data.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\|.*\| `(.+)` \|$", PAGE, flags=re.MULTILINE)
COMMANDS = [line for line in LINES if line.startswith("graphadapter ")]
CODE = [line for line in LINES if not line.startswith("graphadapter ")]


@pytest.fixture
def root(tmp_path, monkeypatch):
    write_images(tmp_path)
    write_features(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.timeout(300)
def test_every_command_reads_what_is_there(root):
    assert len(COMMANDS) > 20
    for command in COMMANDS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of images that are left out, and of few shots
            result = CliRunner().invoke(cli.app, shlex.split(command)[1:])
        assert result.exit_code == 0, f"{command}: {result.output}"
        words = shlex.split(command)
        out = Path(words[words.index("--out") + 1])
        if words[1] == "fit":
            names = FewShotClassifier.load(out).class_names
            assert names == (("cat", "dog", "owl", "fox") if out.name == "o" else CLASSES), command
        elif words[1:3] == ["data", "import"]:
            file = FeatureFile.load(out)
            assert len(file.train) == 12, command
            assert file.train.y.tolist() == LABELS, command
            assert (file.text is not None) == (out.name == "x.npz")
            assert (file.test is not None) == (out.name == "s.npz")
        elif words[1] == "compare":
            assert list(out.glob("*.json")), command
    assert len((root / "holiday.csv").read_text().splitlines()) == 1 + 2


@pytest.mark.filterwarnings("ignore:The class names tell")  # which are of no picture
@pytest.mark.parametrize("code", CODE)
def test_data_in_memory(root, code):
    rows = [(str(root / "photos" / name), name[:3]) for name in NAMES]
    values = {
        "frame": pandas.DataFrame(rows, columns=["path", "label"]),
        "pairs": [(picture(i, (32, 32)), name[:3]) for i, name in enumerate(NAMES)],
        "dataset": dataset_of(rows),
        "module": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 16)),
        "transform": transform,
    }
    classes = {"FewShotClassifier": FewShotClassifier, "ImageEncoder": ImageEncoder}
    classifier = eval(code, {**values, **classes})
    assert classifier.class_names == CLASSES
    assert classifier.training["shots"] in (4, "all")


def dataset_of(rows):
    import datasets

    return datasets.Dataset.from_dict({"file": [p for p, _ in rows], "kind": [k for _, k in rows]})


def transform(image):
    return torch.tensor(np.asarray(image.resize((8, 8)))).permute(2, 0, 1) / 255
