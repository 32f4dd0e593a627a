import json
import subprocess
import sys

import pytest
from PIL import Image

from pyg_graphadapter.report.page import write_report
from pyg_graphadapter.report.published import Published
from tests.pages import check_page
from tests.results import result

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    for dataset in ("dtd", EVIL):
        for method in ("zero_shot", "graph_adapter", "gda"):
            for seed in (1, 2, 3):
                each = result(
                    method, seed=seed, dataset=dataset,
                    accuracy=50.0 + len(method) + seed * (method != "zero_shot"),
                    protocol="paper" if method == "gda" else "honest",
                    shifted={"v2": 30.0 + seed},
                )  # fmt: skip
                path = folder / str(len(dataset)) / f"{method}-{seed}.json"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(each))
    failed = {**result("coop", dataset="dtd"), "error": "no text encoder & no more"}
    (folder / "failed.json").write_text(json.dumps(failed))
    return folder


def test_everything_is_written(results, tmp_path):
    out = tmp_path / "out"
    tables = write_report(results, out)
    assert [table.title for table in tables] == [
        EVIL, "dtd", "Average over 2 data sets", "All at 1 shot",
        f"{EVIL}, domain generalisation, 1 shot", "dtd, domain generalisation, 1 shot",
        "graph_adapter against",
    ]  # fmt: skip
    assert sorted(path.name for path in out.iterdir()) == [
        "accuracy.csv", "accuracy.png", "report.html", "tables.md", "tables.tex",
    ]  # fmt: skip
    with Image.open(out / "accuracy.png") as picture:
        assert picture.width > 1000  # three panels
    assert len((out / "accuracy.csv").read_text().splitlines()) == 1 + 6
    assert (out / "tables.tex").read_text().count(r"\begin{tabular}") == len(tables)
    markdown = (out / "tables.md").read_text()
    assert "gda†" in markdown
    assert "† Settings were selected on the test split" in markdown
    write_report(results, out)  # replaces it


def test_the_page_is_whole_and_loads_nothing(results, tmp_path):
    write_report(results, tmp_path / "out")
    text = (tmp_path / "out" / "report.html").read_text()
    page = check_page(text)
    assert EVIL in page.text
    assert EVIL not in text
    assert "dtd, coop, 1 shots, seed 1: no text encoder & no more" in page.text
    assert "18 runs, and 1 that failed" in page.text
    assert "† Settings were selected on the test split" in page.text
    assert page.tags["table"] == 7 + 1  # and that of all settings
    assert page.tags["figure"] == 3


def test_the_page_shows_the_knowledge_graphs_of_the_most_shots(tmp_path):
    edges = [["cat", "dog", 0.9], [EVIL, "dog", 0.8]]
    graphs = {"text": edges, "image": [["cat", "dog", 0.7]]}
    folder = tmp_path / "results"
    folder.mkdir()
    contents = [
        result(shots=4, seed=1, dataset="a", num_classes=7, knowledge_graphs=graphs),
        result(shots=4, seed=2, dataset="a", num_classes=7, knowledge_graphs=graphs),
        result(shots=1, seed=1, dataset="a", num_classes=7, knowledge_graphs=graphs),
        result(shots=16, seed=1, dataset="a"),  # of an earlier version
        result(shots=2, seed=1, dataset=EVIL, knowledge_graphs={"text": edges}),
        result("gda", shots=1, seed=1, dataset="c"),
    ]
    for i, content in enumerate(contents):
        (folder / f"{i}.json").write_text(json.dumps(content))
    write_report(folder, tmp_path / "out")
    page = check_page((tmp_path / "out" / "report.html").read_text())
    titles = [text for tag, text in page.headings if text.startswith("Knowledge graphs of")]
    assert titles == [
        f"Knowledge graphs of {EVIL}, graph_adapter, 2 shots, seed 1",
        "Knowledge graphs of a, graph_adapter, 4 shots, seed 1",
    ]
    sides = [attributes["data-side"] for attributes in page.of_class("graph")]
    assert sides == ["text", "text", "image"]
    assert "3 of 7 classes" in page.text


def test_the_page_says_how_the_runs_were_made(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    settings = {"alpha": 0.25, "k": None, "bias": "class", "seed": 1}
    for seed in (1, 2):
        content = result(
            seed=seed, settings={**settings, "seed": seed}, selected_on="support",
            command="graphadapter compare 'a b' --shots 1", versions={"torch": "2.13"},
            code="pyg_graphadapter 0.1.0", loss=[3.0, 2.0, 1.5],
        )  # fmt: skip
        (folder / f"{seed}.json").write_text(json.dumps(content))
    write_report(folder, tmp_path / "out")
    page = check_page((tmp_path / "out" / "report.html").read_text())
    assert "graphadapter compare 'a b' --shots 1" in page.text
    assert "alpha = 0.25, k = not set, bias = class" in page.text
    assert "the shots" in page.text
    assert "Training loss per epoch, a" in page.text
    assert ("torch", "2.13") in page.facts()
    assert ("code pyg_graphadapter 0.1.0", "graph_adapter") in page.facts()


def test_published_numbers_are_of_the_same_image_tower(results, tmp_path):
    published = Published("ViT-B/16", {"dtd": {"gda": {1: 40.0}}}, {"gda": "a <paper>"})
    write_report(results, tmp_path / "out", published=published)
    page = check_page((tmp_path / "out" / "report.html").read_text())
    assert ("gda", "a &lt;paper&gt;") in page.facts()
    assert "gda, published" in page.text
    assert len(page.of_class("dashed")) == 2  # the curve, and its line in the legend
    other = Published("RN50", {}, {})
    with pytest.raises(ValueError, match=r"are of RN50, .* some/clip-vit-base-patch16: give"):
        write_report(results, tmp_path / "other", published=other)
    assert not (tmp_path / "other").exists()
    write_report(results, tmp_path / "other", published=other, backbone="RN50")


def test_a_classifier_is_to_be_evaluated_first(tmp_path):
    (tmp_path / "classifier.json").write_text("{}")
    with pytest.raises(ValueError, match=r"graphadapter evaluate .* DATA --out evaluation --rep"):
        write_report(tmp_path, tmp_path / "out")


def test_what_cannot_be_reported(tmp_path, results):
    with pytest.raises(ValueError, match="no result file"):
        write_report(tmp_path / "gone", tmp_path / "out")
    with pytest.raises(ValueError, match=r"something else \(\d+\)"):
        write_report(results, results)
    for path in results.rglob("*-?.json"):
        path.unlink()
    with pytest.raises(ValueError, match=r"All 1 runs in .* failed; the first: no text encoder"):
        write_report(results, tmp_path / "out")


def test_the_reference_may_have_other_settings(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    for method, variant in (("graph_adapter", "alpha = 0.6"), ("gda", "")):
        each = result(method, variant=variant)
        (folder / f"{method}.json").write_text(json.dumps(each))
    tables = write_report(folder, tmp_path / "out")
    assert tables[-1].title == "graph_adapter (alpha = 0.6) against"
    [only] = write_report(folder, tmp_path / "out", reference="lp_pp")
    assert only.title == "a"


def test_the_module_loads_neither_matplotlib_nor_numpy():
    program = """
import sys
import pyg_graphadapter.report.page
print(*{"matplotlib", "numpy", "torch", "scipy", "pandas", "sklearn"} & sys.modules.keys())
"""
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert process.stdout.split() == []
