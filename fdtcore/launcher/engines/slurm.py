"""Slurm: a job as a batch job, which is submitted, shown while it runs, and cancelled.

Within it ``hfdt run`` or ``nfdt run`` starts the processes, and says what went wrong.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType

_POLL_S = 2.0
_TICK_S = 0.2
_SAY_AFTER_S = 5.0
# Files on shared disks show their last bytes some time after they were written.
_QUIET_S = 1.0
_UNDER_WAY = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED")
# Why a job waits that never starts, as it asks for what is not there.
_NEVER = (
    *("PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit"),
    *("BadConstraints", "InvalidAccount", "InvalidQOS"),
)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclasses.dataclass(frozen=True)
class BatchJob:
    """A job as Slurm takes it.

    Args:
        name: Of the job.
        command: What runs on its first machine.
        size: Number of tasks.
        options: Further options of ``sbatch``.
        folder: Where it works.
        logs: Folder of its output.
    """

    name: str
    command: tuple[str, ...]
    size: int
    options: tuple[str, ...]
    folder: Path
    logs: Path

    @property
    def output(self) -> tuple[Path, Path]:
        """The files of its standard output and its standard error."""
        return self.logs / "batch.out", self.logs / "batch.err"

    def script(self) -> str:
        """Returns the batch script."""
        out, err = self.output
        options = (
            f"--job-name={self.name}",
            f"--ntasks={self.size}",
            f"--chdir={self.folder}",
            f"--output={out}",
            f"--error={err}",
            # A job that was lost is not begun again silently.
            "--no-requeue",
            *self.options,
        )
        lines = [f"#SBATCH {shlex.quote(option)}" for option in options]
        # Without exec a signal for the batch script would end at the shell.
        return "\n".join(["#!/bin/sh", *lines, f"exec {shlex.join(self.command)}", ""])


def run(
    job: BatchJob,
    environ: Mapping[str, str],
    say: Callable[[str], None],
    pending_timeout_s: float = math.inf,
) -> int:
    """Submits a job, shows its output, and waits for its end; Ctrl-C cancels it.

    Args:
        job: What is to run.
        environ: Its whole environment.
        say: Writes one line of the command's own.
        pending_timeout_s: How long it may wait in the queue.

    Returns:
        Its exit code.

    Raises:
        ValueError: Slurm is not here, or refuses the job, or does not start it in time.
    """
    if shutil.which("sbatch", path=environ.get("PATH")) is None:
        raise ValueError(
            "sbatch must be on the PATH to submit a job. Received: no such program. "
            "Log in to a machine of the cluster, or load its module of Slurm."
        )
    try:
        job.logs.mkdir(parents=True, exist_ok=True)
        for path in job.output:
            path.write_bytes(b"")
    except OSError as error:
        raise ValueError(
            "the output folder must be writable. "
            f"Received: {job.logs}: {error.strerror}. Choose one: --output DIR."
        ) from None
    words = ["sbatch", "--parsable"]
    done = _call(words, environ, job.script())
    if done.returncode:
        said = done.stderr.strip().partition("\n")[0]
        said = said.removeprefix("sbatch: ").removeprefix("error: ")
        raise ValueError(
            f"Slurm must accept the job. Received: {said.rstrip('.')}. Options of "
            "sbatch stand behind the name: --on 'slurm=--partition=P --time=1:00:00'."
        )
    identity = done.stdout.strip().partition(";")[0]
    say(f"job {identity} of Slurm is submitted; its files are in {job.logs}.")
    with _received_signals() as received:
        return _follow(job, identity, environ, say, pending_timeout_s, received)


def _follow(
    job: BatchJob,
    identity: str,
    environ: Mapping[str, str],
    say: Callable[[str], None],
    pending_timeout_s: float,
    received: list[int],
) -> int:
    began_s = looked_s = time.monotonic()
    state, said = "PENDING", set[str]()
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(path.open("rb")) for path in job.output]

        def show() -> int:
            pieces = [file.read() for file in files]
            for descriptor, piece in enumerate(pieces, start=1):
                _write(descriptor, piece)
            return sum(map(len, pieces))

        while state in _UNDER_WAY and not received:
            show()
            now_s = time.monotonic()
            if now_s - looked_s > _POLL_S:
                looked_s = now_s
                about = _look(identity, environ)
                state = about.get("JobState", state)
                waited_s = now_s - began_s
                if state == "PENDING" and waited_s > pending_timeout_s:
                    _call(["scancel", identity], environ)
                    raise ValueError(
                        f"Slurm must start the job within {pending_timeout_s:g} s. "
                        f"Received: it waits for {about.get('Reason')}, and is "
                        "cancelled. Ask for less, or wait longer: --slots-timeout."
                    )
                if state == "PENDING" and about.get("Reason") in _NEVER:
                    _call(["scancel", identity], environ)
                    raise ValueError(
                        "Slurm must be able to start the job. Received: "
                        f"{about['Reason']}, which no waiting changes. Ask for what "
                        "the partition has, or name another: --on 'slurm=-p NAME'."
                    )
                if state == "PENDING" and waited_s > _SAY_AFTER_S:
                    _once(said, f"it waits in the queue: {about.get('Reason')}.", say)
                if state == "RUNNING":
                    _once(said, f"it runs on {about.get('NodeList')}.", say)
            time.sleep(_TICK_S)
        if received:
            _cancel(identity, environ)
        while show():
            time.sleep(_QUIET_S)
    if received:
        number = received[0]
        say(f"stopped by {signal.Signals(number).name}; job {identity} is cancelled.")
        return 128 + number
    return _end(identity, state, _look(identity, environ), say)


def _end(
    identity: str, state: str, about: Mapping[str, str], say: Callable[[str], None]
) -> int:
    """Says what Slurm alone knows of the end, and returns the exit code."""
    code, _, number = about.get("ExitCode", "1:0").partition(":")
    found = 128 + int(number) if number not in ("", "0") else int(code)
    if state == "TIMEOUT":
        limit = about.get("TimeLimit")
        say(
            f"job {identity} has reached its time limit of {limit}. Raise it: "
            "--on 'slurm=--time=2:00:00'."
        )
    elif state not in ("COMPLETED", "FAILED"):
        say(f"Slurm has ended job {identity}: {state.lower().replace('_', ' ')}.")
    return found or (0 if state == "COMPLETED" else 1)


def _look(identity: str, environ: Mapping[str, str]) -> dict[str, str]:
    done = _call(["scontrol", "show", "job", "--oneliner", identity], environ)
    return dict(re.findall(r"(\w+)=(\S+)", done.stdout))


def _cancel(identity: str, environ: Mapping[str, str]) -> None:
    _call(["scancel", identity], environ)
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        if _look(identity, environ).get("JobState") not in _UNDER_WAY:
            return
        time.sleep(_TICK_S)


def _call(
    words: list[str], environ: Mapping[str, str], text: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        input=text,
        env=dict(environ),
        capture_output=True,
        text=True,
        # Ctrl-C is for this process, which then cancels the job.
        start_new_session=True,
        check=False,
    )


def _once(said: set[str], text: str, say: Callable[[str], None]) -> None:
    if text not in said:
        said.add(text)
        say(text)


def _write(descriptor: int, piece: bytes) -> None:
    with contextlib.suppress(OSError):  # nobody reads: the job goes on
        while piece:
            piece = piece[os.write(descriptor, piece) :]


@contextlib.contextmanager
def _received_signals() -> Iterator[list[int]]:
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)

    old = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
