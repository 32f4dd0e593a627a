"""What does a training step of GraphAdapter cost beside the matrix products that it needs?

    python benchmarks/training/run.py
    python benchmarks/training/run.py --quick --json FILE

step: the step and its products in turns, and the rate of one large product. classes, widths, shots:
how the time of a step, or of training, grows with them. plain: against the form with one dense
graph per class, inside the step. precision: bfloat16 against float32, on processors and GPUs with
instructions for bfloat16. seeds: three trained as a batch against one after the other. training:
1000 classes, 16 shots, width 1024, 100 epochs, on made-up features (with --quick, one epoch). coop:
memory of one step of CoOp on 1000 classes, with a text tower of CLIP ViT-B's size. On a GPU, a step
is a CUDA graph, as in training of 500 steps or more.
"""

import math
import statistics
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import (
    FIXED,
    exponent,
    in_a_process,
    parser_of,
    seconds,
    side_by_side,
    sized,
    write_down,
)
from transformers import CLIPConfig, CLIPModel

from pyg_graphadapter import Encoder, Features, FewShotTask, GraphAdapter, TrainConfig, train
from pyg_graphadapter.adapters import CoOp, graph_adapter
from pyg_graphadapter.device import has_bfloat16
from pyg_graphadapter.graph import unit
from pyg_graphadapter.training.engine import train_together
from pyg_graphadapter.training.training_step import MIN_STEPS_TO_RECORD, training_steps

BATCH = 256
TEMPERATURE = 2.0
WIDTHS = (512, 1024)
CLASSES = (500, 1000, 2000, 4000)
GROWING_WIDTHS = (256, 512, 1024, 2048)
SHOTS = (1, 2, 4, 8, 16)
SEED_SIZES = ((10, 64), (10, 256), (15, 384), (50, 384), (10, 512), (100, 512))  # classes, width
SEEDS = (1, 2, 3)
PLAIN = (400, 512)  # classes and width
QUICK_PLAIN = (100, 512)


