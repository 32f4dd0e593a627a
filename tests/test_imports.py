"""Who imports whom: read from the source, and seen in a fresh interpreter."""

import ast
import importlib
import pkgutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import pyg_graphadapter

PACKAGE = Path(pyg_graphadapter.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
# Each may import those of the lines above it, and a part that is a folder its own files:
ORDER = (
    ("lazy", "settings", "storage", "builtin", "device", "hub", "parallel"),
    ("report",),
    ("graph",),
    ("nn",),
    ("features",),
    ("data", "feature_file"),
    ("task",),
    ("adapters", "encoding"),
    ("training",),
    ("estimator", "experiment", "classifier"),
    ("demo",),
    ("",),  # the package itself, which gathers the public names
    ("cli",),
    ("__main__",),
    ("testing",),  # may import anything
)
RANK = {part: rank for rank, parts in enumerate(ORDER) for part in parts}


def part_of(module):
    """What of the package a module belongs to: ``pyg_graphadapter.nn.x`` to ``nn``."""
    return [*module.split("."), ""][1]


def imported_by(path):
    """The modules that a file imports anywhere in it, with the name of the importing statement."""
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
        other = part_of(name)
        is_inside = part == other != ""
        assert is_inside or RANK[other] < RANK[part], f"{module} imports {name}"


def test_experiments_know_no_encoder():
    for module in MODULES:
        if part_of(module) == "experiment":
            assert not any(part_of(name) == "encoding" for name in of_the_package(MODULES[module]))


@pytest.mark.parametrize("module", [m for m in MODULES if part_of(m) != "testing"])
def test_no_module_imports_the_fakes(module):
    assert "pyg_graphadapter.testing" not in of_the_package(MODULES[module])


def test_a_report_needs_no_torch():
    program = "import sys, pyg_graphadapter.report.page; print('torch' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "False"


def test_commands_that_draw_nothing_load_no_matplotlib():
    program = "import sys, pyg_graphadapter.cli; print('matplotlib' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=100
    )
    assert run.stdout.strip() == "False"


def test_the_public_names():
    for name in pyg_graphadapter.__all__:
        assert getattr(pyg_graphadapter, name).__name__ == name
        assert name in dir(pyg_graphadapter)
    with pytest.raises(AttributeError, match="has no attribute 'gone'"):
        _ = pyg_graphadapter.gone


def test_the_layers_load_nothing_that_reads_or_draws_images():
    program = """
        import sys
        import torch_geometric  # it imports transformers itself, where that is installed

        def loaded():
            unwanted = {"transformers", "datasets", "matplotlib", "typer"}
            return {name for name in sys.modules if name.split(".")[0] in unwanted}

        before = loaded()
        import pyg_graphadapter.nn
        print(sorted(loaded() - before))
        print("pyg_graphadapter.testing" in sys.modules)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert run.stdout.split() == ["[]", "False"]


@pytest.mark.parametrize("package", ["", ".adapters", ".data"])
def test_no_lazy_name_is_that_of_a_submodule(package):
    """Python would put the submodule in its place, once that is imported."""
    module = importlib.import_module(f"pyg_graphadapter{package}")
    submodules = {info.name for info in pkgutil.iter_modules(module.__path__)}
    assert submodules.isdisjoint(module.__all__)
