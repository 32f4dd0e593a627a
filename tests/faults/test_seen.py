"""What was once wrong in this project (README.md) and must not come back."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from pyg_graphadapter import FewShotClassifier, device
from pyg_graphadapter.storage import write_atomic
from pyg_graphadapter.testing import fake_features, fake_images
from tests.faults.command import content, run

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(checkpoint, tmp_path):
    """A checkpoint that may be changed."""
    return shutil.copytree(checkpoint("clip"), tmp_path / "model")


def test_seen_a_checkpoint_without_vocabulary(model, tmp_path):
    """Every class had the same text feature, and the exit code was 0."""
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (model / name).unlink(missing_ok=True)
    images = fake_images(tmp_path / "images")
    said = run("encode", images, "--model", model, "--out", tmp_path / "f.npz", code=1)[1]
    assert f"The model {str(model)!r} cannot be used: its tokenizer" in said
    assert not (tmp_path / "f.npz").exists()


@pytest.mark.parametrize("part", ["preprocessing", "tokenizer", "weights"])
def test_seen_a_classifier_whose_encoder_has_changed(part, model, tmp_path):
    images = fake_images(tmp_path / "images", splits={"train": 2, "test": 1})
    words = ("--shots", 1, "--method", "zero_shot", "--out", tmp_path / "c")
    run("fit", images, "--model", model, *words, code=0)
    before = content(tmp_path / "c")
    run("predict", tmp_path / "c", images / "test", code=0)
    if part == "preprocessing":
        path = model / "preprocessor_config.json"
        settings = json.loads(path.read_text())
        path.write_text(json.dumps(settings | {"image_mean": [0.1, 0.2, 0.3]}))
    elif part == "tokenizer":
        path = model / "tokenizer.json"
        tokenizer = json.loads(path.read_text())
        vocabulary = tokenizer["model"]["vocab"]
        vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
        path.write_text(json.dumps(tokenizer))
    else:
        from safetensors.torch import load_file, save_file

        weights = load_file(model / "model.safetensors")
        weights["text_projection.weight"] *= -1
        save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    said = run("predict", tmp_path / "c", images / "test", code=1)[1]
    assert part in said
    assert content(tmp_path / "c") == before


def test_seen_a_cache_command_that_removes_foreign_folders(tmp_path):
    caches = tmp_path / "cache"
    for name in ("photos", "0" * 32):
        (caches / name).mkdir(parents=True)
        (caches / name / "manifest.json").write_text('{"schema": 2, "model": "a"}')
        (caches / name / "1.jpg").write_bytes(b"a photo")
    before = content(caches)
    for words in (("--unused-days", 0), ("--model", "a"), ()):
        run("cache", "gc", "--cache-dir", caches, *words, code=0)
    assert content(caches) == before


def test_seen_temporary_names_by_process_id(tmp_path, monkeypatch):
    """Two containers, or threads, that write one path have the same process id."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    synced = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(number) or sync(number))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: write_atomic(tmp_path / "f", bytes([i]) * 9_999), range(60)))
    written = (tmp_path / "f").read_bytes()
    assert written == written[:1] * 9_999
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert len(synced) == 120  # file and folder


@pytest.mark.parametrize("instructions", [{}, {"avx512_bf16": True}, {"avx2": True}])
def test_seen_bfloat16_on_a_processor_without_it(instructions, monkeypatch):
    """It was seven times slower there."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions, raising=False)
    assert device.has_bfloat16(torch.device("cpu")) == ("avx512_bf16" in instructions)


def test_seen_every_command_importing_everything():
    program = (
        "import sys; from typer.testing import CliRunner; from pyg_graphadapter.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'sklearn'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_seen_a_committed_runner_that_crashes_on_report():
    """Every runner that has the option is run with it in tests/test_benchmarks.py."""
    tested = (Path(__file__).parents[1] / "test_benchmarks.py").read_text(encoding="utf-8")
    runners = [path for path in sorted(BENCHMARKS.glob("*/*.py"))
               if '"--report"' in path.read_text(encoding="utf-8")]  # fmt: skip
    assert runners
    for path in runners:
        assert f'"{path.relative_to(BENCHMARKS).as_posix()}"' in tested


def test_seen_classifiers_that_replace_each_other(tmp_path):
    """One of several writers removed the tensors of another as if they were the old ones."""
    data = fake_features(num_classes=3, channels=8, shots=2, tests=2)
    data.save(tmp_path / "f.npz")
    words = ("fit", tmp_path / "f.npz", "--shots", 1, "--method", "zero_shot", "--overwrite")
    run(*words, "--out", tmp_path / "c", code=0)
    for path in (tmp_path / "c").glob("*.safetensors"):
        path.unlink()
    run(*words, "--out", tmp_path / "c", code=0)
    assert FewShotClassifier.load(tmp_path / "c").predict(data.test.mean_views())
