"""The README's code, commands, options and links work."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_its_python_prints_the_values_in_its_comments(code, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYG_GRAPHADAPTER_CACHE", str(tmp_path / "cache"))
    exec(compile(code, "README.md", "exec"), {})
    printed = [float(line) for line in capsys.readouterr().out.splitlines()]
    expected = [float(value) for value in re.findall(r"print\(.*\)  # ([\d.]+)", code)]
    assert printed == pytest.approx(expected, abs=1.5)


def test_its_commands_are_those_of_the_continuous_integration():
    for name in ("main", "test"):
        assert re.search(rf"<!-- ci:{name} -->\n```bash\n.+\n```", README)


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("https://"):
            assert (ROOT / target).exists(), target


def test_its_options_exist():
    from typer.testing import CliRunner

    from pyg_graphadapter import cli

    text = README.replace("\\\n", " ")
    commands = re.findall(r"(?:^|`)graphadapter ((?:data )?\w+)([^`\n]*)", text, flags=re.MULTILINE)
    assert len(commands) > 8
    for command, arguments in commands:
        words = [*command.split(), "--help"]
        text = CliRunner().invoke(cli.app, words, env={"COLUMNS": "200"}).output
        for option in re.findall(r"--[\w-]+", arguments):
            assert option in text
