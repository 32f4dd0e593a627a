"""Zero-shot against GraphAdapter on the images that ship with the package."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyg_graphadapter.adapters import Adapter, GraphAdapter, ZeroShot
from pyg_graphadapter.builtin import BUILTIN
from pyg_graphadapter.data import decode_image
from pyg_graphadapter.display import visible
from pyg_graphadapter.encoding.config import EncodingConfig
from pyg_graphadapter.encoding.encoder import Encoder
from pyg_graphadapter.encoding.image_source import ImageSource
from pyg_graphadapter.encoding.sources import evaluation_tasks
from pyg_graphadapter.experiment.grid import grid_runs, run_all
from pyg_graphadapter.experiment.run import Run
from pyg_graphadapter.optional import require
from pyg_graphadapter.outputs import check_output_folder, writing
from pyg_graphadapter.report.figures import accuracy_curve, picture_grid
from pyg_graphadapter.report.results import Row, summarize
from pyg_graphadapter.storage import prepare_folder
from pyg_graphadapter.task import FewShotTask
from pyg_graphadapter.training.config import TrainConfig
from pyg_graphadapter.training.engine import train
from pyg_graphadapter.training.evaluation import predict_logits

METHODS = ("zero_shot", "graph_adapter")
SHOTS = (1, 2, 4, 8, 16)
SEEDS = (1, 2, 3)
TEMPLATES = ("a photo of a {}.", "a drawing of a {}.", "clip art of a {}.", "{}")
PICTURES = 12
RESULTS, CURVE, EXAMPLES = "results", "accuracy.png", "predictions.png"


@dataclass(frozen=True)
class Demo:
    """The results of :func:`run_demo`.

    Args:
        rows (list of Row): The results, one row per method and number of shots.
        class_names (tuple of str): The classes.
        num_images (int): The number of test images.
        curve (Path): The picture of accuracy over shots.
        examples (Path): Some test images with their predictions.
    """

    rows: list[Row]
    class_names: tuple[str, ...]
    num_images: int
    curve: Path
    examples: Path


def run_demo(
    out: Path, seeds: Sequence[int] = SEEDS, config: TrainConfig | None = None, **encoding: object
) -> Demo:
    """Measures both methods on the built-in images, and draws the results.

    Args:
        out (Path): The folder for result files and pictures.
        seeds (sequence of int, optional): Seeds of draw and training. (default: :obj:`(1, 2, 3)`)
        config (TrainConfig, optional): How to train. (default: :obj:`None`)
        **encoding (optional): Fields of :class:`EncodingConfig`.

    Raises:
        ValueError: If the folder holds other files.
        MissingPackageError: If matplotlib is not installed.
    """
    require("matplotlib")
    check_output_folder(out)
    with writing(out):
        prepare_folder(out, lambda path: path.name in (RESULTS, CURVE, EXAMPLES))
    config = config or TrainConfig()
    encoder = Encoder.from_pretrained(BUILTIN, device=config.device)
    settings = EncodingConfig(templates=TEMPLATES, **encoding)  # type: ignore[arg-type]
    source = ImageSource(BUILTIN, encoder, settings)
    runs = grid_runs(METHODS, SHOTS, seeds, config, {})
    tasks = evaluation_tasks(source, product(SHOTS, seeds))
    results = run_all(runs, tasks, source.origin(), out / RESULTS)
    rows = summarize(results)
    accuracy_curve(rows, out / CURVE, f"{len(source.class_names)} classes of drawings")
    evaluation = tasks[max(SHOTS), seeds[0]]
    task = evaluation.task
    adapter = _as_in(results, runs, task)
    zero_shot = ZeroShot.from_task(task)
    x, y = evaluation.test.mean_views(), evaluation.test.y
    logits = [predict_logits(classifier, x) for classifier in (zero_shot, adapter)]
    pictures = _examples(len(x), seeds[0])
    picture_grid(
        [decode_image(source.splits["test"][i]["image"]) for i in pictures],
        [
            _caption(task.class_names, int(y[i]), *(method_logits[i] for method_logits in logits))
            for i in pictures
        ],
        out / EXAMPLES,
    )
    return Demo(rows, task.class_names, len(x), out / CURVE, out / EXAMPLES)


def _as_in(results: Sequence[dict[str, Any]], runs: Sequence[Run], task: FewShotTask) -> Adapter:
    """The adapter of the first run with the most shots, with the settings selected there."""
    i = next(
        i for i, run in enumerate(runs) if run.method == "graph_adapter" and run.shots == max(SHOTS)
    )
    names = {field.name for field in fields(GraphAdapter.Config)}
    settings = {name: value for name, value in results[i]["settings"].items() if name in names}
    adapter = GraphAdapter.from_task(task, **settings)
    train(adapter, task, runs[i].training, progress=False)
    return adapter


def _examples(count: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=generator)[:PICTURES].tolist()


def _caption(names: Sequence[str], label: int, zero_shot: Tensor, adapted: Tensor) -> str:
    names = list(map(visible, names))
    lines = [names[label]]
    for method, logits in (("zero-shot", zero_shot), ("GraphAdapter", adapted)):
        best = int(logits.argmax())
        lines.append(f"{method}: {names[best]} {'✓' if best == label else '✗'}")
    return "\n".join(lines)
