"""Do several processes encode as one does, and as fast as the cores allow?

    python benchmarks/distributed/run.py
    python benchmarks/distributed/run.py --quick --json FILE

Images of noise under the built-in encoder, by `graphadapter encode`. bytes: one process and two,
two that know nothing of each other on one cache, and one that was killed at random moments and
started again with one, two or three processes; the shards of all are compared byte by byte. An
image that cannot be decoded is in every shard. throughput: two processes with a thread each against
one with two, by what more images cost, so that starting up counts for neither.
"""

import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
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


def start(images: Path, cache: Path, out: Path, processes: int, threads: int) -> subprocess.Popen:
    """`graphadapter encode`, in a process group of its own."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--standalone"]
    command = [sys.executable, *(launcher if processes > 1 else []), "-m", "pyg_graphadapter"]
    command += ["encode", str(images), "--model", "builtin", "--device", "cpu"]
    return subprocess.Popen(
        [*command, "--out", str(out), "--overwrite"],
        env={**os.environ, "PYG_GRAPHADAPTER_CACHE": str(cache), "OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
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


def equal_bytes(scratch: Path, images: Path, kills: int, longest: float) -> dict:
    """The shards of every way to encode, against those of one process."""
    found = {}
    told = end(start(images, scratch / "one", scratch / "one.npz", 1, CORES))
    expected = shards(scratch / "one")
    found["shards"] = len(expected)
    found["corrupt_images_told"] = len(set(re.findall(r"bad_\d+\.jpg", told)))

    told = end(start(images, scratch / "two", scratch / "two.npz", 2, 1))
    found["two_processes_equal"] = shards(scratch / "two") == expected
    found["corrupt_images_told_by_two"] = len(set(re.findall(r"bad_\d+\.jpg", told)))

    both = [start(images, scratch / "apart", scratch / f"{i}.npz", 1, 1) for i in range(2)]
    for each in both:
        end(each)
    found["two_apart_equal"] = shards(scratch / "apart") == expected

    generator = random.Random(0)
    killed = 0
    for i in range(kills):
        process = start(images, scratch / "killed", scratch / "killed.npz", 1 + i % 3, 1)
        time.sleep(generator.uniform(0.0, longest))
        killed += process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    found["killed"] = killed
    found["shards_before_the_last_run"] = len(shards(scratch / "killed"))
    end(start(images, scratch / "killed", scratch / "killed.npz", 2, 1))
    found["killed_equal"] = shards(scratch / "killed") == expected
    return found


def throughput(scratch: Path, few: Path, many: Path, repeats: int) -> dict:
    """Images per second, by the time that more images take."""
    more = len(list(many.rglob("*.jpg"))) - len(list(few.rglob("*.jpg")))
    turns = []
    for turn in range(repeats):
        rates = []
        for processes in (1, 2):
            spent = []
            for images in (few, many):
                begin = time.perf_counter()
                cache = scratch / f"speed-{turn}-{processes}-{images.name}"
                end(start(images, cache, scratch / "speed.npz", processes, CORES // processes))
                spent.append(time.perf_counter() - begin)
            rates.append(more / (spent[1] - spent[0]))
        turns.append(rates)
    return {
        "images": more,
        "one_process_images_per_second": round(statistics.median(one for one, _ in turns), 1),
        "two_processes_images_per_second": round(statistics.median(two for _, two in turns), 1),
        "ratio": round(statistics.median(two / one for one, two in turns), 3),
        "ratios": [round(two / one, 3) for one, two in turns],
    }


def main() -> None:
    """Reads the command line."""
    arguments = parser_of(__doc__.splitlines()[0], Path(__file__).parent).parse_args()
    quick = arguments.quick
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        few, many = scratch / "few", scratch / "many"
        write_images(few, 64 if quick else 512, 1)
        write_images(many, 300 if quick else 2048, 2 if quick else 8)
        found = {
            "bytes": equal_bytes(scratch, many, 1 if quick else 20, 3.0 if quick else 25.0),
            "throughput": throughput(scratch, few, many, 1 if quick else 5),
        }
    write_down(arguments, found)


if __name__ == "__main__":
    main()
