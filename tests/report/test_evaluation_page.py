import base64
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from pyg_graphadapter.outputs import OutputError
from pyg_graphadapter.report.evaluation_file import Edge, Skipped
from pyg_graphadapter.report.evaluation_page import evaluation_page, write_evaluation_page
from pyg_graphadapter.report.evaluation_words import remarks
from tests.evaluations import evaluation_of, random_evaluation
from tests.pages import check_page

EVIL = "<script>alert(1)</script>"
ODD_NAMES = (EVIL, "emoji 🎸", "x" * 200, "بيت كبير", "castle", "castle", "a\x1b[31m\u202eb")


@pytest.fixture
def evaluation():
    e, _, _ = random_evaluation(num_classes=7, class_names=ODD_NAMES, temperature=1.5)
    images = tuple(
        dataclasses.replace(
            image,
            file=f"{EVIL}/{i}.jpg" if i % 2 else None,
            thumbnail=base64.b64encode(b"jpeg %04d" % i).decode() if i < 200 else None,
            explanation=f"reason {i} {EVIL}" if i < 150 else None,
        )
        for i, image in enumerate(e.images)
    )
    return dataclasses.replace(
        e,
        images=images,
        data="photos",
        command="graphadapter evaluate clf 'my photos'",
        measures={"accuracy": 50.0, "top5": None, "macro_f1": 48.0, "zero_shot": 33.25,
                  "num_shots": 4, "is_transductive": True},
        classifier={"method": "transclip", "settings": {"k": None, "lambda": 0.5},
                    "versions": {"torch": "2.10"}},
        skipped=(Skipped(None, "truncated"), Skipped("b.png", f"not an image {EVIL}")),
        text_edges=(Edge(0, 1, 0.9), Edge(1, 0, 0.9), Edge(4, 5, 0.5)),
        class_explanations={EVIL: "Its name counts 90 %."},
        versions={"torch": "2.13", "python": "3.11"},
        temperature_source="cross-validated",
    )  # fmt: skip


def test_the_page_holds_everything_and_escapes_it(evaluation):
    html = evaluation_page(evaluation)
    page = check_page(html)
    assert EVIL not in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    wrong = [i for i, im in enumerate(evaluation.images) if im.label != im.top[0].label]
    right = 300 - len(wrong)
    assert f"{right} of 300 pictures were named right: {right / 3:.1f} %." in page.text
    for part in (
        "give 33.2 %", "4 of the pictures were among the examples", "‡ The method is transductive",
        "2 could not be read", "Temperature 1.5 (cross-validated).", "truncated", "k", "not set",
        "graphadapter evaluate clf 'my photos'", "castle (5)", "castle (6)",
    ):  # fmt: skip
        assert part in page.text, part
    assert ("torch", "2.13 (fitted with 2.10)") in page.facts()
    assert [text for tag, text in page.headings if tag == "h2"] == [
        "Classes", "Confusions", "Wrong pictures", "Probabilities", "Knowledge graphs", "Why",
        "Skipped pictures", "Settings", "How this was made",
    ]  # fmt: skip


def test_wrong_pictures_come_most_confident_first_and_each_thumbnail_once(evaluation):
    html = evaluation_page(evaluation)
    wrong = [i for i, im in enumerate(evaluation.images) if im.label != im.top[0].label]
    wrong.sort(key=lambda i: -evaluation.images[i].top[0].probability)
    numbers = [int(part.partition('"')[0]) for part in html.split('<li id="picture-')[1:]]
    assert numbers[: len(wrong[:100])] == wrong[:100]
    for i in wrong[:100]:
        thumbnail = evaluation.images[i].thumbnail
        assert thumbnail is None or html.count(thumbnail) == 1
    assert all(f"reason {i} " in html for i in wrong[:100] if i < 150)


def test_the_cells_of_the_matrix_are_the_counts(evaluation):
    html = evaluation_page(evaluation)
    examples = json.loads(html.split('id="confusion-data">')[1].split("</script>")[0])
    count = np.zeros((7, 7), dtype=int)
    for image in evaluation.images:
        count[image.label, image.top[0].label] += 1
    cells = {f"{a}-{b}": int(count[a, b]) for a in range(7) for b in range(7) if count[a, b]}
    assert {key: cell["images"] for key, cell in examples.items()} == cells
    for cell in examples.values():
        assert len(cell["pictures"]) == min(6, cell["images"])


@pytest.mark.parametrize("num_classes", [2, 31, 1000])
def test_few_and_many_classes(num_classes):
    generator = np.random.default_rng(0)
    y = np.arange(4 * num_classes) % num_classes
    logits = generator.normal(size=(len(y), num_classes))
    logits[np.arange(len(y)), y] += 4
    page = check_page(html := evaluation_page(evaluation_of(logits, y)))
    shown = min(num_classes, 30)
    assert len(page.of_class("matrix")) == 1
    matrix = html.split('<table class="matrix">')[1].split("</table>")[0]
    assert 0 < matrix.count('<th scope="row"') <= shown
    assert (f"Of {num_classes:,} classes" in page.text) == (num_classes > 30)
    assert html.split('id="class-table"')[1].split("</table>")[0].count("<tr>") == num_classes + 1
    assert len(html) < 1_500_000


def test_nothing_is_promised_from_pictures_that_were_learned(evaluation):
    said = " ".join(remarks(evaluation))
    assert "4 of the pictures were among the examples" in said
    assert "expect between" not in said
    new = dataclasses.replace(evaluation, measures={**evaluation.measures, "num_shots": 0})
    assert "expect between" in " ".join(remarks(new))


@pytest.mark.parametrize("right", [True, False])
def test_all_right_or_all_wrong_and_one_image(right):
    logits = np.array([[5.0, 0.0]])
    page = check_page(evaluation_page(evaluation_of(logits, [0 if right else 1])))
    assert ("1 of 1 picture was" if right else "0 of 1 picture was") in page.text
    assert ("Wrong pictures" in page.text) != right


def test_the_file_is_written_whole(evaluation, tmp_path):
    write_evaluation_page(evaluation, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == evaluation_page(evaluation)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        write_evaluation_page(evaluation, tmp_path / "folder")


def test_it_needs_neither_torch_nor_matplotlib(evaluation, tmp_path):
    evaluation.save(tmp_path)
    program = f"""
import sys
from pathlib import Path
from pyg_graphadapter.report.evaluation_report import evaluation_in, report_evaluation
report_evaluation(evaluation_in(Path({str(tmp_path)!r})), Path({str(tmp_path / "out")!r}))
print(*{{"torch", "matplotlib", "scipy", "pandas", "sklearn"}} & sys.modules.keys())
"""
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert process.stdout.split() == []
    check_page((tmp_path / "out" / "evaluation.html").read_text())
