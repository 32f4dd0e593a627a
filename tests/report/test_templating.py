import base64
import hashlib
import itertools
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from pyg_graphadapter.report.templating import TEMPLATES, render, short

STYLE = (TEMPLATES / "style.css").read_text(encoding="utf-8")
SECTIONS = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)


def variables(text):
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", text))


SCHEMES = dict(zip(("light", "dark", "print"), map(variables, SECTIONS), strict=True))


def luminance(colour):
    """The relative luminance of WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_is_that_of_wcag():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_and_curves_can_be_read(scheme):
    colours = SCHEMES[scheme]
    for text, ground in itertools.product(("ink", "soft", "accent"), ("page", "panel")):
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for ground in ("right", "wrong", "mark"):
        assert contrast(colours["ink"], colours[ground]) >= 4.5, ground
    for i in range(10):
        assert contrast(colours[f"c{i}"], colours["page"]) >= 3, i
    assert len({colours[f"c{i}"] for i in range(10)}) == 10


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_has_every_colour(scheme):
    used = set(re.findall(r"var\(--(\w+)\)", STYLE)) - {"hue", "share"}
    assert used <= SCHEMES[scheme].keys()


def content(**more):
    return {
        "title": "a", "facts": [], "sections": [], "tasks": [], "panels": [], "tables": [],
        "tables_title": "", "graphs": [], "losses": {}, "failed": [], "commands": ["x"],
        "marks": [], "sources": [], "sources_of": "", "versions": [],
        "runs": {"title": "r", "header": ["method"], "lines": [], "note": ""},
    } | more  # fmt: skip


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_a_page_cannot_show(value):
    with pytest.raises(ValueError, match=f"cannot show the value {value}"):
        render("comparison.html.j2", **content(facts=[value]))


def test_names_are_escaped_and_made_visible():
    page = render("comparison.html.j2", **content(facts=["<i> & \x1b \u202e é 🎸"]))
    assert r"<p>&lt;i&gt; &amp; \x1b \u202e é 🎸</p>" in page


def test_the_policy_allows_the_script_of_the_page_alone():
    page = render("comparison.html.j2", **content())
    [script] = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_long_names_are_shortened():
    assert short("a" * 60) == "a" * 60
    assert short("a" * 61) == "a" * 59 + "…"


@pytest.mark.slow
def test_a_wheel_has_the_templates(tmp_path, monkeypatch):
    setuptools = pytest.importorskip("setuptools.build_meta")
    root = Path(__file__).parents[2]
    source = tmp_path / "source"
    shutil.copytree(root / "pyg_graphadapter", source / "pyg_graphadapter",
                    ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    monkeypatch.chdir(source)
    wheel = setuptools.build_wheel(str(tmp_path))
    names = zipfile.ZipFile(tmp_path / wheel).namelist()
    for path in TEMPLATES.iterdir():
        assert f"pyg_graphadapter/report/templates/{path.name}" in names
