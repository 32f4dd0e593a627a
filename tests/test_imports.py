"""Who imports whom, read from the source; and what a command loads, seen in a fresh interpreter."""

import ast
import importlib
import pkgutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pyg_graphadapter
from pyg_graphadapter.testing import fake_features

PACKAGE = Path(pyg_graphadapter.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
# A line may import the lines above it. A folder may also import its own files:
ORDER = (
    ("optional", "interrupts", "display", "progress", "suggestions"),
    ("outputs",),
    ("lazy", "settings", "storage", "builtin", "device", "hub", "parallel"),
    ("report",),
    ("graph",),
    ("nn", "transforms", "features", "feature_keys"),
    ("labels", "orientation", "copies"),
    ("data", "feature_file"),
    ("task", "importing"),
    ("adapters", "encoding"),
    ("sources",),
    ("training",),
    ("estimator", "experiment", "classifier"),
    ("comparison", "image_estimators"),
    ("demo",),
    ("",),  # the package itself, which gathers the public names
    ("cli",),
    ("__main__", "testing"),
)
RANK = {part: rank for rank, parts in enumerate(ORDER) for part in parts}
HEAVY = ("torch", "transformers", "datasets", "sklearn", "scipy", "pandas", "matplotlib")


def part_of(module):
    """The part of the package that a module belongs to: ``pyg_graphadapter.nn.x`` to ``nn``."""
    return [*module.split("."), ""][1]


def imported_by(path):
    """The modules that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in MODULES else node.module


def of_the_package(path):
    return [name for name in imported_by(path) if name.split(".")[0] == PACKAGE.name]


def test_the_reader_of_imports_reads():
    assert "pyg_graphadapter.graph" in imported_by(MODULES["pyg_graphadapter.task"])
    assert "torch" in imported_by(MODULES["pyg_graphadapter.task"])
    assert "pyg_graphadapter.adapters" in MODULES


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module):
    part = part_of(module)
    assert part in RANK, f"{module} has no place in the order of imports"
    for name in of_the_package(MODULES[module]):
        imported = part_of(name)
        is_inside = part == imported != ""
        assert is_inside or RANK[imported] < RANK[part], f"{module} imports {name}"


def test_experiments_know_no_encoder():
    for module in MODULES:
        if part_of(module) == "experiment":
            assert not any(part_of(name) == "encoding" for name in of_the_package(MODULES[module]))


@pytest.mark.parametrize("module", [m for m in MODULES if part_of(m) != "testing"])
def test_no_module_imports_the_fakes(module):
    assert "pyg_graphadapter.testing" not in of_the_package(MODULES[module])


def test_the_public_names():
    for name in pyg_graphadapter.__all__:
        assert getattr(pyg_graphadapter, name).__name__ == name
        assert name in dir(pyg_graphadapter)
    with pytest.raises(AttributeError, match="has no attribute 'gone'"):
        _ = pyg_graphadapter.gone


@pytest.mark.parametrize("package", ["", ".adapters", ".data"])
def test_no_lazy_name_is_that_of_a_submodule(package):
    """Python would put the submodule in its place, once that is imported."""
    module = importlib.import_module(f"pyg_graphadapter{package}")
    submodules = {info.name for info in pkgutil.iter_modules(module.__path__)}
    assert submodules.isdisjoint(module.__all__)


# What is loaded #######################################################################


def loaded_by(program, *arguments):
    """The modules that are loaded at the end of a program, in a fresh interpreter."""
    program = (
        f"import atexit, sys\natexit.register(lambda: print('\\nLOADED', *sys.modules))\n{program}"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "LOADED" in run.stdout, run.stderr
    assert "Traceback" not in run.stderr, run.stderr
    return set(run.stdout.rsplit("LOADED ", 1)[1].split())


def loaded_by_command(*arguments):
    return loaded_by("from pyg_graphadapter.__main__ import main\nmain()", *arguments)


def packages(modules):
    return {module.split(".")[0] for module in modules}


@pytest.fixture(scope="module")
def with_pyg():
    """What ``import torch_geometric`` loads; it imports parts of transformers itself."""
    return loaded_by("import torch_geometric")


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    path = tmp_path_factory.mktemp("features") / "features.npz"
    fake_features(num_classes=3, channels=8, shots=2).save(path)
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--help",),
        ("--version",),
        ("nope",),
        ("fit", "--nope"),
        ("fit",),
        ("fit", "x.npz", "--out", "x", "--shots", "x"),
        ("fit", "x.npz", "--out", "x", "--method", "nope"),
        ("fit", "x.npz", "--out", "x", "--lr", "-1"),
        ("compare", "x.npz", "--out", "x", "--methods", "nope"),
        ("compare", "x.npz", "--out", "x", "--shots", "nope"),
        ("predict", "x", "x.npz", "--top", "nope"),
        ("evaluate", "x"),
        ("evaluate", "x", "x", "--report"),
        ("encode", "x"),
        ("report", "x"),
        ("explain", "x"),
        ("explain", "x", "x.npz", "--row", "nope"),
        ("export", "x", "c.npz", "--nope"),
        ("demo", "--nope"),
        ("methods", "nope"),
        ("data", "nope"),
        ("data", "draw", "x", "--out", "x", "--shots", "nope"),
        ("cache", "gc", "--unused-days", "-1"),
        *((command, "--help") for command in ("fit", "compare", "predict", "encode", "report")),
        *((command, "--help") for command in ("explain", "export")),
        *((command, "--help") for command in ("demo", "methods", "data", "cache")),
        ("evaluate", "--help"),
        ("data", "look", "--help"),
        ("cache", "list", "--help"),
    ],
)
def test_help_and_usage_errors_load_nothing_heavy(arguments):
    assert packages(loaded_by_command(*arguments)).isdisjoint(HEAVY)


def test_a_report_loads_matplotlib_alone(features, tmp_path):
    results = tmp_path / "results"
    options = ("--shots", "1,2", "--seeds", "1,2", "--methods", "zero_shot,graph_adapter")
    subprocess.run(
        [sys.executable, "-m", "pyg_graphadapter", "compare", features, *options, "--out", results],
        check=True,
        capture_output=True,
        timeout=300,
    )
    loaded = packages(loaded_by_command("report", results, "--out", tmp_path / "report"))
    assert "Knowledge graphs of" in (tmp_path / "report" / "report.html").read_text()
    assert loaded & set(HEAVY) == {"matplotlib"}


@pytest.mark.slow
def test_commands_on_feature_files_load_no_more_than_pyg(features, tmp_path, with_pyg):
    def more(modules):
        return {m for m in modules - with_pyg if m.split(".")[0] in ("transformers", "datasets")}

    classifier = tmp_path / "classifier"
    fitted = loaded_by_command("fit", features, "--shots", 2, "--epochs", 1, "--out", classifier)
    assert (classifier / "classifier.json").exists()
    assert more(fitted) == set()
    compared = loaded_by_command(
        "compare", features, "--shots", 1, "--seeds", 1, "--jobs", 1, "--out", tmp_path / "results"
    )
    assert len(list((tmp_path / "results").iterdir())) == 2
    assert more(compared) == set()
    assert more(loaded_by_command("predict", classifier, features)) == set()
    assert more(loaded_by_command("explain", classifier, features, "--row", 0)) == set()
    for file in ("c.npz", "c.safetensors", "c.pt2", "c.onnx"):
        assert more(loaded_by_command("export", classifier, tmp_path / file)) == set()
    assert more(loaded_by_command("methods", "tip_adapter")) == set()


def test_the_layers_load_nothing_that_reads_or_draws_images(with_pyg):
    loaded = loaded_by("import pyg_graphadapter.nn") - with_pyg
    unwanted = {"transformers", "datasets", "matplotlib", "typer", "sklearn", "PIL"}
    assert packages(loaded).isdisjoint(unwanted)
    assert "pyg_graphadapter.testing" not in loaded


def test_settings_and_names_load_nothing_heavy():
    program = """
from pyg_graphadapter import EncodingConfig, TrainConfig
from pyg_graphadapter.adapters import ADAPTERS
from pyg_graphadapter.data import TEMPLATES
import pyg_graphadapter.report.page
"""
    assert packages(loaded_by(program)).isdisjoint(HEAVY)


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.5, 1.5, 3.0])
def test_an_interrupt_while_starting_ends_quietly(features, tmp_path, delay):
    program = "from pyg_graphadapter.__main__ import main\nprint(flush=True)\nmain()"
    arguments = ("compare", features, "--out", tmp_path / "r", "--epochs", 100_000, "--jobs", 1)
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=100)
    assert process.returncode == 130, stderr
    assert stderr in ("", "Stopped; run the command again to continue.\n")
