"""Real commands of a user, run to their end; what they say and leave behind."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import uuid

from tests.commands import LEAN, ROOT

PROGRAMS = pathlib.Path(__file__).parent / "failing"
TIME_LIMIT_S = 120
PROMPT_S = 10  # a failure has to end the job within this
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
        environ: Variables to set.
    """

    def __init__(self, folder, *command, interrupt_at=None, act=None, **environ):
        self.folder, self._mark = folder, uuid.uuid4().hex
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=folder,
            env=_environ(JOB_MARK=self._mark, **environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
        try:
            before = ""
            while interrupt_at is not None and interrupt_at not in before:
                line = process.stdout.readline()
                assert line, f"the job ended early: {before}"
                before += line
            if interrupt_at is not None:
                (act or press_ctrl_c)(process)
            self.text = before + process.communicate(timeout=TIME_LIMIT_S)[0]
        finally:
            process.kill()
        self.code, self.end_s = process.returncode, time.time()

    @property
    def delay_s(self):
        """Seconds from the failure, as the program noted it, to the job's end."""
        [failed_s] = re.findall(r"failed at ([\d.]+) s", self.text + self.log())
        return self.end_s - float(failed_s)

    def log(self, rank=1):
        """What a rank other than 0 wrote."""
        [path] = self.folder.glob(f"**/rank-{rank}.log")
        return path.read_text()

    def last_line(self):
        """The launcher's last word."""
        return self.text.strip().splitlines()[-1]

    def left(self):
        """Processes of the job that still run."""
        deadline_s = time.monotonic() + 3
        while (found := self._running()) and time.monotonic() < deadline_s:
            time.sleep(0.1)
        return found

    def _running(self):
        mark, found = f"JOB_MARK={self._mark}".encode(), []
        for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes():
                    found.append((path.parent / "cmdline").read_bytes())
            except OSError:
                continue  # it has just ended, or is not ours
        return [words for words in found if words]  # a zombie has none


def press_ctrl_c(process):
    """Interrupts a job as its terminal does."""
    os.killpg(process.pid, signal.SIGINT)


def _environ(**more):
    given = os.environ.get("PYTHONPATH")
    modules = [*more.pop("first", []), LEAN, ROOT, *([given] if given else [])]
    return {
        **{k: v for k, v in os.environ.items() if k[:5] not in ("HFDT_", "NFDT_")},
        "PYTHONPATH": os.pathsep.join(map(str, modules)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **{
            f"OMPI_ALLOW_RUN_AS_ROOT{suffix}": "1"
            for suffix in ("", "_CONFIRM")
            if os.getuid() == 0
        },
        **more,
    }


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
