"""The commands that are disturbed: what each begins with, what must last, and how it must end."""

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from disturb import Ended, run
from torch.nn.functional import adaptive_avg_pool2d

from pyg_graphadapter.classifier.few_shot_classifier import FewShotClassifier
from pyg_graphadapter.encoding.cache import FeatureCache
from pyg_graphadapter.encoding.encoder import Encoder
from pyg_graphadapter.feature_file import FeatureFile
from pyg_graphadapter.testing import fake_features, fake_images

State = dict[str, bytes]
Words = list[Any]
SECONDS = ("fit_seconds", "select_seconds")  # of a result, which differ from run to run
TWO_HOURS = 7200.0


@dataclass
class Command:
    """A command of `graphadapter` on a folder.

    Args:
        name (str): Its name.
        start (Path): A folder as it is before.
        words (callable): Its arguments, for a folder.
        state (callable): What a folder holds: names, and content that can be compared.
        later (sequence of callable): Commands that collect what a killed one has left.
        lasts (frozenset of str): The names in its state that it never may remove.
    """

    name: str
    start: Path
    words: Callable[[Path], Words]
    state: Callable[[Path], State]
    later: Sequence[Callable[[Path], Words]]
    lasts: frozenset[str] = frozenset()
    before: State = field(default_factory=dict)
    final: State = field(default_factory=dict)
    names: "Counter[str]" = field(default_factory=Counter)
    seconds: float = 0.0

    def measure(self, folder: Path) -> None:
        """The states before and after it, and its time, undisturbed."""
        shutil.copytree(self.start, folder)
        self.before = self.state(folder)
        run(self.words(folder), folder.with_suffix(".log"))  # the first fork is slower
        shutil.rmtree(folder)
        shutil.copytree(self.start, folder)
        begin = time.perf_counter()
        ended = run(self.words(folder), folder.with_suffix(".log"))
        self.seconds = time.perf_counter() - begin
        if ended.code != 0:
            raise SystemExit(f"{self.name} ended with {ended.code}: {ended.printed}")
        self.final = self.state(folder)
        self.names = names_in(folder)
        shutil.rmtree(folder)


@dataclass
class Checked:
    """What was found after a disturbance, and after the runs that follow it.

    Args:
        lost (list of str): What was there before and should be there, and is not.
        changed (list of str): What is neither as before nor as at the end.
        leftovers (list of str): Files that a later run has not collected.
    """

    lost: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)


def check(command: Command, folder: Path) -> Checked:
    """What a disturbed command has left, and whether the next run ends as an undisturbed one."""
    found = Checked()
    after = command.state(folder)
    for name in sorted(command.before.keys() - after.keys()):
        if name in command.final or name in command.lasts:
            found.lost.append(name)
    for name, content in after.items():
        if content not in (command.before.get(name), command.final.get(name)):
            found.changed.append(name)
    log = folder.with_suffix(".log")
    again = run(command.words(folder), log)
    end = command.state(folder)
    if again.code != 0:
        found.lost.append(f"the next run ended with {again.code}: {again.printed[-300:]}")
    elif end != command.final:
        names = {name for name in end.keys() | command.final.keys()
                 if end.get(name) != command.final.get(name)}  # fmt: skip
        found.changed.append(f"after the next run: {', '.join(sorted(names))}")
    found.leftovers = leftovers(command, folder)
    if command.state(folder) != end:
        found.changed.append("after what collects the leftovers")
    return found


def leftovers(command: Command, folder: Path) -> list[str]:
    """The files that an undisturbed run does not leave, and that later runs have not removed."""
    if names_in(folder) == command.names:
        return []
    old = time.time() - TWO_HOURS
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("young"):
            os.utime(path, (old, old))
    for words in command.later:
        ended = run(words(folder), folder.with_suffix(".log"))
        if ended.code != 0:
            return [f"{words(folder)[0]} ended with {ended.code}: {ended.printed[-300:]}"]
    return sorted((names_in(folder) - command.names).elements())


def names_in(folder: Path) -> "Counter[str]":
    """The names of everything in a folder; weights may have any name, and locks may stay."""
    return Counter(
        "weights" if path.suffix == ".safetensors" and path.name.startswith("classifier")
        else str(path.relative_to(folder))
        for path in folder.rglob("*")
        if not path.name.startswith(".lock")
    )  # fmt: skip