class Step:
    """One training step on made-up features, optimizer included."""

    def __init__(
        self,
        num_classes: int,
        width: int,
        device: str,
        dtype: torch.dtype = torch.float32,
        precision: str = "float32",
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        text, prototypes = torch.randn(2, num_classes, width, generator=generator).to(device, dtype)
        self.adapter = GraphAdapter(text, prototypes).to(device).train()
        self.x = unit(torch.randn(BATCH, width, generator=generator).to(device, dtype))
        self.y = torch.randint(num_classes, (BATCH,), generator=generator).to(device)
        config = TrainConfig(temperature=TEMPERATURE, precision=precision).completed(GraphAdapter)
        self.steps = training_steps(self.adapter, self.x, self.y, config, MIN_STEPS_TO_RECORD)
        self.step = self.steps.__enter__()  # until the process ends
        self.optimizer = self.step.optimizer
        self.batch = torch.randperm(BATCH, generator=generator).expand(2, -1).to(device)

    def __call__(self) -> None:
        self.step(self.batch)


def bare_products(num_classes: int, width: int, device: str):
    """The products of a step, into allocated memory."""
    messages = torch.randn(2, num_classes, width, device=device)
    weights = torch.randn(2, width, width, device=device)
    x, logits = (
        torch.randn(BATCH, width, device=device),
        torch.randn(BATCH, num_classes, device=device),
    )
    features, out = torch.randn(2, num_classes, width, device=device)

    def products() -> None:
        for side in range(2):
            torch.mm(messages[side], weights[side].t(), out=out)
        torch.mm(x, features.t(), out=logits)
        torch.mm(logits.t(), x, out=out)
        for side in range(2):
            torch.mm(features.t(), messages[side], out=weights[side])

    return products


def floating_point_operations(num_classes: int, width: int) -> int:
    """Floating-point operations of the products of a step."""
    return 8 * num_classes * width**2 + 4 * BATCH * num_classes * width


def matrix_rate(size: int, device: str, repeats: int) -> float:
    """GFLOP/s of one large product."""
    first, second, out = torch.randn(3, size, size, device=device)

    def product() -> None:
        torch.mm(first, second, out=out)

    product()
    fastest = min(seconds(product, device, 3) for _ in range(repeats))
    return 2 * size**3 / fastest / 1e9


def step(num_classes: int, matrix_size: int, device: str, repeats: int) -> dict:
    """The step against its products, at the width of ViT-B/32 and of ResNet-50."""
    results = {"matrix_gflops": round(matrix_rate(matrix_size, device, repeats))}
    for width in WIDTHS:
        bare = bare_products(num_classes, width, device)
        measured = side_by_side(bare, Step(num_classes, width, device), device, repeats)
        operations = floating_point_operations(num_classes, width)
        measured["step_gflops"] = round(operations / measured["second_ms"] / 1e6)
        measured["of_the_matrix_rate"] = round(
            measured["step_gflops"] / results["matrix_gflops"], 2
        )
        results[f"width {width}"] = measured
    return results


def growth(sizes: tuple[int, ...], calls: list, device: str, repeats: int, times: int = 5) -> dict:
    """The time of calls of several sizes, in turn, and the exponent of its growth."""
    for call in calls:
        seconds(call, device, times)  # on a GPU, this records the steps
    turns = [[seconds(call, device, times) for call in calls] for _ in range(repeats)]
    medians = [statistics.median(times) for times in zip(*turns, strict=True)]
    return {
        "sizes": sizes,
        "ms": [round(1e3 * median, 2) for median in medians],
        "exponent": exponent(sizes, medians),
    }


def task_of(num_classes: int, width: int, shots: int, seed: int = 0) -> FewShotTask:
    """A task of made-up features."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(num_classes).repeat(shots)
    text = torch.randn(num_classes, width, generator=generator)
    x = text[y] + 3 * torch.randn(len(y), width, generator=generator)
    return FewShotTask(tuple(map(str, range(num_classes))), text, Features(x, y))


def shots(num_classes: int, sizes: tuple[int, ...], device: str, repeats: int) -> dict:
    """Training for two epochs, with one to sixteen labelled images per class."""
    tasks = [task_of(num_classes, WIDTHS[0], num_shots) for num_shots in sizes]
    config = TrainConfig(epochs=2, device=device)

    def trains(task: FewShotTask):
        adapter = GraphAdapter.from_task(task, **FIXED)
        return lambda: train(adapter, task, config, progress=False)

    return growth(sizes, [trains(task) for task in tasks], device, repeats, 1)


def seeds(sizes: tuple[tuple[int, int], ...], device: str, repeats: int) -> dict:
    """Three seeds as a batch against one after the other, with the default settings. On a CPU, this
    includes sizes at which the library does not make a batch."""
    results = {}
    graph_adapter.STACKED_PARAMETERS = math.inf
    num_threads = torch.get_num_threads()
    for threads in sorted({1, num_threads}):
        torch.set_num_threads(threads)
        for num_classes, width in sizes:
            tasks = [task_of(num_classes, width, 16, seed) for seed in SEEDS]
            adapters = [GraphAdapter.from_task(task, **FIXED) for task in tasks]
            config = TrainConfig(device=device)

            def one_by_one(tasks=tasks, adapters=adapters, config=config) -> None:
                for adapter, task in zip(adapters, tasks, strict=True):
                    train(adapter, task, config, progress=False)

            def as_a_batch(tasks=tasks, adapters=adapters, config=config) -> None:
                train_together(adapters, tasks, config, SEEDS, progress=False)

            results[f"{num_classes} classes, width {width}, threads: {threads}"] = {
                "parameters": adapters[0].num_parameters(),
                **side_by_side(one_by_one, as_a_batch, device, repeats, times=1),
            }
    torch.set_num_threads(num_threads)
    return results


def plain_weights(text: Tensor, prototypes: Tensor, adapter: GraphAdapter) -> Tensor:
    """The class features by one dense graph per class, of all nodes and the class."""
    conv = adapter.conv
    sides = []
    for nodes, side in ((text, conv.text_conv), (prototypes, conv.image_conv)):
        x = torch.cat([nodes.expand(len(text), -1, -1), text.unsqueeze(1)], dim=1)  # [C, C + 1, D]
        cosine = F.normalize(x, dim=2) @ F.normalize(x, dim=2).mT
        diagonal = torch.eye(x.size(1), dtype=torch.bool, device=x.device)
        weight = cosine.relu().masked_fill(diagonal, side.self_loop_weight)
        scale = weight.sum(dim=2).rsqrt()
        h = (scale.unsqueeze(2) * weight * scale.unsqueeze(1)) @ (x @ side.lin.weight.t())
        sides.append((h[:, -1] + side.bias).tanh())
    z = torch.lerp(sides[1], sides[0], conv.beta)
    return torch.lerp(z, text, adapter.config.alpha)


def plain_step(step: Step) -> None:
    """A step of the plain form, by automatic differentiation."""
    adapter = step.adapter
    weights = plain_weights(adapter.text, adapter.prototypes, adapter)
    logits = adapter.logit_scale * step.x @ F.normalize(weights, dim=1).t()
    step.optimizer.zero_grad()
    F.cross_entropy(logits / TEMPERATURE, step.y).backward()
    step.optimizer.step()


def _ours(size: tuple[int, int], device: str) -> dict:
    step = Step(*size, device)
    weight = step.adapter.conv.text_conv.lin.weight
    start = weight.clone()
    step(), step()
    return {"moved": not torch.equal(start, weight)}


def _plain(size: tuple[int, int], device: str) -> dict:
    plain_step(Step(*size, device))
    return {}


def plain(size: tuple[int, int], device: str, repeats: int) -> dict:
    """Against one dense graph per class: time, memory of a process, gradients in float64."""
    ours, reference = Step(*size, device), Step(*size, device)
    measured = side_by_side(ours, lambda: plain_step(reference), device, repeats, times=1)
    results = {"classes": size[0], "width": size[1], "times_faster": measured["ratio"]}
    kind = "peak_mb" if device == "cpu" else "gpu_mb"
    memory = [in_a_process(work, size, device)[kind] for work in (_ours, _plain)]
    results |= {"ours_mb": memory[0], "plain_mb": memory[1]}
    results["times_less_memory"] = round(memory[1] / memory[0], 1)
    pair = [Step(*size, device, torch.float64) for _ in range(2)]
    for step in pair:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            for parameter in step.adapter.parameters():
                torch.nn.init.normal_(parameter, std=0.02)
    pair[0].adapter.backward(pair[0].x, pair[0].y, TEMPERATURE)
    for group in pair[1].optimizer.param_groups:
        group["lr"] = 0.0
    plain_step(pair[1])
    results["gradients_differ_by"] = max(
        float((a.grad - b.grad).norm() / b.grad.norm())
        for a, b in zip(pair[0].adapter.parameters(), pair[1].adapter.parameters(), strict=True)
    )
    return results


def precision(num_classes: int, device: str, repeats: int) -> dict:
    """A step with factors in bfloat16 against one in float32. The README has the accuracies."""
    exact, lower = (
        Step(num_classes, WIDTHS[1], device, precision=name) for name in ("float32", "bfloat16")
    )
    return side_by_side(exact, lower, device, repeats, times=3)


def training(num_classes: int, device: str, epochs: int) -> dict:
    """16 shots, width 1024; with 1000 classes, this is ImageNet's size."""
    task = task_of(num_classes, 1024, 16)
    adapter = GraphAdapter.from_task(task, **FIXED)
    history = train(adapter, task, TrainConfig(epochs=epochs, device=device), progress=False)
    return {"epochs": epochs, "steps": history.steps, "seconds": round(history.seconds, 1)}


def _coop(num_classes: int, layers: int, device: str) -> dict:
    built_in = Encoder.from_pretrained("builtin")
    config = CLIPConfig(  # the text tower of CLIP ViT-B, with random weights
        text_config={"num_hidden_layers": layers, "hidden_size": 512, "num_attention_heads": 8,
                     "vocab_size": len(built_in.tokenizer), "bos_token_id": 2, "eos_token_id": 3},
        vision_config={"num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 2,
                       "intermediate_size": 64},
    )  # fmt: skip
    torch.manual_seed(0)
    encoder = Encoder(CLIPModel(config), built_in.processor, built_in.tokenizer, device=device)
    names = tuple(f"class number {c}" for c in range(num_classes))
    text = torch.randn(num_classes, 512)
    task = FewShotTask(names, text, Features(text, torch.arange(num_classes)), None, 100.0, encoder)
    adapter = CoOp.from_task(task, context_length=16).to(device).train()
    spent = seconds(
        lambda: adapter.backward(unit(text[:32]).to(device), torch.arange(32, device=device)),
        device,
    )
    return {"classes": num_classes, "seconds": round(spent, 1)}


def main() -> None:
    """Reads the command line."""
    arguments = parser_of(__doc__.splitlines()[0], Path(__file__).parent).parse_args()
    device = arguments.device

    def size(whole, quick, tiny):
        return sized(arguments, whole, quick, tiny)

    few, sizes = size(7, 3, 1), size(None, 3, 2)
    num_classes = size(1000, 1000, 50)
    classes = size(CLASSES, CLASSES[:3], (20, 50))
    large = 8192 if device == "cuda" else 2048
    matrix_size = size(large, large, 256)
    results = {
        "step": step(num_classes, matrix_size, device, size(11, 3, 1)),
        "classes": growth(
            classes, [Step(count, WIDTHS[0], device) for count in classes], device, few
        ),
        "widths": growth(
            GROWING_WIDTHS[:sizes],
            [Step(num_classes, width, device) for width in GROWING_WIDTHS[:sizes]],
            device,
            few,
        ),
        "precision": precision(num_classes, device, few)
        if has_bfloat16(torch.device(device))
        else None,
        "plain": plain(size(PLAIN, QUICK_PLAIN, (50, 64)), device, size(5, 3, 1)),
        "shots": shots(num_classes, SHOTS[:sizes], device, size(5, 2, 1)),
        "seeds": seeds(size(SEED_SIZES, SEED_SIZES[:2], SEED_SIZES[:1]), device, size(7, 3, 1)),
        "training": in_a_process(training, num_classes, device, size(100, 1, 1)),
        "coop": in_a_process(_coop, size(1000, 50, 32), size(12, 12, 1), device),
    }
    write_down(arguments, results)


if __name__ == "__main__":
    main()
