"""Runs what has not been run yet, in one process or in several."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.papers import records
from benchmarks.papers.runs import NONE, Outcome, Run


def complete(
    runs: Sequence[Run],
    path: Path,
    processes: int,
    tell: Callable[[str], None],
) -> None:
    """Does all runs that a file has no result of, and adds them to it.

    Only this process writes the file, each result at once: whatever ends it, the same
    call goes on with what is missing.

    Args:
        runs: In order.
        path: The file of results.
        processes: How many train at the same time.
        tell: Called with a line after each run.
    """
    known = records.read(path)
    missing = [run for run in dict.fromkeys(runs) if run not in known]
    if len(missing) < len(runs):
        tell(f"{len(runs) - len(missing)} of {len(runs)} runs are there already")
    started_s = time.monotonic()
    with _trained(missing, processes) as trained:
        for count, (run, outcome) in enumerate(trained, start=1):
            records.append(path, run, outcome)
            left_s = (time.monotonic() - started_s) / count * (len(missing) - count)
            tell(_line(run, outcome, f"{count}/{len(missing)}", left_s))


@contextlib.contextmanager
def _trained(
    runs: Sequence[Run], processes: int
) -> Iterator[Iterator[tuple[Run, Outcome]]]:
    """Gives runs with their outcomes, in the order in which they end."""
    if processes == 1:
        yield map(_train, runs)
        return
    # TensorFlow does not survive a fork. Ctrl-C reaches all; this process ends them.
    start = (processes, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    with multiprocessing.get_context("spawn").Pool(*start) as pool:
        yield pool.imap_unordered(_train, runs)


def _train(run: Run) -> tuple[Run, Outcome]:
    from benchmarks.papers.training import train  # loads TensorFlow

    return run, train(run)


def _line(run: Run, outcome: Outcome, count: str, left_s: float) -> str:
    what = f"{run.algorithm}, {run.workers} {run.times}, {run.consistency}"
    if run.compression != NONE:
        what += f", {run.compression}"
    found = "diverged" if outcome.diverged else f"{outcome.accuracy:.2%}"
    return (
        f"{count}  {run.work}: {what}, rate {run.rate:g}, seed {run.seed}: {found} in "
        f"{outcome.seconds:.1f} s; about {left_s / 60:.0f} min left"
    )
