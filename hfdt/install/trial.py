"""The trial job of `hfdt doctor`: `hfdt.install.selftest` on two real processes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fdtcore import settings
from fdtcore.launcher.launchers import Job
from fdtcore.launcher.mpirun import find_mpirun, identify

SIZE = 2
TIME_LIMIT_S = 120.0
MARK = "hfdt.install.selftest "  # begins the line with the findings of the self-test
_PROGRAM = (sys.executable, "-m", "hfdt.install.selftest")


class Trial(NamedTuple):
    """How a trial job ended."""

    problem: str | None  # one line; None if the sum was right
    seconds: float
    built: tuple[str, ...] = ()  # what Horovod says it was built with


def over_mpi() -> Trial:
    """Tries an allreduce over MPI, under the mpirun that `hfdt run` would take."""
    mpirun = find_mpirun(sys.executable, os.environ.get("PATH", ""))
    if mpirun is None:
        return Trial("there is no mpirun", 0.0)
    try:
        launcher = identify(mpirun)
    except (ValueError, OSError) as error:
        return Trial(str(error), 0.0)
    return run(launcher.argv(Job(_PROGRAM, SIZE)))


def over_gloo() -> Trial:
    """Tries an allreduce over Gloo, which needs no MPI, under horovodrun."""
    horovodrun = str(Path(sys.executable).parent / "horovodrun")
    return run([horovodrun, "--gloo", "-np", str(SIZE), *_PROGRAM])


def run(argv: Sequence[str], time_limit_s: float = TIME_LIMIT_S) -> Trial:
    """Runs a trial job, and ends all of it at the time limit.

    Args:
        argv: the launcher's command line.
        time_limit_s: after so long the job is killed, and that is its problem.

    Returns:
        What came of it.
    """
    started_s = time.monotonic()
    try:
        child = subprocess.Popen(
            argv,
            env=_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return Trial(f"{argv[0]}: {error.strerror}", 0.0)
    try:
        output, _ = child.communicate(timeout=time_limit_s)
    except subprocess.TimeoutExpired:
        return Trial(f"no answer within {time_limit_s:.0f} s", time_limit_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
    return judge(output, child.returncode, time.monotonic() - started_s)


def judge(output: str, code: int, seconds: float) -> Trial:
    """Reads a finished trial's output.

    Args:
        output: all that was printed.
        code: exit code of the launcher.
        seconds: how long it took.

    Returns:
        The trial, with a problem unless all ranks were there and the sum was right.
    """
    if code:
        lines = [text.strip() for text in output.splitlines()]
        errors = [text for text in lines if "Error" in text] or lines or ["no output"]
        return Trial(f"exit code {code}: {errors[-1][:200]}", seconds)
    marked = [text for text in output.splitlines() if MARK in text]
    if not marked:
        return Trial("the job ended without a result", seconds)
    told = json.loads(marked[-1].partition(MARK)[2])
    if told["size"] != SIZE:
        size = told["size"]
        return Trial(f"{SIZE} processes started as jobs of {size}", seconds)
    built = tuple(name for name in ("mpi", "gloo", "nccl") if told[name])
    return Trial(None, seconds, built)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    permission = settings.root_permission(environ, os.getuid())
    rank = settings.settings(SIZE, settings.available_cores(), environ)
    return {**environ, **permission, **rank}
