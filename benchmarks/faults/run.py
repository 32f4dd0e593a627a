"""What is lost when commands are killed, disks are full, and several processes write at once.

    python benchmarks/faults/run.py
    python benchmarks/faults/run.py --quick --json FILE
    python benchmarks/faults/run.py --report

Four commands are killed at random moments, and before, in, and
after each call that changes files; writing fails as on a full or forbidden disk; two to four
processes race, with clocks that jump and with equal process ids. After each trial the earlier work
is compared with what it was, and the next run with one that was not disturbed. Linux only.
"""

import argparse
import gc
import importlib
import itertools
import json
import logging
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from typer.testing import CliRunner

from pyg_graphadapter.cli import app

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from commands import COMMANDS, Checked, Command, all_commands, check  # noqa: E402
from common import parser_of, sized, write_down  # noqa: E402
from disturb import (  # noqa: E402
    FORBIDDEN,
    FULL,
    Ended,
    Prepare,
    Running,
    at_every_point,
    count_points,
    die_at,
    fail_at,
    fail_from,
    race,
    run,
    slowed,
    with_clock,
    with_process_id,
    with_small_files,
)

# Everything that the commands import, so that a fork pays for none of it:
IMPORTED = (
    "cli.cache", "cli.compare", "cli.encode", "cli.fit", "data.load", "encoding.cache_folder",
    "encoding.distributed", "encoding.image_source", "encoding.sources", "experiment.grid",
    "report.tables",
)  # fmt: skip
DAY, YEAR = 86_400.0, 31_557_600.0
CLOCKS = (-10 * YEAR, -DAY, DAY, 10 * YEAR)  # seconds by which a clock is wrong
SIZES = (1_024, 4_096, 16_384)  # bytes, to which files are limited
SHOWN = 20  # problems of a row that are written down


@dataclass
class Row:
    """One line of the table.

    Args:
        fault (str): What was done.
        command (str): To which command.
        trials (int): How often.
        hit (int): How many were killed, or failed.
        lost (int): Trials after which something was missing, or the next run failed.
        changed (int): Trials after which something was neither as before nor as it must become.
        leftovers (int): Files that no later run has collected.
        without_answer (int): Trials that ended with neither success nor a sentence.
        problems (list of str): The first of these, in words.
    """

    fault: str
    command: str
    trials: int = 0
    hit: int = 0
    lost: int = 0
    changed: int = 0
    leftovers: int = 0
    without_answer: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, at: str, ended: Iterable[Ended], found: Checked) -> None:
        """Counts a trial."""
        ended = list(ended)
        self.trials += 1
        self.hit += any(each.code != 0 for each in ended)
        self.lost += bool(found.lost)
        self.changed += bool(found.changed)
        self.leftovers += len(found.leftovers)
        unanswered = [e.printed for e in ended if not (e.is_killed or e.is_answered)]
        self.without_answer += bool(unanswered)
        for kind, names in [*asdict(found).items(), ("without answer", unanswered)]:
            if names and len(self.problems) < SHOWN:
                self.problems.append(f"{at}, {kind}: {'; '.join(names)[-500:]}")


