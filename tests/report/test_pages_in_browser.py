"""The pages in a browser: driven, on a wide screen and on a phone, without a network."""

import dataclasses
import io
import json
from base64 import b64encode
from pathlib import Path
from shutil import which

import numpy as np
import pytest
from PIL import Image

from pyg_graphadapter.report.evaluation_file import Edge
from pyg_graphadapter.report.evaluation_page import write_evaluation_page
from pyg_graphadapter.report.page import write_report
from tests.evaluations import random_evaluation
from tests.results import result

CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.enable_socket,
    pytest.mark.skipif(CHROMIUM is None, reason="needs the browser chromium"),
]
playwright_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
SIZES = {"wide": (1280, 900), "phone": (375, 700)}
NAMES = ("<b>house</b>", "guitar 🎸", "x" * 200, "بيت كبير", "castle", "castle", "tool")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@pytest.fixture(scope="module")
def browser():
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens a file; at the end, nothing must have been asked for and nothing have failed."""
    faults, contexts = [], []

    def open_file(path, size="wide", scheme="light"):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "request",
            lambda r: None if r.url.startswith(("file:", "data:")) else faults.append(r.url),
        )
        page.goto(f"file://{path}")
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    edges = [["cat", "dog", 0.9], ["dog", NAMES[0], 0.8], ["cat", NAMES[2], 0.3]]
    methods = ("zero_shot", "graph_adapter", *(f"method_{i}" for i in range(18)))
    for i, method in enumerate(methods):
        for shots in (1, 2, 4):
            for dataset in ("a", "b"):
                for seed in (1, 2):
                    is_graph = method == "graph_adapter"
                    more = {"knowledge_graphs": {"text": edges, "image": edges[:1]}}
                    accuracy = 40.0 + (i + shots) * (method != "zero_shot")
                    content = result(
                        method, shots, seed, accuracy, dataset=dataset,
                        settings={"alpha": 0.5}, loss=[2.0, 1.0 / (i + 1)],
                        **(more if is_graph else {}),
                    )  # fmt: skip
                    name = f"{method}-{shots}-{dataset}-{seed}.json"
                    (folder / name).write_text(json.dumps(content))
    out = tmp_path_factory.mktemp("report")
    write_report(folder, out)
    return out / "report.html"


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    e, _, _ = random_evaluation(num_classes=7, class_names=NAMES, temperature=1.5)
    images = tuple(
        dataclasses.replace(image, thumbnail=_thumbnail(i) if i % 3 else None, explanation="so")
        for i, image in enumerate(e.images)
    )
    edges = tuple(Edge(a, b, 0.5) for a in range(7) for b in range(a))
    e = dataclasses.replace(e, images=images, text_edges=edges, image_edges=edges[:5])
    path: Path = tmp_path_factory.mktemp("evaluation") / "page.html"
    write_evaluation_page(e, path)
    return path


def _thumbnail(i):
    stream = io.BytesIO()
    Image.new("RGB", (40, 60), (i % 256, 90, 120)).save(stream, "JPEG")
    return b64encode(stream.getvalue()).decode()


def column(page, table, index):
    rows = page.locator(f"#{table} tbody tr:visible")
    return [row.locator("th, td").nth(index).inner_text() for row in rows.all()]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["comparison", "evaluation"])
def test_the_page_is_never_wider_than_the_window(name, size, open_page, request):
    page = open_page(request.getfixturevalue(name), size)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= SIZES[size][0]
    cut = page.evaluate("""() => [...document.querySelectorAll("main *")].filter(e => {
        const box = e.getBoundingClientRect();
        return box.right > innerWidth + 1 && box.width > 1 && !e.closest(".scroll, .graph");
    }).map(e => e.outerHTML.slice(0, 100))""")
    assert cut == []


def test_no_column_of_accuracies_is_cut_on_a_wide_screen(comparison, open_page):
    page = open_page(comparison)
    cut = page.evaluate("""() => [...document.querySelectorAll(".pair.panel .scroll")]
        .filter(e => e.scrollWidth > e.clientWidth).map(e => e.outerHTML.slice(0, 100))""")
    assert page.locator(".pair.panel .scroll").count() > 0
    assert cut == []


def test_tables_sort_by_click_and_by_keyboard(evaluation, open_page):
    page = open_page(evaluation)
    header = page.locator("#class-table th").nth(1)
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    counts = [int(text) for text in column(page, "class-table", 1)]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) > 3
    header.locator("button").press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    counts = [int(text) for text in column(page, "class-table", 1)]
    assert counts == sorted(counts)
    page.locator("#class-table th button").first.press("Space")
    assert header.get_attribute("aria-sort") == "none"
    share = page.locator("#class-table th").nth(3)
    share.locator("button").click()
    assert column(page, "class-table", 3)[-1] == "-"  # the class without pictures is last


def test_filters_hide_methods_and_data_sets(comparison, open_page):
    page = open_page(comparison)
    assert len(column(page, "accuracy-2", 0)) == 20
    page.locator("#by-method").fill("method_1")
    assert set(column(page, "accuracy-2", 0)) == {"method_1", *(f"method_1{i}" for i in range(8))}
    assert page.locator("figure.with-chart").first.locator(".curve:visible").count() == 2 * 9
    page.locator("#by-task").select_option("b")
    assert page.locator("section[data-task='a']:visible").count() == 0
    assert page.locator("section[data-task='b']:visible").count() > 0
    page.locator("#by-method").fill("")
    page.locator("input[data-filters='runs-table']").fill("graph_adapter")
    assert set(column(page, "runs-table", 0)) == {"graph_adapter"}
    assert page.locator("#runs").locator("xpath=following::output").first.inner_text() == "6 of 120"


def test_values_of_curves_are_read_with_the_keyboard(comparison, open_page):
    page = open_page(comparison)
    figure = page.locator("figure.with-chart").first
    strips = figure.locator(".strip")
    assert strips.count() == 3
    first = figure.locator(".legend .value").nth(1)
    assert first.inner_text().startswith("45.00")  # at 4 shots
    strips.first.focus()
    assert figure.locator(".at").inner_text() == "1 shot"
    assert first.inner_text().startswith("42.00")
    assert "graph_adapter 42.00" in strips.first.get_attribute("aria-label")
    button = figure.locator(".legend button").nth(1)
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert figure.locator("svg.chart .curve:visible").count() == 19


def test_a_class_shows_its_neighbours(evaluation, open_page):
    page = open_page(evaluation)
    page.locator(".graphs select").select_option(label="tool")
    lists = page.locator(".near-list ol")
    assert lists.first.locator("li").count() == 6
    assert lists.first.locator("li").first.inner_text().endswith("0.50")
    assert page.locator(".graph .box.self").count() >= 1
    box = page.locator(".graph.text .box:not(.self)").first
    label = box.get_attribute("data-label")
    box.click(force=True)
    assert page.locator(".graphs select").input_value() == label


def test_a_cell_shows_its_pictures_and_arrows_move(evaluation, open_page):
    page = open_page(evaluation)
    cells = page.locator(".matrix td button")
    assert [c.get_attribute("tabindex") for c in cells.all()].count("0") == 1
    cells.first.press("Enter")
    text = page.locator("#confusion-pictures")
    count = int(cells.first.inner_text())
    assert f"{count} pictures of “<b>house</b>” named right." in text.inner_text()
    assert text.locator("li").count() == min(6, count)
    image = text.locator("img").first
    assert image.evaluate("image => image.complete && image.naturalWidth") == 40
    page.locator(".pairs th button").first.click()  # sorts, and shows nothing else
    assert page.locator(".pairs [aria-pressed='true']").count() == 0
    pair = page.locator(".pairs td button").first
    pair.click()
    assert pair.get_attribute("aria-pressed") == "true"
    assert "taken for" in text.inner_text()
    cells.first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.cell").startswith("0-")
    assert page.evaluate("document.activeElement.dataset.cell") != "0-0"
    page.keyboard.press("ArrowDown")
    assert not page.evaluate("document.activeElement.dataset.cell").startswith("0-")


@pytest.mark.parametrize("name", ["comparison", "evaluation"])
def test_the_tab_key_reaches_all_and_the_focus_is_seen(name, open_page, request):
    page = open_page(request.getfixturevalue(name))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    expected = page.evaluate("""() => [...document.querySelectorAll(
        "a[href], button, input, select, [tabindex='0']")].filter(e => e.tabIndex >= 0).length""")
    reached, unseen = 1, []
    for _ in range(expected - 1):
        page.keyboard.press("Tab")
        seen = page.evaluate("""() => { const e = document.activeElement, s = getComputedStyle(e);
            return [e.tagName, s.outlineStyle !== "none" || s.fillOpacity !== "1"]; }""")
        if seen[0] == "BODY":
            break
        reached += 1
        unseen += [] if seen[1] else [seen]
    assert reached == expected
    assert unseen == []


@pytest.mark.parametrize("name", ["comparison", "evaluation"])
def test_on_paper_all_is_unfolded_and_light(name, open_page, request, tmp_path):
    page = open_page(request.getfixturevalue(name), scheme="dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(media="print", color_scheme="dark")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark, light) == ("rgb(20, 23, 27)", "rgb(255, 255, 255)")
    cut = page.evaluate("""() => [...document.querySelectorAll(".scroll")].filter(
        e => e.scrollHeight > e.clientHeight + 2).length""")
    assert cut == 0
    assert page.locator(".tools:visible").count() == 0
    page.pdf(path=tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_a_thousand_classes(open_page, tmp_path):
    generator = np.random.default_rng(0)
    e, _, _ = random_evaluation(num_images=3000, num_classes=1000, skill=6.0)
    edges = tuple(
        Edge(int(a), int((a + 1 + generator.integers(900)) % 1000), 0.4) for a in range(1000)
    )
    write_evaluation_page(dataclasses.replace(e, text_edges=edges), tmp_path / "page.html")
    page = open_page(tmp_path / "page.html", "phone")
    assert page.locator("#class-table tbody tr").count() == 1000
    page.locator(".graphs select").select_option(label="class 7")
    assert page.locator(".near-list li").count() >= 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
