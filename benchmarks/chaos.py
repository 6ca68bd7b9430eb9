"""A job that is disturbed again and again, beside one that is not.

``python -m benchmarks.chaos [--seed 1] [--epochs 3] [--warm-spares]`` runs a job
through, and then an elastic one: every 20 to 40 s a rank is killed, a rank is stopped,
or the whole job is killed and started again. Both must end with the same bits. Printed
are what happened, and the goodput: the time of the undisturbed job over that of the
other.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from fdtcore.launcher.stand_in import TAKEN
from tests.processes import Process

SCRIPT = Path(__file__).parent / "contenders" / "disturbed.py"
RUN = (sys.executable, "-m", "hfdt.cli", "run", "-np", "2")
ELASTIC = ("--restarts", "5", "--snapshot", "s", "--resume", "auto")
SPARE = re.compile(r"(\S+\.socket) \d+ ?$")
PAUSE_S = (20.0, 40.0)
STALL_S = 8.0
LIMIT_S = 1800.0


class Batch(NamedTuple):
    """A batch that was trained."""

    time_s: float
    number: int  # from 1


class Event(NamedTuple):
    """What was done to the job."""

    time_s: float
    what: str


def read(text: str) -> list[Batch]:
    """Returns the batches that a script has noted; the last line may be cut short."""
    rows = [line.split() for line in text.splitlines(keepends=True) if "\n" in line]
    return [Batch(float(seconds), int(number)) for seconds, number in rows]


def trained_again(batches: list[Batch]) -> int:
    """Returns how many batches were trained more than once, each time counted."""
    return len(batches) - len({batch.number for batch in batches})


def recoveries_s(events: list[Event], batches: list[Batch]) -> list[float]:
    """Returns the time from each event to the next batch of the next run.

    A batch is of another run where its number is not above the one before.
    """
    begins = [
        after.time_s
        for before, after in itertools.pairwise(batches)
        if after.number <= before.number or after.time_s - before.time_s > 1.0
    ]
    found = []
    for event in events:
        later = [time_s for time_s in begins if time_s > event.time_s]
        if later:
            found.append(later[0] - event.time_s)
    return found


def same(one: Path, other: Path) -> bool:
    """Whether two jobs have ended with the same bits."""
    with np.load(one) as first, np.load(other) as second:
        return first.files == second.files and all(
            first[name].tobytes() == second[name].tobytes() for name in first.files
        )


def ranks(job: Process) -> list[int]:
    """Returns the processes of a job that train, as far as they have begun."""
    return sorted(pid for pid, words in job.family().items() if is_rank(words))


def is_rank(words: str) -> bool:
    """Whether a command line is that of a process that trains.

    A spare that has become a rank has its own words still, and the process that it
    does the work of has those of the rank.
    """
    if spare := SPARE.search(words):
        return Path(f"{spare[1]}{TAKEN}").exists()
    others = ("mpirun", "hfdt.cli", "stand_in")
    return f"{SCRIPT}" in words and not any(other in words for other in others)


def disturb(job: Process, what: str, rank: int) -> None:
    """Does something to a job, which may be just beginning or ending."""
    if what == "job":
        job.end()
        return
    number = signal.SIGKILL if what == "kill" else signal.SIGSTOP
    if pids := ranks(job):
        os.kill(pids[rank % len(pids)], number)


def run_disturbed(
    start: Callable[[], Process], chance: random.Random, say: Callable[[str], None]
) -> tuple[list[Event], str]:
    """Runs a job to its end, whatever happens to it.

    Args:
        start: Starts it, or starts it again.
        chance: Says when what happens.
        say: Writes a line.

    Returns:
        What has happened, and what the last command has said.
    """
    events, job = [], start()
    ends_s = time.monotonic() + LIMIT_S
    next_s = time.monotonic() + chance.uniform(*PAUSE_S)
    while job.returncode is None and time.monotonic() < ends_s:
        time.sleep(0.1)
        if time.monotonic() < next_s:
            continue
        what, rank = chance.choice(("kill", "stop", "job")), chance.randrange(2)
        name = "whole job killed" if what == "job" else f"rank {rank}: {what}"
        say(name)
        disturb(job, what, rank)
        events.append(Event(time.time(), name))
        if what == "job":
            job = start()
        next_s = time.monotonic() + chance.uniform(*PAUSE_S)
    said = job.said()
    code = job.returncode
    job.end()
    if code != 0:
        raise SystemExit(f"the disturbed job has ended with {code}: {said}")
    return events, said


@click.command()
@click.option("--seed", default=1, show_default=True, help="Of what happens when.")
@click.option("--epochs", default=3, show_default=True, help="Of 235 batches each.")
@click.option("--warm-spares", is_flag=True, help="Keep processes ready.")
def main(seed: int, epochs: int, warm_spares: bool) -> None:
    """Disturb a job at random, and compare it with one that runs through."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def start(what: str, *words: str) -> Process:
            return Process(
                *(*RUN, *words, SCRIPT, epochs),
                folder=folder,
                lean=False,
                BATCHES=str(folder / f"{what}.batches"),
                WEIGHTS=str(folder / f"{what}.npz"),
                HFDT_STALL_TIMEOUT=str(STALL_S),
            )

        began_s = time.monotonic()
        with start("alone") as job:
            alone = job.ended(LIMIT_S)
        if alone.returncode:
            raise SystemExit(job.said())
        alone_s = time.monotonic() - began_s
        click.echo(f"undisturbed: {alone_s:.1f} s, {alone.stdout.strip()}")
        words = (*ELASTIC, "--snapshot-every", "5s")
        words += ("--warm-spares",) if warm_spares else ()
        began_s = time.monotonic()

        def say(text: str) -> None:
            click.echo(f"{time.monotonic() - began_s:6.1f} s  {text}")

        events, _ = run_disturbed(
            lambda: start("disturbed", *words), random.Random(seed), say
        )
        all_s = time.monotonic() - began_s
        batches = read((folder / "disturbed.batches").read_text())
        took_s = ", ".join(f"{s:.1f}" for s in recoveries_s(events, batches))
        click.echo(
            f"disturbed: {all_s:.1f} s, {len(events)} events; "
            f"{trained_again(batches)} batches trained again, of "
            f"{len({b.number for b in batches})}"
        )
        click.echo(f"from each event to the next batch: {took_s} s")
        click.echo(f"goodput {alone_s / all_s:.2f}")
        if not same(folder / "alone.npz", folder / "disturbed.npz"):
            raise SystemExit("the two jobs have ended with different weights")
        click.echo("both jobs have ended with the same bits")


if __name__ == "__main__":
    main()