class Trials:
    """Does trials, each in a copy of the folder that its command begins with."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.numbers = itertools.count()
        self.random = random.Random(0)

    def folders(self, command: Command, count: int) -> Iterator[Path]:
        """Fresh copies, one after another."""
        for _ in range(count):
            folder = self.scratch / f"trial-{next(self.numbers)}"
            shutil.copytree(command.start, folder)
            yield folder
            shutil.rmtree(folder)

    def killed_at_random(self, command: Command, count: int) -> Row:
        """Killed at random moments of its time."""
        row = Row("SIGKILL at a random moment", command.name)
        for folder in self.folders(command, count):
            running = Running(command.words(folder), folder.with_suffix(".log"))
            moment = self.random.uniform(0.0, command.seconds)
            time.sleep(moment)
            running.kill()
            ended = running.end()
            if not ended.is_killed:  # it was faster than when it was measured
                command.seconds *= 0.9
            row.add(f"after {moment:.3f} s", [ended], check(command, folder))
        return row

    def points(self, command: Command) -> list[str]:
        """The points that it passes."""
        [points] = [
            count_points(folder, folder.with_suffix(".log"), command.words(folder))
            for folder in self.folders(command, 1)
        ]
        return points

    def disturbed(
        self,
        fault: str,
        command: Command,
        prepares: Iterable[tuple[str, Callable[[Path], Prepare]]],
    ) -> Row:
        """One trial per disturbance."""
        row = Row(fault, command.name)
        for at, prepare in prepares:
            for folder in self.folders(command, 1):
                log = folder.with_suffix(".log")
                ended = run(command.words(folder), log, prepare(folder))
                row.add(at, [ended], check(command, folder))
        return row

    def raced(
        self, fault: str, command: Command, count: int, processes: Iterable[int],
        prepare: Prepare | None = None,
    ) -> Row:  # fmt: skip
        """Several processes at once on one folder."""
        row = Row(fault, command.name)
        for number in itertools.islice(itertools.cycle(processes), count):
            for folder in self.folders(command, 1):
                log = folder.with_suffix(".log")
                ends = race([command.words(folder)] * number, log, prepare)
                found = check(command, folder)
                found.lost += [
                    f"one ended with {e.code}: {e.printed[-300:]}" for e in ends if e.code
                ]
                row.add(f"{number} processes", ends, found)
        return row


def kills(trials: Trials, command: Command, count: int, step: int) -> Iterator[Row]:
    """Kills at random moments, and at every so-manieth point."""
    points = list(enumerate(trials.points(command)))[::step]
    chosen = [
        (f"{at} (point {number})", lambda folder, n=number: at_every_point(folder, die_at(n)))
        for number, at in points
    ]
    yield trials.killed_at_random(command, count)
    yield trials.disturbed("SIGKILL before, in and after each call", command, chosen)


def failures(trials: Trials, command: Command, step: int) -> Iterator[Row]:
    """Calls that fail, once or from some moment on."""
    points = trials.points(command)

    def failing(fail: Callable, code: int, names: tuple[str, ...]) -> list:
        numbers = [n for n, at in enumerate(points)
                   if at.split()[0] != "after" and at.split()[1] in names]  # fmt: skip
        return [
            (f"{points[n]} (point {n})",
             lambda folder, n=n: at_every_point(folder, fail(n, code, names)))
            for n in numbers[::step]
        ]  # fmt: skip

    sizes = SIZES[:: max(1, step // 8)]
    small = [(f"{size} bytes", lambda _, size=size: with_small_files(size)) for size in sizes]
    yield trials.disturbed("disk full from a call on", command, failing(fail_from, *FULL))
    yield trials.disturbed("disk full at one call", command, failing(fail_at, *FULL))
    yield trials.disturbed("files limited in size", command, small)
    forbidden = failing(fail_from, *FORBIDDEN)
    yield trials.disturbed("no permission from a call on", command, forbidden)


def races(trials: Trials, command: Command, count: int) -> Iterator[Row]:
    """Two to four at once, with the clocks and process ids that containers have."""
    clocks = [
        (f"{seconds / DAY:+,.0f} days", lambda _, s=seconds: with_clock(s)) for seconds in CLOCKS
    ]
    yield trials.raced("2 to 4 processes race", command, count, (2, 3, 4))
    yield trials.raced("race with equal process ids", command, count, (2, 4), with_process_id(1))
    yield trials.disturbed("the clock is wrong", command, clocks[: max(1, min(count, 4))])


def collected_meanwhile(trials: Trials, encode: Command, count: int, clock: float) -> Row:
    """`cache gc`, perhaps with a wrong clock, beside an `encode` that is slow at every call."""
    name = (
        f"cache gc meanwhile, its clock {clock / DAY:+,.0f} days" if clock else "cache gc meanwhile"
    )
    row = Row(name, encode.name)
    for folder in trials.folders(encode, count):
        log = folder.with_suffix(".log")
        running = Running(encode.words(folder), log, slowed(folder, 0.01))
        collecting = []
        for _ in range(3):
            time.sleep(0.2)
            words = ["cache", "gc", "--cache-dir", folder / "cache"]
            collecting.append(run(words, folder.with_suffix(".gc"), with_clock(clock)))
        ends = [running.end(), *collecting]
        found = check(encode, folder)
        found.lost += [f"one ended with {e.code}: {e.printed[-300:]}" for e in ends if e.code]
        row.add("", ends, found)
    return row


def measure(arguments: argparse.Namespace, scratch: Path) -> list[Row]:
    """All rows."""
    count, step, turns = sized(arguments, (75, 1, 12), (5, 10, 2), (1, 60, 1))
    commands = all_commands(scratch, arguments.commands.split(","))
    trials = Trials(scratch)
    rows: list[Row] = []
    for command in commands.values():
        measured = [
            kills(trials, command, count, step),
            failures(trials, command, 3 * step),
            races(trials, command, turns),
        ]
        if command.name == "encode":
            clocks = (0.0, DAY)
            measured.append(collected_meanwhile(trials, command, turns, c) for c in clocks)
        for row in itertools.chain.from_iterable(measured):
            print(line_of(row), file=sys.stderr, flush=True)
            for problem in row.problems[:3]:
                print(f"    {problem}", file=sys.stderr)
            rows.append(row)
    return rows


def line_of(row: Row) -> str:
    """A row in one line."""
    return (
        f"{row.command}, {row.fault}: {row.trials} trials, {row.hit} hit, {row.lost} lost, "
        f"{row.changed} changed, {row.leftovers} leftovers, {row.without_answer} without an answer"
    )


def report() -> None:
    """Writes the committed results into the README."""
    from report import hardware, put, table  # loads matplotlib

    found = json.loads((HERE / "results" / "cpu.json").read_text())
    header = ["fault", "command", "trials", "killed or failed", "lost", "changed", "leftovers",
              "without an answer"]  # fmt: skip
    names = ("fault", "command", "trials", "hit", "lost", "changed", "leftovers", "without_answer")
    rows = [[row[name] for name in names] for row in found["rows"]]
    total = (
        f"**{found['kills']} kills: {found['lost']} lost, {found['changed']} changed.** All "
        f"{found['trials']:,} trials took {found['minutes']:.0f} minutes."
    )
    put("faults", "\n\n".join([hardware(found), total, table(header, rows)]))


def main() -> None:
    """Reads the command line."""
    parser = parser_of(__doc__.splitlines()[0], HERE)
    parser.add_argument("--report", action="store_true", help="write the results into the README")
    parser.add_argument("--commands", default=",".join(COMMANDS), help="only these")
    arguments = parser.parse_args()
    if arguments.report:
        report()
        return
    torch.set_num_threads(1)  # a process that forks must have no threads
    for name in IMPORTED:
        importlib.import_module(f"pyg_graphadapter.{name}")
    CliRunner().invoke(
        app, ["cache", "list", "--cache-dir", str(HERE)]
    )  # typer imports when called
    logging.getLogger().handlers.clear()  # that of the command is closed
    gc.freeze()  # what is imported is not copied by the garbage collector of each fork
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(arguments, Path(folder))
    killed = [row for row in rows if row.fault.startswith("SIGKILL")]
    found = {
        "kills": sum(row.hit for row in killed),
        "lost": sum(row.lost for row in killed),
        "changed": sum(row.changed for row in killed),
        "trials": sum(row.trials for row in rows),
        "minutes": round((time.perf_counter() - begin) / 60, 1),
        "rows": [asdict(row) for row in rows],
    }
    write_down(arguments, found)
    if any(row.lost or row.changed for row in rows):
        raise SystemExit("Something was lost or changed.")


if __name__ == "__main__":
    main()
