"""Jobs broken on purpose, a row each: how they end, what they say, nothing is left.

``make test`` runs the rows that tell most, ``make faults`` all of them. Not here: two
fits in two threads; strangers on the control line (tests/hfdt/test_failures.py and
tests/fdtcore/test_hub.py); models and data that train as on one process, which
the tables of equalities compare.
"""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.hfdt import real_jobs
from tests.processes import ROOT, Process

pytestmark = [pytest.mark.horovod, pytest.mark.mpi, pytest.mark.slow]

SCRIPT = ROOT / "tests" / "faults" / "script.py"
COMMANDS = {
    name: (sys.executable, "-m", f"{package}.cli", "run", "-np", "2")
    for name, package in (("h", "hfdt"), ("n", "nfdt"))
}
# As tmpfs, for what needs a disk that is full; only root may.
MOUNTS = os.getuid() == 0


@dataclasses.dataclass(frozen=True)
class Row:
    """One way to break a job.

    Args:
        on: The frameworks: ``h``, ``n`` or ``hn``.
        words: Of the script: where, what, and who.
        code: The exit code of the command.
        said: Pattern of a line that is printed.
        at: Text that is printed when something is done from outside; empty for never.
        act: What is done then, with the job's process.
        options: Of ``run``.
        around: Shell words that the command stands in, as ``"$@" >&-``.
        full: Whether the disk of the logs is full.
        telling: Whether it runs in every ``make test``.
    """

    on: str
    words: str
    code: int
    said: str = ""
    at: str = ""
    act: Callable[[Process], None] | None = None
    options: str = ""
    around: str = ""
    full: bool = False
    telling: bool = False

    @property
    def name(self) -> str:
        """What it is called in a report of tests."""
        act = getattr(self.act, "__name__", "") or getattr(self.act, "name", "")
        parts = (self.words, self.at and f"{act} {self.at}", self.options, self.around)
        return " ".join(filter(None, parts)) + (" full disk" if self.full else "")


def to_launcher(number):
    def act(process):
        os.kill(process.pid, number)

    act.__name__ = signal.Signals(number).name
    return act


def to_all(number, times=1):
    def act(process):
        for _ in range(times):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            time.sleep(0.05)  # as fast as fingers are

    act.__name__ = f"{signal.Signals(number).name} to all x {times}"
    return act


def kill_mpirun(process):
    """Kills what the launcher has started."""
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for pid in children.read_text().split():
        os.kill(int(pid), signal.SIGKILL)


def pause(process, rank=1, then=signal.SIGCONT):
    """Stops a rank for a while."""
    pid = process.rank(rank)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(3)
    os.kill(pid, then)


def stop_and_kill(process):
    """Stops a rank, and kills it while it is."""
    pause(process, then=signal.SIGKILL)


INT, TERM = signal.SIGINT, signal.SIGTERM
STOPPED = r"stopped by {}; every rank has ended\.$"
HUP, QUIT = signal.SIGHUP, signal.SIGQUIT
BY_INT = STOPPED.format("SIGINT")
FAILED = r"^[hn]fdt: (rank 1/2|worker 1) \(.*\) failed: {}"
LOST = r"worker 1 \(rank 1\) was lost; 1 worker goes on and takes over its batches\."
LATE = "--stall-timeout 3"
# Long enough for a step to be traced while other jobs run.
SOON = "--stall-timeout 10"
IS_STOPPED = r"It is stopped by a signal \(SIGSTOP or Ctrl-Z\)\."

