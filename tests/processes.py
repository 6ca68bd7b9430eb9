"""Starts a command as a user does, waits for it, and ends it with all that it started.

Every test that needs another process takes it from here: it gets a session and an
environment of its own, it is given a time limit, and what it says is kept.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable
from typing import IO, Any, TextIO

from fdtcore.settings import root_permission

ROOT = pathlib.Path(__file__).parents[1]
# Hides packages that Keras takes a second to import, and few programs need.
LEAN = ROOT / "tests" / "lean"
TIME_LIMIT_S = 300
# What a process that was told to end may take to be gone.
GONE_S = 5
# How often a condition is looked at: nothing is slept for, only looked for.
LOOK_S = 0.01
# A test's own job, batch system or make decides nothing for the job that it starts.
NOT_HANDED_DOWN = ("HFDT_", "NFDT_", "OMPI_COMM", "PMIX_", "SLURM_", "MAKE", "MFLAGS")


def environ(
    modules: Iterable[pathlib.Path | str] = (),
    lean: bool = True,
    **variables: str | None,
) -> dict[str, str]:
    """Returns the environment of a command.

    Args:
        modules: Folders whose modules come before others.
        lean: Whether packages are hidden that are slow to import.
        **variables: To set beside; those that are None are not set at all.
    """
    given = os.environ.get("PYTHONPATH")
    paths = [*modules, *([LEAN] if lean else []), ROOT, *([given] if given else [])]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(NOT_HANDED_DOWN)}
    wanted = {
        **kept,
        **root_permission(kept, uid=os.getuid()),
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **variables,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def wait_until(
    condition: Callable[[], Any], what: str, time_limit_s: float = TIME_LIMIT_S
) -> Any:
    """Returns what a condition returns, as soon as that is true.

    Raises:
        AssertionError: It never becomes true; names what was waited for.
    """
    ends_s = time.monotonic() + time_limit_s
    while not (found := condition()):
        assert time.monotonic() < ends_s, f"waited {time_limit_s:g} s for {what}"
        time.sleep(LOOK_S)
    return found


def is_running(pid: int) -> bool:
    """Says whether a process is there, and has not ended."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


class Process:
    """A command that runs, and all that it starts.

    Its output goes to files, so that it never waits for a reader. As a context it is
    ended, with its descendants, when the context is left.

    Args:
        *words: The command and its arguments.
        folder: Where it runs.
        merged: Whether errors are kept with the output, in the order of writing.
        log: File that keeps all it says, merged.
        **environment: See ``environ``.
    """

    def __init__(
        self,
        *words: object,
        folder: pathlib.Path = ROOT,
        merged: bool = False,
        log: pathlib.Path | None = None,
        **environment: Any,
    ):
        self._mark = uuid.uuid4().hex
        self._words = [str(word) for word in words]
        writers = [_writer(log)] if merged or log else [_writer(None), _writer(None)]
        self._readers = [open(file.name, errors="replace") for file in writers]
        try:
            self._process = subprocess.Popen(
                self._words,
                cwd=folder,
                env=environ(**environment, JOB_MARK=self._mark),
                stdin=subprocess.DEVNULL,
                stdout=writers[0],
                stderr=writers[-1],
                start_new_session=True,
            )
        finally:
            for file in writers:
                file.close()
                if log is None:
                    os.unlink(file.name)
        self.pid = self._process.pid

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    @property
    def returncode(self) -> int | None:
        """As ``subprocess`` has it; None while the command runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """What the command has said until now; with its errors where merged."""
        return _all_of(self._readers[0])

    @property
    def errors(self) -> str:
        """What it has said on stderr until now; empty where that is in the output."""
        return _all_of(self._readers[1]) if len(self._readers) > 1 else ""

    def send(self, number: int) -> None:
        """Sends a signal to the command alone."""
        self._process.send_signal(number)

    def press_ctrl_c(self) -> None:
        """Interrupts the command and its group, as its terminal does."""
        os.killpg(self.pid, signal.SIGINT)

    def wait_until(self, condition: Callable[[], Any], what: str) -> Any:
        """Waits for something that the command does; fails where it ends before."""

        def is_over() -> Any:
            over = self.returncode is not None
            return condition() or over

        wait_until(is_over, f"{what}; it said {self.output[-2000:]}")
        found = condition()
        assert found, f"ended without {what}: {self.said()}"
        return found

    def wait_for_text(self, text: str) -> None:
        """Waits until the command has said something."""
        self.wait_until(lambda: text in self.output, repr(text))

    def ended(
        self, time_limit_s: float = TIME_LIMIT_S
    ) -> subprocess.CompletedProcess[str]:
        """Waits for the command's own end; what it has started may still be there.

        Raises:
            AssertionError: It runs longer than the time limit. It is ended then.
        """
        try:
            code = self._process.wait(time_limit_s)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(
                f"ran longer than {time_limit_s:g} s: {self._words}\n{self.said()}"
            ) from None
        return subprocess.CompletedProcess(self._words, code, self.output, self.errors)

    def said(self) -> str:
        """Returns output and errors, for the message of a failed test."""
        return "\n".join(filter(None, [self.output, self.errors]))

    def family(self) -> dict[int, str]:
        """Returns what of it still runs, itself included: pid -> command line."""
        mark, found = f"JOB_MARK={self._mark}".encode(), {}
        for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes():
                    words = (path.parent / "cmdline").read_bytes()
                    found[int(path.parent.name)] = words.replace(b"\0", b" ").decode()
            except OSError:
                continue  # it has just ended, or is another user's
        return {pid: words for pid, words in found.items() if is_running(pid)}

    def rank(self, number: int) -> int:
        """Returns the pid of one rank that an mpirun of it has started."""
        wanted = f"OMPI_COMM_WORLD_RANK={number}".encode()
        for pid in self.family():
            with contextlib.suppress(OSError):
                if wanted in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(
                    b"\0"
                ):
                    return pid
        raise LookupError(f"no rank {number}")

    def left(self) -> dict[int, str]:
        """Ends what an ended command has left behind; returns what that was."""
        ends_s = time.monotonic() + GONE_S
        while (found := self.family()) and time.monotonic() < ends_s:
            time.sleep(LOOK_S)
        self.end()
        return found

    def end(self) -> None:
        """Kills whatever of it runs, and waits until it is gone."""
        while (found := self.family()) or self.returncode is None:
            for pid in {*found, self.pid} if self.returncode is None else found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self.returncode is None:
                self._process.wait()


def _writer(log: pathlib.Path | None) -> IO[bytes]:
    """Opens what a command writes to the end of, whoever else does."""
    if log is not None:
        return log.open("ab")
    number, path = tempfile.mkstemp()
    os.close(number)
    return open(path, "ab")


def _all_of(reader: TextIO) -> str:
    reader.seek(0)
    return reader.read()


def run(
    *words: object,
    folder: pathlib.Path = ROOT,
    time_limit_s: float = TIME_LIMIT_S,
    **environment: Any,
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end; nothing of it is left then.

    Args:
        *words: The command and its arguments.
        folder: Where it runs.
        time_limit_s: When it has failed at the latest.
        **environment: See ``environ``.

    Returns:
        Its exit code, output and errors.
    """
    with Process(*words, folder=folder, **environment) as process:
        return process.ended(time_limit_s)
