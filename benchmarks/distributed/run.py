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
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import parser_of, sized, write_down

CLASSES = 4
SIDE = 224
CORES = 2
SHARD_IMAGES, QUICK_SHARD_IMAGES, TINY_SHARD_IMAGES = 128, 16, 4


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


def shards(cache: Path) -> dict[str, bytes]:
    """Name and content of all shards."""
    return {path.name: path.read_bytes() for path in cache.rglob("*.safetensors")}


def end(process: subprocess.Popen) -> str:
    """Waits, and returns what it said of images."""
    out, error = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"An encoding ended with {process.returncode}: {error[-2000:]}")
    return out + error


@dataclass(frozen=True)
class Encoding:
    """`graphadapter encode` of some images, in shards of so many."""

    images: Path
    shard_images: int
    device: str

    def start(self, cache: Path, out: Path, processes: int, threads: int) -> subprocess.Popen:
        """Begins it."""
        launcher = ["torch.distributed.run", "--nproc-per-node", processes, "--standalone", "-m"]
        command = [sys.executable, "-m", *(launcher if processes > 1 else []), "pyg_graphadapter"]
        command += ["encode", self.images, "--model", "builtin", "--device", self.device]
        command += ["--shard-images", self.shard_images, "--out", out, "--overwrite"]
        variables = {"PYG_GRAPHADAPTER_CACHE": str(cache), "OMP_NUM_THREADS": str(threads)}
        return subprocess.Popen(
            [*map(str, command)],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def timed(self, cache: Path, processes: int) -> tuple[float, str]:
        """Seconds of encoding, without those of starting up (a second run, all of it cached), and
        what was said of images."""

        def once() -> tuple[float, str]:
            begin = time.perf_counter()
            told = end(self.start(cache, cache.with_suffix(".npz"), processes, CORES // processes))
            return time.perf_counter() - begin, told

        (first, told), (again, _) = once(), once()
        return first - again, told

    def together(self, cache: Path) -> None:
        """Two that know nothing of each other, at once on one cache."""
        both = [self.start(cache, cache.with_suffix(f".{i}.npz"), 1, 1) for i in range(2)]
        for each in both:
            end(each)


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


def measure(scratch: Path, encoding: Encoding, repeats: int, kills: int, longest: float) -> dict:
    """The shards of every way to encode against those of one process, and how long each takes."""
    turns = []
    for turn in range(repeats):
        one, told = encoding.timed(scratch / f"one-{turn}", 1)
        two, told_by_two = encoding.timed(scratch / f"two-{turn}", 2)
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
        process = encoding.start(scratch / "killed", scratch / "killed.npz", 1 + i % 3, 1)
        time.sleep(generator.uniform(0.0, longest))
        killed += kill(process)
    found["killed"] = killed
    found["shards_before_the_last_run"] = len(shards(scratch / "killed"))
    encoding.together(scratch / "killed")
    found["killed_then_two_apart_equal"] = shards(scratch / "killed") == expected
    if kills > 1:
        encoding.together(scratch / "apart")
        found["two_apart_equal"] = shards(scratch / "apart") == expected
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # KB, at most
    found["peak_mb_of_a_process"] = round(largest / 1024)
    count = len(list(encoding.images.rglob("*.jpg")))
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
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        write_images(images, *sized(arguments, (1948, 100), (94, 2), (14, 2)))
        shard_images = sized(arguments, SHARD_IMAGES, QUICK_SHARD_IMAGES, TINY_SHARD_IMAGES)
        encoding = Encoding(images, shard_images, arguments.device)
        found = measure(
            Path(folder), encoding, *sized(arguments, (5, 20, 13.0), (1, 1, 2.0), (1, 1, 2.0))
        )
    write_down(arguments, found)


if __name__ == "__main__":
    main()
