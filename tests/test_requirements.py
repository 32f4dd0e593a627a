"""The requirements in setup.cfg have lower bounds, and tested versions in constraints.txt."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
lowest_versions = runpy.run_path(str(ROOT / "scripts" / "lowest_versions.py"))["lowest_versions"]


def versions(lines):
    """The version of every package in lines as ``name==version``, as numbers."""
    pairs = (line.split("==") for line in lines if "==" in line)
    return {name: [int(number) for number in version.split(".")] for name, version in pairs}


@pytest.mark.parametrize(
    "extra", ["plot", "tokenizers", "distributed", "onnx", "h5", "docs", "test", "scatter"]
)
def test_tested_versions_are_not_lower_than_the_bounds(extra):
    tested = versions((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    for name, version in versions(lowest_versions([extra])).items():
        assert tested[name] >= version, name


def test_the_core_is_small():
    names = [line.split("==")[0] for line in lowest_versions([])]
    assert names == [
        "torch",
        "torch-geometric",
        "transformers",
        "datasets",
        "scikit-learn",
        "Pillow",
        "typer",
        "jinja2",
    ]
    assert "matplotlib==3.9" in lowest_versions(["test"])
