"""Do several processes encode as one does, and as fast as the cores allow?

    python benchmarks/distributed/run.py
    python benchmarks/distributed/run.py --quick --json FILE

Images of noise under the built-in encoder, by `graphadapter encode`: one process with two threads,
two processes with one each, one that was killed at random moments and started again with one, two
or three processes and in the end as two that know nothing of each other. The shards of all are
compared byte by byte. Images that cannot be decoded are among them. The throughput leaves starting
up out: it is what a run takes beyond a second one, which finds all in the cache.
"""

import contextlib
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import parser_of, write_down

CLASSES = 4
SIDE = 224
CORES = 2


def write_images(folder: Path, count: int, corrupt: int) -> None:
    """Images of noise, each another, and some files that are none."""
    generator = np.random.default_rng(0)
    for i in range(count):
        pixels = generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        path = folder / f"class_{i % CLASSES}" / f"{i:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=60)
    for i in range(corrupt):
        (folder / f"class_{i % CLASSES}" / f"bad_{i:05}.jpg").write_bytes(f"no image {i}".encode())


def start(
    images: Path, cache: Path, out: Path, processes: int, threads: int, device: str
) -> subprocess.Popen:
    """`graphadapter encode`, begun."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--standalone"]
    command = [sys.executable, *(launcher if processes > 1 else []), "-m", "pyg_graphadapter"]
    command += ["encode", str(images), "--model", "builtin", "--device", device]
    return subprocess.Popen(
        [*command, "--out", str(out), "--overwrite"],
        env={**os.environ, "PYG_GRAPHADAPTER_CACHE": str(cache), "OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def shards(cache: Path) -> dict[str, bytes]:
    """Name and content of all shards."""
    return {path.name: path.read_bytes() for path in cache.rglob("*.safetensors")}


def end(process: subprocess.Popen) -> str:
    """Waits, and returns what it said of images."""
    out, error = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"An encoding ended with {process.returncode}: {error[-2000:]}")
    return out + error


def timed(images: Path, cache: Path, processes: int, device: str) -> tuple[float, str]:
    """Seconds of encoding, without those of starting up (a second run, all of it cached), and what
    was said of images."""

    def once() -> tuple[float, str]:
        begin = time.perf_counter()
        out, threads = cache.with_suffix(".npz"), CORES // processes
        told = end(start(images, cache, out, processes, threads, device))
        return time.perf_counter() - begin, told

    (first, told), (again, _) = once(), once()
    return first - again, told


def kill(process: subprocess.Popen) -> bool:
    """Kills it and all that it has started; whether it was still running."""
    was_running = process.poll() is None
    try:
        parent = psutil.Process(process.pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    for each in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.communicate()
    return was_running


def together(images: Path, cache: Path, device: str) -> None:
    """Two that know nothing of each other, at once on one cache."""
    both = [start(images, cache, cache.with_suffix(f".{i}.npz"), 1, 1, device) for i in range(2)]
    for each in both:
        end(each)


def measure(
    scratch: Path, images: Path, repeats: int, kills: int, longest: float, device: str
) -> dict:
    """The shards of every way to encode against those of one process, and how long each takes."""
    turns = []
    for turn in range(repeats):
        one, told = timed(images, scratch / f"one-{turn}", 1, device)
        two, told_by_two = timed(images, scratch / f"two-{turn}", 2, device)
        turns.append((one, two))
    expected = shards(scratch / "one-0")
    corrupt = [len(set(re.findall(r"bad_\d+\.jpg", each))) for each in (told, told_by_two)]
    found = {
        "shards": len(expected),
        "corrupt_images_told_by_one_and_two": corrupt,
        "two_processes_equal": shards(scratch / "two-0") == expected,
    }
    generator = random.Random(0)
    killed = 0
    for i in range(kills):
        process = start(images, scratch / "killed", scratch / "killed.npz", 1 + i % 3, 1, device)
        time.sleep(generator.uniform(0.0, longest))
        killed += kill(process)
    found["killed"] = killed
    found["shards_before_the_last_run"] = len(shards(scratch / "killed"))
    together(images, scratch / "killed", device)
    found["killed_then_two_apart_equal"] = shards(scratch / "killed") == expected
    if kills > 1:
        together(images, scratch / "apart", device)
        found["two_apart_equal"] = shards(scratch / "apart") == expected
    count = len(list(images.rglob("*.jpg")))
    found["throughput"] = {
        "images": count,
        "one_process_images_per_second": round(statistics.median(count / a for a, _ in turns), 1),
        "two_processes_images_per_second": round(statistics.median(count / b for _, b in turns), 1),
        "ratio": round(statistics.median(one / two for one, two in turns), 3),
        "ratios": [round(one / two, 3) for one, two in turns],
    }
    return found


def main() -> None:
    """Reads the command line."""
    arguments = parser_of(__doc__.splitlines()[0], Path(__file__).parent).parse_args()
    quick, device = arguments.quick, arguments.device
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        write_images(images, 254 if quick else 1948, 2 if quick else 100)
        if quick:
            found = measure(Path(folder), images, 1, 1, 3.0, device)
        else:
            found = measure(Path(folder), images, 5, 20, 9.0, device)
    write_down(arguments, found)


if __name__ == "__main__":
    main()
