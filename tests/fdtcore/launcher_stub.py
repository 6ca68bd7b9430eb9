"""A launcher without TensorFlow: ``launcher_stub.py SIZE LOGS BEHAVIOUR [RANK]``.

Started again by mpirun, as a rank, it behaves as told.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from fdtcore import output, settings
from fdtcore.failures import Failure, read_record, write_record
from fdtcore.launcher import descendants, jobs
from fdtcore.launcher.explanation import explain
from fdtcore.launcher.launchers import Job
from fdtcore.launcher.supervisor import supervise
from fdtcore.process import Process
from fdtcore.snapshots.stop_requests import STOPPED_CODE


def launch(size: int, logs: Path, words: list[str]) -> int:
    environ = os.environ | settings.root_permission(os.environ, os.getuid())
    job = Job((sys.executable, __file__, "--rank", str(logs), *words), size)
    program = jobs.choose_launcher(job, "auto", environ)
    outcome = supervise(
        program.argv(job),
        environ,
        filtered=program.adds_text,
        stops_itself="keep" in words[0],
        failed=lambda: read_record(logs) is not None,
    )
    line = explain(outcome, read_record(logs), size=size, directory=logs)
    print(f"stub: {line}", file=sys.stderr)
    return outcome.code


def behave(logs: Path, behaviour: str, rank: str = "1") -> None:
    process = Process.from_environ(os.environ)
    descendants.end_with_parent(poll_s=0.2)
    output.redirect(process, logs)
    print(f"out {process}", flush=True)
    print(f"err {process}", file=sys.stderr, flush=True)
    if behaviour.endswith("keep"):
        keep_and_end(logs / f"told-{process.rank}", is_slow="slow" in behaviour)
    if behaviour == "stubborn" and process.rank == int(rank):
        ignore_signals(logs / f"told-{rank}")
    write_pid(logs, str(process.rank), os.getpid())
    while len(list(logs.glob("pid-[0-9]*"))) < process.size:
        time.sleep(0.01)  # what happens, happens to a whole job
    if process.rank == int(rank):
        act(process, logs, behaviour)
    if behaviour not in ("end", "swallow"):
        time.sleep(60)


def write_pid(logs: Path, name: str, pid: int) -> None:
    """Notes a process, whole or not at all: the job may end this one at any time."""
    draft = logs / f"draft-{name}"
    draft.write_text(str(pid))
    draft.rename(logs / f"pid-{name}")


def keep_and_end(told: Path, *, is_slow: bool) -> None:
    """Ends with the code of a snapshot when it is asked to; a slow one never does."""

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        told.touch()
        if not is_slow:
            os._exit(STOPPED_CODE)

    signal.signal(signal.SIGUSR1, end)


def ignore_signals(told: Path) -> None:
    """Notes that it has been told to end, and goes on."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.touch())


def act(process: Process, logs: Path, behaviour: str) -> None:
    kind, _, number = behaviour.partition("-")
    if kind == "exit":
        sys.exit(int(number))
    if kind == "kill":
        os.kill(os.getpid(), int(number))
    if kind == "raise":
        raise ValueError("bad value")
    if kind == "family":  # a child in a session of its own that ignores SIGTERM
        code = (
            "import signal, time; signal.signal(15, signal.SIG_IGN)\n"
            "print('ignores it', flush=True); time.sleep(60)"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE
        )
        child.stdout.readline()
        write_pid(logs, "child", child.pid)
        sys.exit(int(number or 0))
    if kind in ("record", "swallow"):  # told the others, then hangs or goes on
        try:
            raise ValueError("bad value")
        except ValueError as error:
            write_record(logs, Failure.from_exception(process, error))
    if kind == "terminal":
        print("for the user", file=output.terminal())
        sys.exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "--rank":
        behave(Path(sys.argv[2]), *sys.argv[3:])
    else:
        sys.exit(launch(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
