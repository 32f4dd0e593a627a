"""What do decoding, preprocessing and the cache cost beside the bare vision tower?

    python benchmarks/encoding/run.py --images IMAGES
    python benchmarks/encoding/run.py speed --images IMAGES --tower vit-b16 [--device cuda]
    python benchmarks/encoding/run.py --quick --json FILE

speed: images per second of Encoder.encode_images on image files, and of the bare tower on tensors
that are in memory already, in turn, in one process. memory: the largest memory that encoding 10,000
images takes, of all processes together. kill: an encoding that is killed at a random moment, twenty
times, against one that is not. growth: the time over the number of images. profile: where the time
of `graphadapter fit IMAGES` goes. Without a word, all five; without IMAGES (class folders), images
of noise.
"""

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, VisionTextDualEncoderModel

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import exponent, parser_of, seconds, sized, write_down

from pyg_graphadapter import Encoder, EncodingConfig, cli
from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier
from pyg_graphadapter.data import list_images
from pyg_graphadapter.encoding import image_batches, sources
from pyg_graphadapter.encoding.cache import FeatureCache
from pyg_graphadapter.encoding.views import Views

SIZES, QUICK_SIZES, TINY_SIZES = (100, 200, 400, 800), (16, 32, 64), (4, 8)
PROGRAM = """
import sys
from pathlib import Path
from pyg_graphadapter import Encoder
images, cache, device, workers = sys.argv[1:]
encoder = Encoder.from_pretrained("builtin", device=device, workers=int(workers))
print("ready", flush=True)
found = encoder.encode_images(sorted(Path(images).iterdir()), cache=Path(cache), progress=False)
print(len(found.x), found.num_encoded, flush=True)
"""


