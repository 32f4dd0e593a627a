"""What decoding, preprocessing and the cache cost beside the bare vision tower.

    python benchmarks/encoding/run.py speed IMAGES [--tower vit-b16] [--device cuda]
    python benchmarks/encoding/run.py memory
    python benchmarks/encoding/run.py kill

speed: images per second of Encoder.encode_images on image files, and of the bare tower on tensors
that are in memory already, in turn, in one process. memory: the largest memory that encoding 10,000
images takes, of all processes together. kill: an encoding that is killed at a random moment, twenty
times, against one that is not.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel

from pyg_graphadapter import Encoder
from pyg_graphadapter.data import list_images
from pyg_graphadapter.storage import versions

RESULTS = Path(__file__).parent / "results"
PROGRAM = """
import sys
from pathlib import Path
from pyg_graphadapter import Encoder
images, cache, workers = sys.argv[1:]
encoder = Encoder.from_pretrained("builtin", workers=int(workers))
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
    encoder = tower(kind, device, workers)
    files = list_images([images])
    batch = torch.randn(encoder.batch_size, 3, 224, 224, device=encoder.device)
    batch = batch.contiguous(memory_format=torch.channels_last)
    count = max(1, len(files) // len(batch))

    @torch.inference_mode()
    def bare() -> float:
        start = time.perf_counter()
        for _ in range(count):
            encoder.model.get_image_features(pixel_values=batch).pooler_output.cpu()
        return count * len(batch) / (time.perf_counter() - start)

    def whole() -> float:
        start = time.perf_counter()
        found = encoder.encode_images(files, progress=False)
        return len(found.x) / (time.perf_counter() - start)

    bare(), whole()
    pairs = [(bare(), whole()) for _ in range(repeats)]
    return {
        "tower": kind,
        "device": device,
        "workers": encoder.workers,
        "threads": torch.get_num_threads(),
        "images": len(files),
        "bare": [round(a, 1) for a, _ in pairs],
        "encode_images": [round(b, 1) for _, b in pairs],
        "ratio": round(statistics.median(b / a for a, b in pairs), 3),
    }


def write_images(folder: Path, count: int, side: int) -> None:
    """Photographs of noise, each another."""
    generator = np.random.default_rng(0)
    for i in range(count):
        pixels = generator.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:05}.jpg", quality=60)


def start(images: Path, cache: Path, workers: int = 0) -> subprocess.Popen:
    """A process that encodes a folder."""
    command = [sys.executable, "-c", PROGRAM, str(images), str(cache), str(workers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def memory(count: int, workers: int) -> dict:
    """The largest resident memory of a process that encodes, and of its children."""
    with tempfile.TemporaryDirectory() as scratch:
        images = Path(scratch) / "images"
        images.mkdir()
        write_images(images, count, 128)
        begin, largest = time.perf_counter(), 0
        with start(images, Path(scratch) / "cache", workers) as process:
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


def kill(times: int, count: int) -> dict:
    """Kills an encoding at random moments, lets it end, and compares."""
    generator = random.Random(0)
    with tempfile.TemporaryDirectory() as scratch:
        images, cache = Path(scratch) / "images", Path(scratch) / "cache"
        images.mkdir()
        write_images(images, count, 256)
        survived = 0
        for _ in range(times):
            with start(images, cache) as process:
                process.stdout.readline()
                time.sleep(generator.uniform(0.0, 12.0))
                survived += process.poll() is not None
                process.kill()  # nothing is sent to one that has ended
        shards = len(list(cache.rglob("*.safetensors")))
        encoder = Encoder.from_pretrained("builtin")
        files = sorted(images.iterdir())
        resumed = encoder.encode_images(files, cache=cache, progress=False)
        whole = encoder.encode_images(files, progress=False)
        return {
            "images": count,
            "killed": times - survived,
            "ended_before": survived,
            "shards_before_the_last_run": shards,
            "encoded_by_the_last_run": resumed.num_encoded,
            "largest_difference": float((resumed.x - whole.x).abs().max()),
        }


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["speed", "memory", "kill"])
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--tower", choices=["builtin", "vit-b16"], default="builtin")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--count", type=int, help="images of memory (10000) and kill (6000)")
    parser.add_argument("--times", type=int, default=20)
    arguments = parser.parse_args()
    if arguments.what == "speed":
        name = f"speed-{arguments.tower}-{arguments.device}"
        found = speed(
            arguments.images,
            arguments.tower,
            arguments.device,
            arguments.workers,
            arguments.repeats,
        )
        name += "" if arguments.workers is None else f"-workers{arguments.workers}"
    elif arguments.what == "memory":
        name, found = "memory", memory(arguments.count or 10_000, arguments.workers or 0)
    else:
        name, found = "kill", kill(arguments.times, arguments.count or 6000)
    found |= {"versions": versions(), "machine": f"{os.cpu_count()} cores, {platform.machine()}"}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
