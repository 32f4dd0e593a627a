"""The README's table and the figure, from the committed results."""

import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

Results = dict[tuple[str, int], dict[str, Any]]

BEGIN, END = "<!-- results -->", "<!-- end -->"
CONVOLUTIONS = "<!-- convolutions -->"
SETS = ("imagenet_fewshot", "flowers102_images", "ucf101_images")
TABLE_SIZES = (100, 400, 1000)
MODES = ("forward", "frozen", "trained")
LABELS = {
    "bare_products": "bare products",
    "complete": "KnowledgeConv, no edges",
    "sparse": "KnowledgeConv, sparse matrix",
    "edge_list": "KnowledgeConv, edge list",
    "gcn_conv": "GCNConv on all graphs",
    "graph_per_class": "one dense graph a class",
    "knn_graph_build": "knowledge_graph, k = 16",
    "knn_sparse": "KnowledgeConv, sparse, k = 16",
    "knn_edge_list": "KnowledgeConv, edge list, k = 16",
}
STYLES = {
    "bare_products": {"color": "#777777", "linestyle": "--", "marker": ""},
    "complete": {"color": "#0072b2", "marker": "o", "linewidth": 2.4},
    "sparse": {"color": "#009e73", "marker": "s"},
    "edge_list": {"color": "#e69f00", "marker": "^"},
    "gcn_conv": {"color": "#cc79a7", "marker": "D"},
    "graph_per_class": {"color": "#d55e00", "marker": "v"},
}


def load(folder: Path) -> Results:
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return {(result["case"], result["num_classes"]): result for result in results}


def number(value: float) -> str:
    """Three significant digits, never an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cells(result: dict[str, Any], mode: str) -> list[str]:
    """Time, its ratio to the floor, and peak memory of one mode."""
    at = result.get(mode, {})
    if "estimated_bytes" in at:
        return ["-", "-", f"~ {number(at['estimated_bytes'] / 1e6)}"]
    if not at:
        return ["", "", ""]
    ratio, memory = at["ratio"], at["peak_bytes"] / 1e6
    return [
        number(1e3 * at["seconds"]),
        number(ratio) if ratio >= 10 else f"{ratio:.2f}",
        number(memory) if memory >= 1 else "< 1",
    ]


def row(result: dict[str, Any], suffix: str = "") -> str:
    columns = [cell for mode in MODES for cell in cells(result, mode)]
    name = LABELS[result["case"]] + suffix
    return f"| {result['num_classes']} | {name} | " + " | ".join(columns) + " |"


def table(plain: Results, scatter: Results) -> str:
    """One row a case, at the sizes that tell most; the others are in the JSON files."""
    head = [f"{mode}, ms | x floor | MB" for mode in MODES]
    rows = ["| C | | " + " | ".join(head) + " |", "| --: | :-- |" + " --: |" * 3 * len(MODES)]
    knn = sorted({size for name, size in plain if name.startswith("knn_")})
    for group, sizes in ((False, TABLE_SIZES), (True, knn)):
        for size in sizes:
            for name in LABELS:
                if (name, size) in plain and name.startswith("knn_") == group:
                    rows.append(row(plain[name, size]))
                    if name.endswith("edge_list") and (name, size) in scatter:
                        rows.append(row(scatter[name, size], " (with torch-scatter)"))
    return "\n".join(rows)


def against_published(results: Results) -> str:
    """How much faster the complete route is than the definition, and how equal all cases are."""
    size = max(
        size
        for (name, size), result in results.items()
        if name == "graph_per_class" and "seconds" in result["frozen"]
    )
    slow, fast = results["graph_per_class", size], results["complete", size]
    ratios = [
        f"{number(slow[mode]['seconds'] / fast[mode]['seconds'])} ({mode})"
        for mode in MODES
        if "seconds" in slow.get(mode, {})
    ]
    differences = [result["difference"] for result in results.values() if "difference" in result]
    output = max(difference["output"] for difference in differences)
    gradient = max(difference.get("gradients_relative", 0.0) for difference in differences)
    return (
        f"At C = {size}, one dense graph a class takes, over KnowledgeConv without edges, times "
        f"{', '.join(ratios)}. Up to C = 100, the outputs of all cases differ by at most "
        f"{output:.1e}, their gradients by {gradient:.1e} of the largest entry."
    )


def environment_line(results: Results) -> str:
    """Hardware and versions of the results shown."""
    shown = []
    for result in results.values():
        at = result["environment"]
        words = (
            f"{at['cpu']}, {at['cores']} cores, {at['threads']} threads; Python {at['python']}, "
            f"PyTorch {at['torch']}, PyTorch Geometric {at['torch_geometric']}."
        )
        if words not in shown:
            shown.append(words)
    return " / ".join(shown)


def draw(results: Results, path: Path) -> None:
    """Time and peak memory of a training step over the number of classes."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    for name, style in STYLES.items():
        points = sorted(
            (size, result["frozen"])
            for (case, size), result in results.items()
            if case == name and "seconds" in result["frozen"]
        )
        sizes = [size for size, _ in points]
        style = {"linewidth": 1.6, "markersize": 5, "label": LABELS[name], **style}
        left.plot(sizes, [1e3 * at["seconds"] for _, at in points], **style)
        right.plot(sizes, [at["peak_bytes"] / 1e6 for _, at in points], **style)
    left.set(ylabel="forward + backward [ms]", title="Time of a step that trains W and b")
    right.set(ylabel="peak memory above the inputs [MB]", title="Memory of that step")
    ticks = sorted({size for name, size in results if name in STYLES})
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="classes C (D = 512)")
        axes.set_xticks(ticks, [str(size) for size in ticks])
        axes.minorticks_off()
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=150)


def mean_of(values: list[float]) -> str:
    """Mean and deviation over draws."""
    deviation = f" ± {stdev(values):.2f}" if len(values) > 1 else " (one draw)"
    return f"{fmean(values):.2f}{deviation}"


def convolution_tables(folder: Path) -> list[str]:
    """One table per data set, the best by validation first."""
    header = ("convolution", "weights", "validation, %", "test, %", "step, ms", "x", "parameters")
    parts = []
    for name in SETS:
        results = [json.loads(path.read_text()) for path in sorted((folder / name).glob("*.json"))]
        lines = [f"| {' | '.join(header)} |", "| :-- | :-- | --: | --: | --: | --: | --: |"]
        for result in sorted(results, key=lambda result: -fmean(result["validation"])):
            step = result.get("step")
            cost = f"{number(step['second_ms'])} | {step['ratio']:.2f}" if step else " | "
            lines.append(
                f"| {result['row']} | {result['weights']} | {mean_of(result['validation'])} | "
                f"{mean_of(result['test'])} | {cost} | {result['parameters']:,} |"
            )
        if results:
            parts.append(f"### {name.split('_')[0]}\n\n" + "\n".join(lines))
    return parts


def put(readme: Path, begin: str, parts: list[str]) -> None:
    """Rewrites what stands between a marker and the next end."""
    before, _, rest = readme.read_text().partition(begin)
    readme.write_text(before + "\n\n".join([begin, *parts, END]) + rest.partition(END)[2])


def write_report(root: Path, here: Path) -> None:
    """Rewrites what stands between the markers in the README, and the figure."""
    plain, scatter = load(root / "without_scatter"), load(root / "with_scatter")
    parts = [environment_line(plain), table(plain, scatter), against_published(plain)]
    put(here / "README.md", BEGIN, parts)
    put(here / "README.md", CONVOLUTIONS, convolution_tables(root / "convolutions"))
    draw(plain, here / "figure.png")