def tower(kind: str, device: str, workers: int | None) -> Encoder:
    """The built-in encoder, or one with a ViT-B/16 of random weights in its place."""
    if kind == "builtin":
        return Encoder.from_pretrained("builtin", device=device, workers=workers)
    built_in = Encoder.from_pretrained("builtin")
    config = CLIPConfig(
        text_config={"num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 2},
        vision_config={
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "patch_size": 16,
        },
    )
    torch.manual_seed(0)
    return Encoder(
        CLIPModel(config),
        built_in.processor,
        built_in.tokenizer,
        name=kind,
        device=device,
        workers=workers,
    )


def speed(images: Path, kind: str, device: str, workers: int | None, repeats: int) -> dict:
    """Images per second of both, and their ratio, each the median over the repeats."""
    encodes = tower(kind, device, workers)
    files = list_images([images])
    batch = torch.randn(encodes.batch_size, 3, 224, 224, device=encodes.device)
    batch = batch.contiguous(memory_format=torch.channels_last)
    count = max(1, len(files) // len(batch))

    @torch.inference_mode()
    def bare() -> float:
        start = time.perf_counter()
        for _ in range(count):
            encodes.model.get_image_features(pixel_values=batch).pooler_output.cpu()
        return count * len(batch) / (time.perf_counter() - start)

    def whole() -> float:
        start = time.perf_counter()
        found = encodes.encode_images(files, progress=False)
        return len(found.x) / (time.perf_counter() - start)

    bare(), whole()
    pairs = [(bare(), whole()) for _ in range(repeats)]
    return {
        "tower": kind,
        "device": device,
        "workers": encodes.pipeline.workers,
        "threads": torch.get_num_threads(),
        "images": len(files),
        "bare": [round(a, 1) for a, _ in pairs],
        "encode_images": [round(b, 1) for _, b in pairs],
        "ratio": round(statistics.median(b / a for a, b in pairs), 3),
    }


def write_images(folder: Path, count: int, side: int, seed: int = 0) -> None:
    """Photographs of noise, each another."""
    generator = np.random.default_rng(seed)
    for i in range(count):
        pixels = generator.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:05}.jpg", quality=60)


def start(images: Path, cache: Path, device: str, workers: int = 0) -> subprocess.Popen:
    """A process that encodes a folder."""
    command = [sys.executable, "-c", PROGRAM, str(images), str(cache), device, str(workers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def memory(count: int, device: str, workers: int) -> dict:
    """The largest resident memory of a process that encodes, and of its children."""
    with tempfile.TemporaryDirectory() as scratch:
        images = Path(scratch) / "images"
        images.mkdir()
        write_images(images, count, 128)
        begin, largest = time.perf_counter(), 0
        with start(images, Path(scratch) / "cache", device, workers) as process:
            while process.poll() is None:
                try:
                    family = [psutil.Process(process.pid)]
                    family += family[0].children(recursive=True)
                    largest = max(largest, sum(each.memory_info().rss for each in family))
                except psutil.NoSuchProcess:
                    pass
                time.sleep(0.2)
            printed = process.stdout.read().split()
        if process.returncode != 0:
            raise SystemExit(f"The process that encodes ended with {process.returncode}.")
        return {
            "images": int(printed[1]),
            "workers": workers,
            "peak_megabytes": round(largest / 2**20),
            "seconds": round(time.perf_counter() - begin),
        }


def kill(times: int, count: int, longest: float, device: str) -> dict:
    """Kills an encoding at random moments, lets it end, and compares."""
    generator = random.Random(0)
    with tempfile.TemporaryDirectory() as scratch:
        images, cache = Path(scratch) / "images", Path(scratch) / "cache"
        images.mkdir()
        write_images(images, count, 256)
        survived = 0
        for _ in range(times):
            with start(images, cache, device) as process:
                process.stdout.readline()
                time.sleep(generator.uniform(0.0, longest))
                survived += process.poll() is not None
                process.kill()  # nothing is sent to one that has ended
        shards = len(list(cache.rglob("*.safetensors")))
        encodes = Encoder.from_pretrained("builtin", device=device)
        files = sorted(images.iterdir())
        resumed = encodes.encode_images(files, cache=cache, progress=False)
        whole = encodes.encode_images(files, progress=False)
        return {
            "images": count,
            "killed": times - survived,
            "ended_before": survived,
            "shards_before_the_last_run": shards,
            "encoded_by_the_last_run": resumed.num_encoded,
            "largest_difference": float((resumed.x - whole.x).abs().max()),
        }


def growth(sizes: tuple[int, ...], device: str, repeats: int) -> dict:
    """Seconds over the number of images, in turn, and the exponent."""
    encodes = Encoder.from_pretrained("builtin", device=device)
    with tempfile.TemporaryDirectory() as images:
        write_images(Path(images), max(sizes), 128)
        files = sorted(Path(images).iterdir())

        def timed(count: int) -> float:
            return seconds(lambda: encodes.encode_images(files[:count], progress=False), device)

        timed(min(sizes))
        turns = [[timed(count) for count in sizes] for _ in range(repeats)]
    medians = [statistics.median(each) for each in zip(*turns, strict=True)]
    return {
        "images": sizes,
        "seconds": [round(each, 2) for each in medians],
        "exponent": exponent(sizes, medians),
    }


class Profile:
    """The CPU time of functions, less that of others among them that they call."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside = threading.local()

    def watch(self, owner: object, name: str, part: str) -> None:
        """Adds what ``owner.name`` takes to a part."""
        original = getattr(owner, name)

        def timed(*args, **kwargs):
            stack = self._inside.__dict__.setdefault("stack", [])
            stack.append(0.0)
            begin = time.thread_time()
            try:
                return original(*args, **kwargs)
            finally:
                spent = time.thread_time() - begin
                self.seconds[part] += spent - stack.pop()
                if stack:
                    stack[-1] += spent

        setattr(owner, name, timed)


def profile(images: Path, device: str) -> dict:
    """Shares of the CPU time of `graphadapter fit IMAGES`, on one thread, from its start."""
    torch.set_num_threads(1)
    found = Profile()
    found.seconds["imports"] = time.process_time()  # since the process was started
    for owner, name, part in (
        (VisionTextDualEncoderModel, "get_image_features", "vision tower"),
        (VisionTextDualEncoderModel, "get_text_features", "text tower"),
        (image_batches, "decode_image", "decoding"),
        (Views, "__call__", "preprocessing"),
        (image_batches, "digest_of", "hashing"),
        (FeatureCache, "read", "cache"),
        (FeatureCache, "write", "cache"),
        (FeatureCache, "has", "cache"),
        (EncodingConfig, "load", "loading the model"),
        (sources, "open_source", "listing images"),
        (FewShotClassifier, "fit", "training"),
    ):
        found.watch(owner, name, part)
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["fit", str(images), "--model", "builtin", "--shots", "16"]
        arguments += ["--out", f"{folder}/classifier", "--cache-dir", f"{folder}/cache"]
        arguments += ["--device", device]
        cli.app(arguments, standalone_mode=False)
    whole = time.process_time()
    spent = dict(found.seconds)
    spent["all else"] = whole - sum(spent.values())
    shares = {part: round(100 * each / whole, 1) for part, each in spent.items()}
    return {
        "seconds": round(whole, 1),
        "percent": dict(sorted(shares.items(), key=lambda item: -item[1])),
    }


def passed_on(arguments: argparse.Namespace) -> list[str]:
    """The options that all benchmarks have, as they were given."""
    given = ["--device", arguments.device]
    given += ["--quick"] * arguments.quick + ["--tiny"] * arguments.tiny
    return given if arguments.json is None else [*given, "--json", str(arguments.json)]


def main() -> None:
    """Reads the command line."""
    parser = parser_of(__doc__.splitlines()[0], Path(__file__).parent)
    whats = ["speed", "memory", "kill", "growth", "profile"]
    parser.add_argument("what", choices=[*whats, "all"], nargs="?", default="all")
    parser.add_argument("--images", type=Path, help="class folders; of noise if not given")
    parser.add_argument("--tower", choices=["builtin", "vit-b16"], default="builtin")
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()
    device = arguments.device
    with tempfile.TemporaryDirectory() as scratch:
        images = arguments.images
        if images is None:
            images = Path(scratch) / "noise"
            for c in range(2):
                folder = images / f"class_{c}"
                folder.mkdir(parents=True)
                count = sized(arguments, 2560 if device == "cuda" else 48, 24, 17)
                write_images(folder, count, 256, seed=c)
        for what in whats if arguments.what == "all" else [arguments.what]:
            name = f"{what}-{device}"
            if what == "speed":
                name = f"speed-{arguments.tower}-{device}"
                repeats = sized(arguments, 7, 3, 1)
                found = speed(images, arguments.tower, device, arguments.workers, repeats)
            elif what == "memory":
                found = memory(sized(arguments, 10_000, 100, 8), device, arguments.workers or 0)
            elif what == "kill":
                sizes = sized(arguments, (20, 6000, 12.0), (2, 100, 1.0), (1, 16, 0.5))
                found = kill(*sizes, device)
            elif what == "growth":
                sizes = sized(arguments, SIZES, QUICK_SIZES, TINY_SIZES)
                found = growth(sizes, device, sized(arguments, 5, 3, 1))
            elif arguments.what == "profile":
                found = profile(images, device)
            else:  # in a process of its own, whose start counts
                command = [sys.executable, __file__, "profile", "--images", images]
                subprocess.run([*map(str, command), *passed_on(arguments)], check=True)
                continue
            write_down(arguments, found, name)


if __name__ == "__main__":
    main()