def files_in(folder: Path, suffix: str = "") -> State:
    """Relative names and bytes of whole files; hidden ones are locks and temporary files."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob(f"*{suffix}"))
        if path.is_file() and not path.name.startswith(".")
    }


# The four commands ####################################################################


def encode(scratch: Path) -> Command:
    """Some images are in the cache, and the others are encoded."""
    fake_images(scratch / "few", num_classes=3, splits={"train": 1, "test": 1})
    fake_images(scratch / "images", num_classes=3, splits={"train": 3, "test": 1})
    encoder = Encoder.from_pretrained("builtin", device="cpu", shard_images=3, workers=0)
    encoder._tower_features = _pooled  # type: ignore[method-assign]  # nothing here depends on it
    # Loaded and hashed once, in the process that all are forked from:
    encoder.identity()
    Encoder.from_pretrained = staticmethod(lambda *_, **__: encoder)  # type: ignore[assignment]

    def words(folder: Path, images: str = "images") -> Words:
        options = ["--model", "builtin", "--cache-dir", folder / "cache", "--device", "cpu"]
        out = folder / "features.safetensors"
        return ["encode", scratch / images, *options, "--out", out, "--overwrite"]

    def state(folder: Path) -> State:
        files = files_in(folder, ".safetensors")
        return files | files_in(folder, ".json")

    start = scratch / "encode"
    start.mkdir()
    _must_end(run(words(start, "few"), scratch / "log"))
    later = (words, lambda folder: ["cache", "gc", "--cache-dir", folder / "cache"])
    return Command("encode", start, words, state, later)


def _pooled(inputs: Mapping[str, torch.Tensor], _: Any) -> torch.Tensor:
    """In place of the features of the built-in vision tower: the colours of an image."""
    [pixels] = inputs.values()
    return adaptive_avg_pool2d(pixels.float(), (8, 16)).flatten(1)  # [B, 384]


def fit(scratch: Path) -> Command:
    """A classifier is replaced by another."""
    x = FeatureFile.load(scratch / "features.npz").test.mean_views()

    def words(folder: Path, shots: int = 4, method: str = "gda") -> Words:
        options = ["--shots", shots, "--method", method, "--no-select", "--out", folder / "c"]
        return ["fit", scratch / "features.npz", *options, "--overwrite"]

    def state(folder: Path) -> State:
        if not (folder / "c").exists():
            return {}
        try:
            classifier = FewShotClassifier.load(folder / "c")
        except (ValueError, OSError) as error:
            return {"classifier": str(error).encode()}
        return {"classifier": bits_of(classifier, x)}

    start = scratch / "fit"
    start.mkdir()
    _must_end(run(words(start, 1, "tip_adapter"), scratch / "log"))
    return Command("fit", start, words, state, [words])


def bits_of(classifier: FewShotClassifier, x: torch.Tensor) -> bytes:
    """The method and the probabilities of a classifier, bit for bit."""
    return classifier.method.encode() + classifier.predict_proba(x).numpy().tobytes()


def compare(scratch: Path) -> Command:
    """Some runs are finished, and the others are done."""

    def words(folder: Path, seeds: str = "1,2") -> Words:
        options = ["--methods", "graph_adapter,gda", "--shots", "2", "--seeds", seeds]
        options += ["--epochs", 2, "--no-select", "--jobs", 1, "--out", folder / "results"]
        return ["compare", scratch / "features.npz", *options]

    start = scratch / "compare"
    start.mkdir()
    _must_end(run(words(start, "1"), scratch / "log"))
    finished = files_in(start)

    def state(folder: Path) -> State:
        return {
            name: content if content == finished.get(name) else _of_any_run(content, folder)
            for name, content in files_in(folder).items()
        }

    return Command("compare", start, words, state, [words])


def _of_any_run(content: bytes, folder: Path) -> bytes:
    """A result without its times. The command names the folder, and the last digits of numbers
    depend on how many seeds are trained as a batch."""
    try:
        result = {k: v for k, v in json.loads(content).items() if k not in SECONDS}
        result["command"] = result["command"].replace(str(folder), "")
        return json.dumps(_rounded(result)).encode()
    except (ValueError, AttributeError, KeyError):
        return b"damaged: " + content


def _rounded(value: Any) -> Any:
    """A value with three digits of every number in it."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return f"{value:.3g}" if isinstance(value, float) else value


def collect(scratch: Path) -> Command:
    """The features of one model are removed, and damaged files; those of another, and what is not
    ours, stay."""
    start = scratch / "gc"
    caches = start / "cache"
    folders = {}
    for model in ("old", "kept"):
        cache = FeatureCache(caches, {"model": model, "dtype": "float32"})
        for i in range(3):
            keys = [bytes([i, j]) * 16 for j in range(4)]
            cache.write(keys, torch.full((4, 8), float(i + 1)))
        folders[model] = cache.folder
    shard = next(folders["kept"].glob("*.safetensors"))
    damaged = shard.with_name(f"{'0' * 64}.safetensors.corrupt")
    damaged.write_bytes(b"damaged")
    temporary = folders["kept"] / f".{shard.name}.abcdefgh.tmp"
    temporary.write_bytes(b"half")
    hours_ago = time.time() - TWO_HOURS
    os.utime(temporary, (hours_ago, hours_ago))
    foreign = {
        "photos/manifest.json": b'{"schema": 2, "model": "old"}',  # as ours, but not by its name
        "photos/1.jpg": b"a photo",
        f"{'a' * 32}/manifest.json": b'{"schema": 2, "model": "old"}',  # nor by its content
        f"{'a' * 32}/1.jpg": b"another",
        "notes.txt": b"notes",
    }
    for name, content in foreign.items():
        (caches / name).parent.mkdir(exist_ok=True)
        (caches / name).write_bytes(content)

    def words(folder: Path) -> Words:
        return ["cache", "gc", "--cache-dir", folder / "cache", "--model", "old"]

    def state(folder: Path) -> State:
        files = files_in(folder)
        return {n: c for n, c in files.items() if not n.endswith((".corrupt", ".jsonl"))}

    kept = {f"cache/{name}" for name in foreign}
    kept |= {f"cache/{folders['kept'].name}/{name}" for name in files_in(folders["kept"])
             if not name.endswith((".corrupt", ".jsonl"))}  # fmt: skip
    return Command("cache gc", start, words, state, [words], frozenset(kept))


COMMANDS = {"encode": encode, "fit": fit, "compare": compare, "cache gc": collect}


def all_commands(scratch: Path, names: Sequence[str]) -> Mapping[str, Command]:
    """The commands of these names, measured undisturbed."""
    fake_features(num_classes=4, channels=8, shots=4, tests=5).save(scratch / "features.npz")
    commands = {name: COMMANDS[name](scratch) for name in names}
    for command in commands.values():
        command.measure(scratch / "undisturbed")
    return commands


def _must_end(ended: Ended) -> None:
    if ended.code != 0:
        raise SystemExit(f"A command ended with {ended.code}: {ended.printed}")
