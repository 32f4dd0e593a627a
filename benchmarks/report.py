"""Tables and figures of the committed results of training, graph_scale, encoding and distributed.

    python benchmarks/report.py

Writes what lies in their `results` into their READMEs, between the marks, and draws their figures.
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

HERE = Path(__file__).parent


def read(folder: str, name: str = "cpu") -> dict[str, Any]:
    """A result file."""
    return json.loads((HERE / folder / "results" / f"{name}.json").read_text())


def measured_on(folder: str) -> list[str]:
    """The devices that there are results of."""
    results = HERE / folder / "results"
    return [device for device in ("cpu", "cuda") if (results / f"{device}.json").exists()]


def hardware(found: dict[str, Any]) -> str:
    """One line on what was measured on."""
    about = found["environment"]
    return (
        f"{about.get('gpu', about['cpu'])}, {about['cores']} cores, {about['threads']} threads; "
        f"Python {about['python']}, PyTorch {about['torch']}."
    )


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table, whose first column is text."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def put(folder: str, text: str) -> None:
    """Puts a text between the marks of a README."""
    path = HERE / folder / "README.md"
    block = f"<!-- results -->\n{text}\n<!-- end -->"
    old = path.read_text()
    path.write_text(re.sub("<!-- results -->.*?<!-- end -->", lambda _: block, old, flags=re.S))


def save(figure: Figure, folder: str) -> None:
    """Keeps a figure."""
    figure.savefig(HERE / folder / "figure.png", dpi=150)


def growth_of(kind: str, measured: dict[str, Any]) -> str:
    """How a step grows, in words."""
    sizes = zip(measured["sizes"], measured["ms"], strict=True)
    listed = ", ".join(f"{size:,}: {ms:,.1f} ms" for size, ms in sizes)
    return f"{kind} {listed}; exponent **{measured['exponent']:.2f}**."


def training_on(found: dict[str, Any]) -> list[str]:
    """What was measured on one device."""
    steps = [
        (name, f"{each['first_ms']:.1f}", f"{each['second_ms']:.1f}",
         f"**{each['ratio']:.2f}** ({each['ratio_low']:.2f} to {each['ratio_high']:.2f})",
         f"{each['of_the_matrix_rate']:.2f}")
        for name, each in found["step"].items() if name.startswith("width")
    ]  # fmt: skip
    seeds = [
        (name, f"{each['parameters']:,}", f"{each['first_ms']:.0f}", f"{each['second_ms']:.0f}",
         f"{each['ratio']:.2f}")
        for name, each in found["seeds"].items()
    ]  # fmt: skip
    plain, trained, coop = found["plain"], found["training"], found["coop"]
    memory = "gpu_mb" if "gpu" in found["environment"] else "peak_mb"
    return [
        hardware(found),
        table(
            ["1000 classes, 256 images", "products, ms", "step, ms", "ratio", "of the matrix rate"],
            steps,
        ),
        f"The matrix rate is that of a large product: {found['step']['matrix_gflops']:,} GFLOP/s.",
        growth_of("Classes, at width 512:", found["classes"]),
        growth_of("Width, at 1,000 classes:", found["widths"]),
        growth_of("Shots (two epochs of 1,000 classes, at width 512):", found["shots"]),
        f"Against one dense graph a class inside the step, {plain['classes']} classes: "
        f"**{plain['times_faster']:,.0f} times** faster, {plain['ours_mb']:.0f} MB against "
        f"{plain['plain_mb']:,.0f} MB (**{plain['times_less_memory']:.0f} times** less); gradients "
        f"in float64 differ by {plain['gradients_differ_by']:.0e} (relative).",
        f"`precision = bfloat16`: {found['precision']['ratio']:.2f} of the time of float32."
        if found["precision"]
        else "The processor has no instructions for bfloat16.",
        f"ImageNet's size, 16 shots, width 1024, {trained['epochs']} epochs: "
        f"**{trained['seconds'] / 60:.1f} minutes** ({trained['steps']:,} steps, "
        f"{trained[memory]:,.0f} MB).",
        f"CoOp, {coop['classes']:,} classes, a text tower of CLIP ViT-B's size: one step in "
        f"{coop['seconds']:.0f} s and **{coop[memory] / 1000:.1f} GB**.",
        table(
            ["three seeds, 16 shots", "parameters", "one by one, ms", "as a batch, ms", "ratio"],
            seeds,
        ),
    ]


def training() -> None:
    """The training step."""
    found = [read("training", device) for device in measured_on("training")]
    put("training", "\n\n".join(fact for each in found for fact in training_on(each)))
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    for each in found:
        classes = each["classes"]
        name = each["environment"].get("gpu", "CPU")
        axes.loglog(classes["sizes"], classes["ms"], marker="o", label=f"step, {name}")
        ideal = [classes["ms"][0] * size / classes["sizes"][0] for size in classes["sizes"]]
        axes.loglog(classes["sizes"], ideal, linestyle=":", color="grey", label="in proportion")
    axes.set(xlabel="classes", ylabel="ms", title="A training step, width 512, 256 images")
    axes.set_xticks(classes["sizes"], [f"{size:,}" for size in classes["sizes"]])
    axes.minorticks_off()
    axes.legend()
    save(figure, "training")


def graph_scale_on(found: dict[str, Any], names: dict[str, str]) -> list[str]:
    """What was measured on one device."""
    memory = "gpu_mb" if "gpu" in found["environment"] else "peak_mb"
    rows = [
        (names[kind], f"{row['classes']:,}", f"{row['seconds']:.3g}", f"{row[memory]:,.0f}",
         f"{row['layer_seconds']:.3g}" if "layer_seconds" in row else "")
        for kind in names
        for row in found[kind]["rows"]
    ]  # fmt: skip
    return [
        hardware(found),
        table(["graph", "classes", "s", "MB", "layer, forward and backward, s"], rows),
        "; ".join(
            f"{names[kind]}: exponent of time **{found[kind]['exponent_of_time']:.2f}**, of memory "
            f"**{found[kind]['exponent_of_memory']:.2f}**"
            for kind in names
        )
        + ".",
    ]


def graph_scale() -> None:
    """Graphs at scale, and what sparse ones cost in accuracy."""
    measured = [read("graph_scale", device) for device in measured_on("graph_scale")]
    accuracy = read("graph_scale", "accuracy")
    names = {"complete": "complete, collected", "neighbours": "16 nearest, built"}
    facts = [
        *(fact for found in measured for fact in graph_scale_on(found, names)),
        f"Accuracy (%) on ImageNet features of CLIP ViT-B/32, {accuracy['shots']} shots, with the "
        f"k nearest neighbours of every class, mean of {len(accuracy['seeds'])} draws:",
        table(
            ["k", *(row["k"] for row in accuracy["rows"])],
            [
                [
                    "",
                    *(
                        f"{row['accuracy']:.2f} ± {row['deviation']:.2f}"
                        for row in accuracy["rows"]
                    ),
                ]
            ],
        ),
    ]
    put("graph_scale", "\n\n".join(facts))
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    time, memory = figure.subplots(1, 2)
    found = measured[0]
    for kind, name in names.items():
        sizes = [row["classes"] for row in found[kind]["rows"]]
        time.loglog(sizes, [row["seconds"] for row in found[kind]["rows"]], marker="o", label=name)
        memory.loglog(
            sizes, [row["peak_mb"] for row in found[kind]["rows"]], marker="o", label=name
        )
    time.set(xlabel="classes", ylabel="s", title="Time")
    memory.set(xlabel="classes", ylabel="MB", title="Memory")
    time.legend()
    save(figure, "graph_scale")


def encoding() -> None:
    """The encoder beside its tower, its memory, kills, and where the time of `fit` goes."""
    towers = {"builtin": "built in (EfficientNet-Lite0)", "vit-b16": "ViT-B/16, random weights"}
    found = {name: read("encoding", f"speed-{name}-cpu") for name in towers}
    memory, kill, growth, profile = (
        read("encoding", f"{name}-cpu") for name in ("memory", "kill", "growth", "profile")
    )
    sizes = zip(growth["images"], growth["seconds"], strict=True)

    def span(values: list[float]) -> str:
        return f"{min(values):g} to {max(values):g}"

    facts = [
        hardware(found["builtin"]),
        table(
            ["tower", "bare, images/s", "`encode_images`, images/s", "ratio"],
            [
                (towers[name], span(each["bare"]), span(each["encode_images"]), each["ratio"])
                for name, each in found.items()
            ],
        ),
        f"{memory['images']:,} images are encoded in at most **{memory['peak_megabytes']} MB**. An "
        f"encoding of {kill['images']:,} images that was killed {kill['killed']} times, at random "
        f"moments, ends with features that differ by {kill['largest_difference']:g} from those of "
        f"one that was not; the last run encoded {kill['encoded_by_the_last_run']:,} of them.",
        f"Time: {', '.join(f'{count} images {s:.1f} s' for count, s in sizes)}; exponent "
        f"**{growth['exponent']:.2f}**.",
        f"Where the {profile['seconds']:.0f} s of CPU time of `graphadapter fit IMAGES` go "
        f"(CIFAR-10 images, 16 shots and the test split, the built-in encoder):",
        table(["part", "%"], profile["percent"].items()),
    ]
    put("encoding", "\n\n".join(facts))
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    parts = {part: share for part, share in profile["percent"].items() if share >= 0.1}
    axes.barh(list(parts)[::-1], list(parts.values())[::-1])
    axes.set(xlabel="% of the CPU time", title="graphadapter fit IMAGES")
    save(figure, "encoding")


def distributed() -> None:
    """Several processes against one."""
    found = read("distributed")
    speed = found["throughput"]
    turns = ", ".join(f"{each:.2f}" for each in speed["ratios"])
    ways = [
        ("two processes", found["two_processes_equal"]),
        ("two that know nothing of each other", found["two_apart_equal"]),
        (
            f"killed {found['killed']} times, restarted with 1 to 3 processes, ended by two that "
            f"know nothing of each other",
            found["killed_then_two_apart_equal"],
        ),
    ]
    facts = [
        hardware(found),
        table(["", "shards equal, byte by byte"], ways),
        f"{found['shards']} shards, of which the killed runs had made "
        f"{found['shards_before_the_last_run']}; of the files that are no images, one process told "
        f"{found['corrupt_images_told_by_one_and_two'][0]} and two told "
        f"{found['corrupt_images_told_by_one_and_two'][1]}.",
        f"Throughput: {speed['one_process_images_per_second']:g} images/s by one process with two "
        f"threads, {speed['two_processes_images_per_second']:g} by two with one each: "
        f"**{speed['ratio']:.2f}** (turns: {turns}). The largest process took "
        f"{found['peak_mb_of_a_process']:,} MB.",
    ]
    put("distributed", "\n\n".join(facts))
    figure = Figure(figsize=(4, 3), layout="constrained")
    axes = figure.subplots()
    rates = [speed["one_process_images_per_second"], speed["two_processes_images_per_second"]]
    axes.bar(["one process", "two processes"], rates, width=0.5)
    axes.set(ylabel="images/s", title="Encoding on two cores")
    save(figure, "distributed")


if __name__ == "__main__":
    for each in (training, graph_scale, encoding, distributed):
        each()
