"""What snapshots cost, and what they save: step rate, resume and recovery.

``python -m benchmarks.snapshots [--rounds 3]`` runs HFDT on two ranks and prints, as
medians over the rounds with the least and the greatest:

* the step rate of a job with a snapshot every 30 s over that of one without, in turn;
  and the time that one snapshot has held up the same job;
* the time of a job that goes on in mid-epoch to its first step, over that of the fresh
  start before it;
* the time from the kill of a rank to the next step, over that of the fresh start of the
  same command to its first step, with and without warm spares.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from benchmarks.chaos import RUN, SCRIPT, Batch, ranks, read
from benchmarks.ratios import Spread, spread
from tests.processes import Process

ENDLESS_EPOCHS = 1000
WARM_UP_S = 8.0
MEASURED_S = 90.0  # three snapshots
SPARES_S = 30.0  # until spares are ready, which ranks that train leave few cores
IN_SECOND_EPOCH = 300  # of 235 batches each
LOOK_S = 0.2
LIMIT_S = 120.0
TAIL = 200  # characters, of some lines
SNAPSHOT = ("--snapshot", "s", "--resume", "auto")
TARGETS = {"cnn": 0.98, "payload": 0.95}


def rate(batches: list[Batch], begin_s: float, end_s: float) -> float:
    """Returns the batches of a second between two moments."""
    times = [b.time_s for b in batches if begin_s <= b.time_s <= end_s]
    return (len(times) - 1) / (times[-1] - times[0])


def held_up_s(batches: list[Batch], written_s: float) -> float:
    """Returns for how long a snapshot has held up a job, beside its usual steps.

    Args:
        batches: Of the job.
        written_s: When the file was there.
    """
    steps = [
        (after.time_s, after.time_s - before.time_s)
        for before, after in itertools.pairwise(batches)
    ]
    near = [took for at, took in steps if written_s - 6 <= at <= written_s + 2]
    others = [took for at, took in steps if not written_s - 6 <= at <= written_s + 2]
    return sum(near) - len(near) * statistics.median(others)


def shown(text: str, values: list[float], unit: str = "", target: str = "") -> str:
    """Returns a line of the report."""
    found: Spread = spread(values)
    return (
        f"{text}: {found.median:.3f} ({found.low:.3f} to {found.high:.3f}){unit}"
        f"{target and f', wanted {target}'}"
    )


class Job:
    """A job that notes its batches.

    Args:
        folder: Where it runs.
        model: Name of the model.
        *words: Options of ``hfdt run``.
    """

    def __init__(self, folder: Path, model: str, *words: str):
        self._file = folder / "batches"
        self._known = len(self.batches())
        self.begin_s = time.time()
        self.process = Process(
            *(*RUN, *words, SCRIPT, ENDLESS_EPOCHS, model),
            folder=folder,
            lean=False,
            BATCHES=str(self._file),
            WEIGHTS=str(folder / "weights.npz"),
        )

    def batches(self) -> list[Batch]:
        """Returns those of all jobs in the folder so far."""
        return read(self._file.read_text()) if self._file.exists() else []

    def wait_for(self, is_there: Callable[[Batch], bool]) -> None:
        """Waits for a batch, and takes little of the processor meanwhile.

        Args:
            is_there: Whether the newest batch is that one.
        """
        ends_s = time.monotonic() + LIMIT_S
        while time.monotonic() < ends_s:
            if self.process.returncode is not None:
                raise SystemExit(f"a job has ended too early: {self.process.said()}")
            text = self._file.read_text()[-TAIL:] if self._file.exists() else ""
            newest = read(text.partition("\n")[2])[-1:]
            if newest and is_there(newest[0]):
                return
            time.sleep(LOOK_S)
        raise SystemExit(f"no such batch within {LIMIT_S:g} s: {self.process.said()}")

    def first_s(self) -> float:
        """Waits for a step; returns what it took from the start to the first."""
        self.wait_for(lambda batch: batch.time_s > self.begin_s)
        return self.batches()[self._known].time_s - self.begin_s


@contextlib.contextmanager
def job(folder: Path, model: str, *words: str) -> Iterator[Job]:
    """Runs a job for the time of the block."""
    running = Job(folder, model, *words)
    try:
        yield running
    finally:
        running.process.end()


def cost(model: str, *words: str) -> tuple[float, list[float]]:
    """Returns the step rate of a job, and for how long each snapshot has held it up."""
    with tempfile.TemporaryDirectory() as name, job(Path(name), model, *words) as one:
        begin_s = one.begin_s + one.first_s() + WARM_UP_S
        end_s, seen, written = begin_s + MEASURED_S, set[str](), []
        while time.time() < end_s:
            time.sleep(0.05)
            for path in Path(name, "s").glob("step-*"):
                if path.name not in seen:
                    seen.add(path.name)
                    written.append(time.time())
        batches = [b for b in one.batches() if b.time_s >= begin_s - WARM_UP_S / 2]
        return rate(batches, begin_s, end_s), [
            held_up_s(batches, at_s) for at_s in written if begin_s < at_s < end_s - 2
        ]


def resume() -> tuple[float, float]:
    """Returns the time of a fresh start to its first step, and that of a resume."""
    words = (*SNAPSHOT, "--snapshot-every", "1s")
    with tempfile.TemporaryDirectory() as name:
        with job(Path(name), "cnn", *words) as one:
            fresh_s = one.first_s()
            one.wait_for(lambda batch: batch.number >= IN_SECOND_EPOCH)
        with job(Path(name), "cnn", *words) as one:
            return fresh_s, one.first_s()


def recovery(*more: str) -> tuple[float, float]:
    """Returns the time of a fresh start to its first step, and that of a recovery."""
    words = (*SNAPSHOT, "--snapshot-every", "1s", "--restarts", "3", *more)
    with (
        tempfile.TemporaryDirectory() as name,
        job(Path(name), "cnn", *words) as one,
    ):
        fresh_s = one.first_s()
        time.sleep(SPARES_S)
        killed_s = time.time()
        os.kill(ranks(one.process)[-1], signal.SIGKILL)
        one.wait_for(lambda batch: batch.time_s > killed_s + 1)
        after = [b.time_s for b in one.batches() if b.time_s > killed_s + 1]
        return fresh_s, after[0] - killed_s


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Of each comparison.")
def main(rounds: int) -> None:
    """Measure what snapshots cost and save."""
    for name, words in (("without spares", ()), ("with spares", ("--warm-spares",))):
        pairs = [recovery(*words) for _ in range(rounds)]
        target = "at most 0.6" if words else ""
        ratios = [after / fresh for fresh, after in pairs]
        click.echo(shown(f"recovery {name}", [after for _, after in pairs], " s"))
        click.echo(shown(f"recovery / fresh start, {name}", ratios, target=target))
    pairs = [resume() for _ in range(rounds)]
    ratios = [again / fresh for fresh, again in pairs]
    click.echo(shown("fresh start to first step", [fresh for fresh, _ in pairs], " s"))
    click.echo(shown("resume / fresh start", ratios, target="at most 1"))
    every = (*SNAPSHOT, "--snapshot-every", "30s")
    for model, least in TARGETS.items():
        ratios, held = [], []
        for number in range(rounds):
            turn = ((), every) if number % 2 else (every, ())
            found = {words: cost(model, *words) for words in turn}
            ratios.append(found[every][0] / found[()][0])
            held += found[every][1]
        target = f"at least {least}"
        click.echo(shown(f"{model}: rate with / without", ratios, target=target))
        click.echo(shown(f"{model}: one of {len(held)} snapshots held up", held, " s"))


if __name__ == "__main__":
    main()
