"""A short real run that measures a script's steps, exchanges and updates.

The run is that of ``nfdt run``, with as many workers computing at once: they share
cores, memory and the server as in a real job, and its trace has the times of each step
and exchange. It is stopped when there are enough.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fdtcore.launcher import descendants
from nfdt.planning.calibration import PROBE, PROBE_NAME, Costs, fewest_steps, steady
from nfdt.planning.probe import Probe, costs
from nfdt.protocol.events import Event
from nfdt.telemetry import trace

STEPS = 50  # of each worker
LEAST_STEPS = 10  # with fewer nothing is said
_LONG_S = 30.0  # of steady training, after which the least are enough
_LOOK_S = 0.5
_SAY_S = 5.0
_END_S = 20.0  # for the run to end once it is told to
_SHOWN_LINES = 12  # of a run that failed
_TRACE, _LOGS, _LOG = "trace", "logs", "output.txt"


class Rehearsed(NamedTuple):
    """What the run has given."""

    events: list[Event]  # steady pushes
    costs: Costs


def measure(
    target: Sequence[str],
    num_workers: int,
    algorithm: str,
    folder: Path,
    say: Callable[[str], None],
) -> Rehearsed:
    """Runs a script for some steps.

    Args:
        target: The script, or ``-m`` and a module, and its arguments.
        num_workers: Workers that compute at once.
        algorithm: What the server does with gradients.
        folder: For the files of the run.
        say: Tells the user what goes on.

    Raises:
        ValueError: The script fails, or trains for too few steps.
    """
    with _running(target, num_workers, algorithm, folder) as process:
        _wait_for_enough(process, num_workers, folder, say)
    found = _steady(folder, num_workers)
    steps = fewest_steps(found, num_workers)
    if steps < LEAST_STEPS:
        log = (folder / _LOG).read_text(errors="replace").splitlines()
        raise ValueError(
            f"the script must train for {LEAST_STEPS} steps of each worker after the "
            f"first few. Received: {steps}, and exit code {process.returncode}. Give "
            "it more data or epochs, or correct it; its last lines:\n"
            + "\n".join(f"  {line}" for line in log[-_SHOWN_LINES:])
        )
    say("measuring updates")
    probe = Probe.from_json((folder / _LOGS / PROBE_NAME).read_text())
    return Rehearsed(found, costs(probe, num_workers))


def _wait_for_enough(
    process: subprocess.Popen[bytes],
    num_workers: int,
    folder: Path,
    say: Callable[[str], None],
) -> None:
    """Returns when the run has made enough steps, or has ended by itself."""
    said_s = time.monotonic()
    while process.poll() is None:
        found = _steady(folder, num_workers)
        steps = fewest_steps(found, num_workers)
        long_s = found[-1].time_s - found[0].time_s if found else 0.0
        if steps >= STEPS or (steps >= LEAST_STEPS and long_s >= _LONG_S):
            return
        if time.monotonic() - said_s >= _SAY_S:
            said_s = time.monotonic()
            say(f"{steps} of {STEPS} steps of each worker" if steps else "starting")
        time.sleep(_LOOK_S)


@contextlib.contextmanager
def _running(
    target: Sequence[str], num_workers: int, algorithm: str, folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts the run; ends it, with all its processes, at the end of the block."""
    run = [sys.executable, "-m", "nfdt.cli", "run", "-np", str(num_workers)]
    options = ["--algorithm", algorithm, "--trace", str(folder / _TRACE)]
    options += [
        "--output",
        str(folder / _LOGS),
        "-m",
        "nfdt.cluster.calibration_worker",
    ]
    # What the user has exported for other runs is not what is measured here.
    environ = {k: v for k, v in os.environ.items() if not k.startswith("NFDT_")}
    with (folder / _LOG).open("wb") as log:
        process = subprocess.Popen(
            [*run, *options, *target],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=descendants.die_with_parent,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _steady(folder: Path, num_workers: int) -> list[Event]:
    """Returns the steady pushes of the run so far.

    Raises:
        ValueError: Several groups of variables are trained.
    """
    if not (folder / _TRACE / trace.NAME).exists():
        return []
    pushes = [e for e in trace.read(folder / _TRACE).events if e.group != PROBE]
    groups = {event.group for event in pushes}
    if len(groups) > 1:
        raise ValueError(
            "a simulated model is trained by one optimizer, and so is what is measured "
            f"for it. Received: {len(groups)} groups of variables. Measure a model "
            "with one."
        )
    return steady(pushes, num_workers)
