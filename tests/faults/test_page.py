"""The page of this folder names every row, every test and every file, and no other."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE / "README.md").read_text(encoding="utf-8")
ROWS = {"hole": 12, "fault": 32}


def functions(name):
    """The tests in a file."""
    body = ast.parse((HERE / name).read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}


def section(title):
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_row_is_there_with_its_tests():
    for title, kind in (("Holes of this field", "hole"), ("Faults", "fault")):
        rows = re.findall(r"^\| (\d+) \| .+ \| .+ \| (.+) \|$", section(title), re.M)
        assert [int(number) for number, _ in rows] == list(range(1, ROWS[kind] + 1))
        for number, tests in rows:
            names = re.findall(r"`(\w+)`", tests)
            assert names
            assert all(name.startswith(f"test_{kind}_{int(number):02}_") for name in names)


def test_every_test_is_there_and_exists():
    files = {"test_holes.py": "hole", "test_faults.py": "fault", "test_seen.py": "seen"}
    for name, kind in files.items():
        named = set(re.findall(rf"`(test_{kind}_\w+)`", PAGE))
        assert named == {test for test in functions(name) if test.startswith("test_")}


def test_every_file_is_there_and_exists():
    named = set(re.findall(r"`(test_\w+\.py)`", PAGE))
    assert named == {path.name for path in HERE.glob("test_*.py")}
    assert (HERE / "../../benchmarks/faults/README.md").exists()
    assert "](../../benchmarks/faults/README.md)" in PAGE
