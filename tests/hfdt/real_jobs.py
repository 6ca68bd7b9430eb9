"""Real commands of a user, run to their end; what they say and leave behind."""

from __future__ import annotations

import pathlib
import sys

from tests.processes import Process

PROGRAMS = pathlib.Path(__file__).parent / "failing"
TIME_LIMIT_S = 600  # on a slow machine, with other jobs beside it
# A failure is seen when it happens: no job of these comes to its stall timeout.
NO_STALL_TIMEOUT = {f"{name}_STALL_TIMEOUT": "600" for name in ("HFDT", "NFDT")}
RUN = (sys.executable, "-m", "hfdt.cli", "run")
MPIRUN_PYTHON = ("mpirun", "-np", "2", "--oversubscribe", sys.executable)
MPIRUN = (*MPIRUN_PYTHON, "-m", "hfdt")
GLOO = ("horovodrun", "--gloo", "-np", "2", sys.executable, "-m", "hfdt")


class Job:
    """One command, run to its end.

    Args:
        folder: Where it runs.
        command: The command and its arguments.
        interrupt_at: Text of its output at which something is done; None never.
        act: What is done, with its process; Ctrl-C is pressed else.
        first: Folders whose modules come before others.
        time_limit_s: How long it may take after that.
        environ: Variables to set.
    """

    def __init__(
        self,
        folder,
        *command,
        interrupt_at=None,
        act=None,
        first=(),
        time_limit_s=TIME_LIMIT_S,
        **environ,
    ):
        self.folder = folder
        environ = {**NO_STALL_TIMEOUT, **environ}
        self._process = Process(
            *command, folder=folder, merged=True, modules=first, **environ
        )
        try:
            if interrupt_at is not None:
                self._process.wait_for_text(interrupt_at)
                (act or Process.press_ctrl_c)(self._process)
            done = self._process.ended(time_limit_s)
        except BaseException:
            self._process.end()
            raise
        self.code, self.text = done.returncode, done.stdout

    def log(self, rank=1):
        """What a rank other than 0 wrote; else what the job said instead."""
        paths = list(self.folder.glob(f"**/rank-{rank}.log"))
        assert len(paths) == 1, f"rank {rank} has no log of its own: {self.text}"
        return paths[0].read_text()

    def last_line(self):
        """The launcher's last word."""
        return self.text.strip().splitlines()[-1]

    def left(self):
        """Ends processes of the job that still run; returns what they were."""
        return list(self._process.left().values())


def run_program(folder, program, name, *options, np=2, **choices):
    """Runs ``hfdt run`` on a program of the folder ``failing``."""
    script = PROGRAMS / f"{program}.py"
    words = ("-np", np, "--output", "logs", *options, script, name)
    job = Job(folder, *RUN, *words, **choices)
    assert job.left() == []
    return job


def expect_failure(job, *words, code=1):
    """The launcher's last line and the log of rank 1 hold all words."""
    assert job.code == code, job.text
    for word in words:
        assert word in job.last_line()
        assert word in job.log()
        assert word in job.text.replace(job.last_line(), "")  # rank 0 says so, too