ROWS = [
    # An exception or an exit code of the script ends the job, wherever it comes from.
    Row("hn", "callback exit3 1", 3, FAILED.format("SystemExit: 3"), telling=True),
    Row("n", "callback exittext 1", 1, FAILED.format("SystemExit: a text of the")),
    Row("n", "callback memory 1", 1, FAILED.format("MemoryError")),
    Row("n", "step notext 1", 1, FAILED.format("NoText: <str.. of the exception")),
    Row("n", "callback group 1", 1, FAILED.format("ExceptionGroup: several")),
    Row("hn", "callback deep 1", 1, FAILED.format("RecursionError")),
    Row("n", "top missing 1", 1, FAILED.format("FileNotFoundError"), telling=True),
    Row("h", "top missing 1", 1, FAILED.format("FileNotFoundError")),
    Row("hn", "top missing", 1, "failed: FileNotFoundError"),
    Row("n", "after exit3 1", 3, FAILED.format("SystemExit: 3"), telling=True),
    Row("h", "after exit3 1", 3, FAILED.format("SystemExit: 3")),
    Row("n", "callback atonce3 1", 3, FAILED.format("os._exit: 3"), telling=True),
    Row("h", "callback atonce3 1", 3, "rank 1/2 ended with exit code 3"),
    Row("n", "callback exit0 1", 0, r"worker 1 \(rank 1\) ended its script in the mid"),
    Row("h", "callback exit0 1", 1, "rank 1/2 finished its script after call"),
    # Only a process that is gone is done without, where the framework can.
    Row("n", "step kill 1", 0, LOST),
    Row("n", "step abort 1", 0, LOST),
    Row("h", "step kill 1", 137, r"killed by signal 9 \(SIGKILL\)"),
    # What would never end.
    Row("n", "after wait 0", 1, "worker 0 .* does not end", options=LATE, telling=True),
    Row("n", "atexit wait 1", 1, "worker 1 .* does not end", options=LATE),
    Row("h", "atexit wait 0", 1, "rank 0/2 does not end", options=LATE, telling=True),
    Row("h", "after wait 1", 1, "rank 1/2 does not end", options=LATE),
    Row("n", "after fork0", 0, "the child of rank 0 ended with 0", telling=True),
    Row("hn", "after fork3", 0, "the child of rank 0 ended with 3"),
    Row("n", "none", 0, r"rank-1.log is cut off: No space", full=True, telling=True),
    Row("h", "none", 0, r"rank-1.log is cut off: No space", full=True),
    Row("hn", "callback exit3 1", 3, "failed: SystemExit: 3", full=True),
    # A process that is stopped, whoever it is.
    Row(
        "h", "step stop 0", 1, rf"rank 0/2 \(.*{IS_STOPPED}", options=SOON, telling=True
    ),
    Row("h", "step stop 1", 1, rf"rank 1/2 .*{IS_STOPPED}", options=SOON),
    # Signals.
    Row("h", "", 130, BY_INT, "at step", to_all(INT, 3), telling=True),
    Row("n", "", 130, BY_INT, "at step", to_all(INT, 3)),
    Row("hn", "", 130, BY_INT, "goes to", to_all(INT)),
    Row("hn", "", 130, BY_INT, "at tracing", to_all(INT)),
    Row("hn", "", 130, BY_INT, "at validation", to_all(INT)),
    Row("hn", "", 130, BY_INT, "at step", to_launcher(INT)),
    Row("hn", "handler", 130, BY_INT, "at step", to_all(INT)),
    Row("hn", "except", 130, BY_INT, "at step", to_all(INT)),
    Row(
        "h", "", 131, STOPPED.format("SIGQUIT"), "at step", to_launcher(signal.SIGQUIT)
    ),
    Row(
        "n", "", 131, STOPPED.format("SIGQUIT"), "at step", to_launcher(signal.SIGQUIT)
    ),
    Row("hn", "", 143, STOPPED.format("SIGTERM"), "at step", to_launcher(TERM)),
    Row("hn", "handler", 143, STOPPED.format("SIGTERM"), "at step", to_all(TERM)),
    Row("hn", "", 129, STOPPED.format("SIGHUP"), "at step", to_launcher(HUP)),
    Row("hn", "", -9, "", "at step", to_launcher(signal.SIGKILL)),
    Row("hn", "", 137, "the launcher was killed", "at step", kill_mpirun),
    Row("hn", "short", 0, "^trained", "at step", pause),
    Row("n", "short", 0, LOST, "at step", stop_and_kill),
    # Refused in one line.
    Row("n", "none complex", 1, "must be real .* complex64 for .*kernel", telling=True),
    Row("h", "none complex", 1, "complex64 for .*kernel"),
    Row("hn", "none shape", 1, "failed: ValueError: Data cardinality is ambig"),
    Row("hn", "none optimizer", 1, "failed: ValueError: .*nosuch"),
    Row("hn", "none nocompile", 1, "failed: ValueError: You must call `compile"),
    Row("h", "none nan", 1, "failed: NonFiniteGradient: gradients must be finite"),
    Row("n", "none nan", 1, "gradients in a row were NaN or infinite"),
    # Streams and surroundings.
    Row("hn", "none", 0, "", around='"$@" >&-', telling=True),
    Row("hn", "none", 0, "", around='"$@" 2>&-'),
    Row("hn", "callback exit3 1", 3, "failed: SystemExit: 3", around='"$@" >&-'),
    Row("hn", "none print", 0, "", around='"$@" 2>&1 | head -3'),
    Row("hn", "top print", 0, "^at atexit", around='"$@" | tail -1'),
    Row("hn", "top input", 1, "failed: EOFError", around='"$@" < /dev/null'),
    Row("hn", "none", 2, "the output folder must be writable", around='cd /proc; "$@"'),
    Row("hn", "after spawn", 0, "^trained"),
    Row("hn", "after chdir", 0, "^trained"),
    Row("hn", "top daemon", 0, "^trained"),
]


def _cases():
    for row in ROWS:
        if "group" in row.words and not hasattr(builtins, "ExceptionGroup"):
            continue  # it is new in Python 3.11
        for framework in row.on:
            marks = [] if row.telling else [pytest.mark.faults]
            name = f"{framework} {row.name}"
            yield pytest.param(framework, row, id=name, marks=marks)


@pytest.fixture
def folder(tmp_path):
    """Where a job runs; its logs are on a file system of their own."""
    yield tmp_path
    if os.path.ismount(tmp_path / "logs"):
        subprocess.run(["umount", tmp_path / "logs"], check=True)


def fill(logs):
    """Makes a folder whose disk is full."""
    if not MOUNTS:
        pytest.skip("only root can make a small disk")
    logs.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=16k", "none", logs]
    if subprocess.run(words, check=False).returncode:
        pytest.skip("there is no tmpfs here")
    (logs / "filler").write_bytes(bytes(16384))


@pytest.mark.parametrize(("framework", "row"), list(_cases()))
def test_a_job_ends_as_it_should_and_leaves_nothing(folder, framework, row):
    if row.full:
        fill(folder / "logs")
    writes = [] if "/proc" in row.around else ["--output", folder / "logs"]
    words = [
        *COMMANDS[framework],
        *writes,
        *row.options.split(),
        SCRIPT,
        *row.words.split(),
    ]
    if row.around:
        words = ["bash", "-c", f"exec 2>&1; {row.around}", "bash", *words]
    job = real_jobs.Job(
        folder,
        *words,
        interrupt_at=row.at or None,
        act=row.act,
    )
    assert job.left() == [], job.text
    assert job.code == row.code, job.text
    assert re.search(row.said, job.text, re.MULTILINE), job.text
