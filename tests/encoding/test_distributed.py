"""Several processes that encode the same images."""

import builtins
import os
import subprocess
import sys

import pytest
import torch

from pyg_graphadapter import FeatureFile
from pyg_graphadapter.encoding.distributed import Process, this_process
from pyg_graphadapter.testing import fake_images

OF_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def encode(images, out, cache, *more, processes=1):
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--standalone"]
    launched = launcher if processes > 1 else []
    command = [
        "encode",
        images,
        "--model",
        "builtin",
        "--views",
        2,
        "--out",
        out,
    ]
    environment = {name: value for name, value in os.environ.items() if name not in OF_TORCHRUN}
    return subprocess.run(
        [sys.executable, *launched, "-m", "pyg_graphadapter", *map(str, [*command, *more])],
        env=environment | {"PYG_GRAPHADAPTER_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=110,
    )


def shards_in(cache):
    return {path.name: path.read_bytes() for path in cache.rglob("*.safetensors")}


@pytest.mark.slow
def test_two_processes_give_the_bytes_of_one(tmp_path):
    images = fake_images(tmp_path / "images", splits={"train": 4, "test": 2})
    bad = images / "train" / "class_0" / "bad.jpg"
    bad.write_bytes(b"no image")
    outcomes = []
    for processes in (1, 2):
        name = f"by-{processes}"
        run = encode(images, tmp_path / f"{name}.npz", tmp_path / name, processes=processes)
        assert run.returncode == 0, run.stderr
        assert run.stdout.count("Wrote") == 1
        assert run.stderr.count(f"Skipped: The image {bad}") == 1
        outcomes.append(run)
    assert shards_in(tmp_path / "by-1") == shards_in(tmp_path / "by-2")
    first, second = (FeatureFile.load(tmp_path / f"by-{n}.npz") for n in (1, 2))
    assert first.train.x.shape == (12, 2, 384)
    assert torch.equal(first.train.x, second.train.x)
    assert torch.equal(first.test.x, second.test.x)
    assert torch.equal(first.text, second.text)


@pytest.mark.slow
def test_several_processes_need_the_cache(tmp_path):
    images = fake_images(tmp_path / "images")
    run = encode(images, tmp_path / "f.npz", tmp_path, "--no-cache", processes=2)
    assert run.returncode != 0
    assert "Several processes meet in the feature cache: leave --no-cache out." in run.stderr
    assert not (tmp_path / "f.npz").exists()


def test_a_process_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with this_process("auto") as process:
        assert process == Process(0, 1)
        assert process.part == (0, 1)
        assert process.shared([digest for digest in process.own(3)], 3) == [0, 1, 2]
        process.wait()


def test_several_processes_need_accelerate(monkeypatch):
    original = builtins.__import__

    def without(name, *rest):
        if name == "accelerate":
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(builtins, "__import__", without)
    needed = pytest.raises(ValueError, match=r"pip install 'pyg-graphadapter\[distributed\]'")
    with needed, this_process("cpu"):
        pass


def test_processes_are_joined(monkeypatch):
    calls = []

    class State:
        process_index, num_processes = 1, 3

        def __init__(self, cpu, backend, timeout):
            calls.append((cpu, backend, timeout.days))

        def destroy_process_group(self):
            calls.append("end")

    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setattr("accelerate.PartialState", State)
    with this_process("cpu") as process:
        assert process.part == (1, 3)
        assert list(process.own(5)) == [1, 4]
        monkeypatch.setattr("accelerate.utils.gather_object", lambda own: [[0, 3], *own, [2]])
        assert process.shared([1, 4], 5) == [0, 1, 2, 3, 4]
        monkeypatch.setattr("accelerate.utils.gather_object", lambda own: calls.append(own))
        process.wait()
    assert calls == [(True, "gloo", 30), [[]], "end"]


def test_each_of_several_processes_has_its_own_device(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    needed = pytest.raises(ValueError, match=r"ask for 'cpu' \(got 'cpu:0'\)")
    with needed, this_process("cpu:0"):
        pass
