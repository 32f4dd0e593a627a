"""Where a package is not installed, one sentence says what to install."""

import shutil
import subprocess
import sys

import pytest

from pyg_graphadapter.optional import MissingPackageError, is_installed, missing, require
from pyg_graphadapter.testing import fake_features

MAIN = "from pyg_graphadapter.__main__ import main\nmain()"
# Hides packages, as if they were not installed:
HIDE = """
from importlib.machinery import PathFinder
find_spec = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, *where: None if name in {hidden!r} else find_spec(name, *where)
)
"""


def run_without(packages, program, *arguments):
    """Runs a program in a fresh interpreter that does not find some packages."""
    return subprocess.run(
        [sys.executable, "-c", HIDE.format(hidden=packages) + program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def message_of(packages, program):
    """The message of the MissingPackageError that a program ends with."""
    program = "\n    ".join(program.splitlines())
    caught = f"""
from pyg_graphadapter.optional import MissingPackageError
try:
    {program}
except MissingPackageError as error:
    print("MESSAGE", error)
"""
    process = run_without(packages, caught)
    assert "MESSAGE" in process.stdout, process.stderr
    return process.stdout.rsplit("MESSAGE ", 1)[1].strip()


def test_what_to_install():
    assert str(missing("matplotlib.figure")).endswith(": pip install 'pyg-graphadapter[plot]'.")
    assert str(missing("google.protobuf")).endswith("'pyg-graphadapter[tokenizers]'.")
    assert str(missing("datasets")).endswith(
        " datasets is not installed: pip install pyg-graphadapter."
    )
    assert missing("matplotlib.figure").name == "matplotlib"
    assert is_installed("torch.nn")
    assert not is_installed("no_such_package")
    assert not is_installed("no_such_package.module")
    with pytest.raises(MissingPackageError, match="no_such_package is not installed"):
        require("no_such_package")
    with pytest.raises(ModuleNotFoundError, match="gone"):  # a mistake in this package
        require("pyg_graphadapter.gone")


@pytest.mark.parametrize(
    ("package", "install", "arguments"),
    [
        ("typer", "typer", ("--version",)),
        ("matplotlib", "'pyg-graphadapter[plot]'", ("demo", "--out", "OUT")),
        ("matplotlib", "'pyg-graphadapter[plot]'", ("report", "OUT", "--out", "OUT")),
        ("transformers", "pyg-graphadapter", ("encode", "x", "--model", "m", "--out", "OUT.npz")),
        ("datasets", "pyg-graphadapter", ("data", "look", ".")),
        ("PIL", "pyg-graphadapter", ("fit", "x", "--model", "builtin", "--out", "OUT")),
        ("h5py", "'pyg-graphadapter[h5]'", ("data", "import", "a.h5", "--out", "OUT.npz")),
        ("huggingface_hub", "pyg-graphadapter", ("predict", "x", "x.npz")),
    ],
)
def test_a_command_says_what_to_install(tmp_path, package, install, arguments):
    out = tmp_path / "out"
    process = run_without([package], MAIN, *(str(a).replace("OUT", str(out)) for a in arguments))
    assert process.returncode == 1
    assert (
        process.stderr == f"Error: The package {package} is not installed: pip install {install}.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_methods_on_a_feature_file_need_none_of_the_packages_for_images(tmp_path):
    hidden = ["transformers", "datasets", "huggingface_hub", "PIL", "pandas", "pyarrow"]
    fake_features(num_classes=3, channels=8, shots=2).save(tmp_path / "features.npz")
    arguments = ("compare", tmp_path / "features.npz", "--shots", 1, "--seeds", 1, "--jobs", 1)
    process = run_without([*hidden, "matplotlib"], MAIN, *arguments, "--out", tmp_path / "out")
    assert process.returncode == 0, process.stderr


@pytest.mark.slow
def test_what_draws_says_it_in_python_before_it_works(tmp_path):
    expected = "The package matplotlib is not installed: pip install 'pyg-graphadapter[plot]'."
    demo = f"from pyg_graphadapter.demo import run_demo\nrun_demo({str(tmp_path / 'out')!r})"
    assert message_of(["matplotlib"], demo) == expected
    report = "from pyg_graphadapter.report.page import write_report\nwrite_report('x', 'y')"
    assert message_of(["matplotlib"], report) == expected
    curve = "from pyg_graphadapter.report.figures import accuracy_curve\naccuracy_curve([], 'x')"
    assert message_of(["matplotlib"], curve) == expected
    assert not (tmp_path / "out").exists()


def test_a_public_name_says_it_in_python():
    expected = "The package datasets is not installed: pip install pyg-graphadapter."
    assert message_of(["datasets"], "from pyg_graphadapter.data import load_images") == expected
    expected = "The package PIL is not installed: pip install pyg-graphadapter."
    assert message_of(["PIL"], "from pyg_graphadapter import Encoder") == expected


@pytest.mark.slow
def test_a_tokenizer_says_which_extra_it_needs(checkpoint, tmp_path):
    pytest.importorskip("transformers")
    program = "from pyg_graphadapter import Encoder\nEncoder.from_pretrained({!r}, device='cpu')"
    siglip = str(checkpoint("siglip"))
    for hidden, names in (
        (["sentencepiece"], "sentencepiece"),
        (["google.protobuf"], "protobuf"),
        (["sentencepiece", "google"], "sentencepiece and protobuf"),
    ):
        assert message_of(hidden, program.format(siglip)) == (
            f"The tokenizer of {siglip!r} needs {names}: "
            f"pip install 'pyg-graphadapter[tokenizers]'."
        )
    no_tokenizer = shutil.copytree(siglip, tmp_path / "siglip")
    (no_tokenizer / "spiece.model").unlink()
    process = run_without(["sentencepiece"], program.format(str(no_tokenizer)))
    assert "cannot be loaded" in process.stderr
    assert "[tokenizers]" not in process.stderr
