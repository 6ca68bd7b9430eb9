"""Starts one contender's processes, waits for them, reads the speed they print."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import click

from benchmarks.launches import Contender, Launch, Machine, environment
from benchmarks.work import Work

# mpirun and horovodrun may put the rank before it, so it is searched, not matched.
JSON_LINE = re.compile(r'\{"images": .*?\}')
GRACE_S = 10  # from SIGTERM to SIGKILL

Found = TypeVar("Found")  # what one run of a contender gives


class ContenderError(RuntimeError):
    """A contender ended with an error, took too long or printed no speed."""


class Speed(NamedTuple):
    """What one run of one contender gave."""

    images_per_s: float  # per rank
    data: str  # where the images came from


def this_machine() -> Machine:
    """Return the interpreter, the cores and two ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        first, second = (one.getsockname()[1] for one in sockets)
    return Machine(sys.executable, len(os.sched_getaffinity(0)), (first, second))


def read_speed(output: str, ranks: int) -> Speed:
    """Return the speed that the output of a contender states.

    Every line counts all images of its own job: one line for a distributed
    contender, one for each independent copy.

    Args:
        output: Standard output of all its processes.
        ranks: Processes that computed.

    Raises:
        ContenderError: There is no such line.
    """
    found = [json.loads(text) for text in JSON_LINE.findall(output)]
    if not found:
        raise ContenderError("no speed was printed")
    total = sum(line["images"] / line["seconds"] for line in found)
    return Speed(total / ranks, found[0]["data"])


def run(
    contender: Contender,
    work: Work,
    *,
    timeout_s: float,
    extra: Mapping[str, str] | None = None,
) -> Speed:
    """Run a contender once.

    Args:
        contender: Who.
        work: What to train.
        timeout_s: Processes still running after this are stopped.
        extra: Further environment variables.

    Returns:
        Its speed.

    Raises:
        ContenderError: It failed; the message ends with its last lines.
    """
    launches = contender.launches(work, this_machine())
    return read_speed(output_of(launches, timeout_s, extra), contender.ranks)


def in_turn(
    names: Sequence[str],
    measure: Callable[[str], Found],
    shown: Callable[[Found], str],
) -> dict[str, Found]:
    """Measure contenders one after the other, and say so on stderr.

    Args:
        names: Theirs.
        measure: Runs one.
        shown: What was found, in words.

    Returns:
        Contender -> what was found; a contender that failed is absent.
    """
    found = {}
    for name in names:
        try:
            found[name] = measure(name)
        except ContenderError as error:
            click.echo(f"  {name:<16} failed: {error}", err=True)
            continue
        click.echo(f"  {name:<16} {shown(found[name])}", err=True)
    return found


def output_of(
    launches: Sequence[Launch], timeout_s: float, extra: Mapping[str, str] | None = None
) -> str:
    """Run processes in a folder of their own and return all that they print.

    Args:
        launches: What to start.
        timeout_s: Processes still running after this are stopped.
        extra: Further environment variables.

    Raises:
        ContenderError: One failed; the message ends with the last lines of all.
    """
    base = environment(os.environ, sys.executable, os.getuid()) | dict(extra or {})
    with tempfile.TemporaryDirectory(prefix="hfdt-bench-") as folder:
        logs = [Path(folder, f"process-{i}.log") for i in range(len(launches))]
        processes: list[subprocess.Popen[bytes]] = []
        with contextlib.ExitStack() as stack:
            stack.callback(_stop_all, processes)
            for launch, path in zip(launches, logs, strict=True):
                log = stack.enter_context(path.open("wb"))
                environ = base | dict(launch.environ)
                processes.append(_start(launch.argv, environ, folder, log))
            failure = _wait_all(processes, timeout_s)
        output = "\n".join(path.read_text(errors="replace") for path in logs)
    if failure:
        raise ContenderError(f"{failure}: {_last_lines(output)}")
    return output


def _start(
    argv: tuple[str, ...], environ: Mapping[str, str], folder: str, log: IO[bytes]
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            argv,
            env=dict(environ),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise ContenderError(f"cannot start {argv[0]} ({error.strerror})") from error


def _wait_all(processes: "list[subprocess.Popen[bytes]]", timeout_s: float) -> str:
    """Return why the processes did not all succeed, or "" if they did."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        codes = [process.poll() for process in processes]
        if any(codes):
            return f"exit code {next(filter(None, codes))}"
        if None not in codes:
            return ""
        time.sleep(0.1)
    return f"not finished after {timeout_s:.0f} s"


def _stop_all(processes: "list[subprocess.Popen[bytes]]") -> None:
    running = [process for process in processes if process.poll() is None]
    for process in running:
        # A launcher's ranks are not in its group; only a launcher told to end, not
        # killed, takes them with it.
        os.killpg(process.pid, signal.SIGTERM)
    for process in running:
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _last_lines(output: str, count: int = 5) -> str:
    return "\n    ".join(output.strip().splitlines()[-count:]) or "it printed nothing"
