"""The examples run, and print what their headers say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *arguments, timeout=100):
    command = [sys.executable, EXAMPLES / name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(text):
    return [float(value.replace(",", "")) for value in re.findall(r"\d[\d.,]*\d|\d", text)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["quickstart.py", "pyg_layer.py", "sklearn_pipeline.py", "callbacks.py"]
)
def test_offline_examples(name):
    header = (EXAMPLES / name).read_text(encoding="utf-8").split('"""')[1]
    said = re.sub(r"\n {10}", "\n", header.split("Output:   ")[1]).strip()
    printed = run(name).strip()
    assert re.sub(r"[\d.]+", "0", printed) == re.sub(r"[\d.]+", "0", said)
    assert numbers(printed) == pytest.approx(numbers(said), rel=0.1)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["image_folder.py", "custom_encoder.py", "explain.py"])
def test_examples_on_the_built_in_images(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path))
    header = (EXAMPLES / name).read_text(encoding="utf-8").split('"""')[1]
    said = re.sub(r"\n {10}", "\n", header.split("Output:   ")[1]).strip().removesuffix("\n…")
    printed = run(name, timeout=280).strip()
    if name == "explain.py":
        printed = "\n".join(printed.splitlines()[: len(said.splitlines())])
        assert re.sub(r"[\d.]+", "0", printed) == re.sub(r"[\d.]+", "0", said)
    else:
        assert numbers(printed) == pytest.approx(numbers(said), abs=3)


@pytest.mark.slow
def test_imagenet_features(shared_data):
    features = shared_data / "clip_vitb32" / "imagenet_fewshot.npz"
    printed = run("imagenet_features.py", features, "--shots", 1, "--seeds", 1)
    zero_shot, adapted = (float(v) for v in re.findall(r"(\d\d\.\d\d) %", printed)[:2])
    assert zero_shot == 61.07
    assert adapted > 63.5


@pytest.mark.slow
def test_a_method_in_a_folder_of_its_own(tmp_path):
    header = (EXAMPLES / "own_method" / "whitened.py").read_text(encoding="utf-8").split('"""')[1]
    commands = re.sub(r"\\\n +", "", header)
    compare, show = re.findall(r"graphadapter (.*)", commands)
    for command in (f"{compare} --jobs 1", show):
        words = command.replace("--out results", f"--out {tmp_path}").split()
        done = subprocess.run(
            [sys.executable, "-m", "pyg_graphadapter", *words],
            cwd=EXAMPLES / "own_method",
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        assert "whitened" in done.stdout
