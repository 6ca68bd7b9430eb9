"""Jobs that Slurm starts, and ends: three hosts, a task on each."""

from __future__ import annotations

import os
import re
import signal
import sys

import pytest

from tests.cluster.slurm import Slurm
from tests.cluster.test_jobs import (
    GONE_S,
    LASTS_S,
    NOISE,
    SCRIPT,
    losses,
)
from tests.processes import wait_until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.horovod,
    pytest.mark.mpi,
    pytest.mark.slow,
]

TASKS = ("-N3", "-n3")
FIT = (SCRIPT, "epochs", 2)
# What Slurm's own programs say where a job ends; a batch script's log has its notice
# of the end as well, which nobody can keep from it.
SRUN = ("srun:", "non-zero exit status", "STEP")


def rank(program):
    return (sys.executable, "-m", program)


def run(program, *options):
    return (sys.executable, "-m", f"{program}.cli", "run", *options)


def assert_nothing_is_left(slurm: Slurm) -> None:
    wait_until(lambda: not slurm.pids(), "the end of all that Slurm started", GONE_S)


LAUNCHES = {
    "salloc hfdt run": ("salloc", *TASKS, *run("hfdt")),
    "salloc nfdt run": ("salloc", *TASKS, *run("nfdt")),
    "salloc, --launcher srun": ("salloc", *TASKS, *run("hfdt", "--launcher", "srun")),
    "srun hfdt": ("srun", "--mpi=pmix", *TASKS, *rank("hfdt")),
    "srun nfdt": ("srun", "--mpi=pmix", *TASKS, *rank("nfdt")),
}


@pytest.mark.parametrize("way", LAUNCHES)
def test_a_job_starts_under_slurm(slurm, folder, way):
    done = slurm.run(*LAUNCHES[way], *FIT, folder=folder)
    assert done.returncode == 0, done.stderr
    assert len(losses(done.stdout)) == 1, done.stdout
    assert "srun:" not in done.stderr
    assert_nothing_is_left(slurm)


@pytest.mark.parametrize("launcher", ["mpirun", "srun"])
def test_a_job_starts_within_a_step(slurm, folder, launcher):
    """As in the shell of ``srun --pty bash``, whose step has all cores."""
    words = " ".join(map(str, (*run("hfdt", "--launcher", launcher), *FIT)))
    shell = f"[ $SLURM_PROCID = 0 ] || exit 0; {words}; exit $?"
    done = slurm.run("srun", *TASKS, "bash", "-c", shell, folder=folder)
    assert done.returncode == 0, done.stderr
    assert len(losses(done.stdout)) == 1, done.stdout
    assert_nothing_is_left(slurm)


class Batch:
    """A job that ``sbatch`` has queued.

    Args:
        slurm: Where it runs.
        folder: Of its script and its log.
        words: The command that the script becomes.
        options: Of ``sbatch``.
    """

    def __init__(self, slurm, folder, words, *options):
        script, self._log = folder / "job.sh", folder / "job.log"
        script.write_text(f"#!/bin/bash\nexec {' '.join(map(str, words))}\n")
        self._slurm = slurm
        command = ("sbatch", "--parsable", *TASKS, "-o", self._log, *options, script)
        self.number = slurm.run(*command, folder=folder).stdout.strip()
        assert self.number.isdigit()

    @property
    def said(self):
        return self._log.read_text() if self._log.exists() else ""

    def wait_for(self, text, time_limit_s=LASTS_S):
        wait_until(
            lambda: text in self.said, f"{text!r} of {self.said!r}", time_limit_s
        )

    def wait_for_end(self, time_limit_s):
        def is_queued():
            return self._slurm.run("squeue", "-h", "-j", self.number).stdout.strip()

        wait_until(lambda: not is_queued(), f"the end of {self.said}", time_limit_s)
        assert_nothing_is_left(self._slurm)


BATCHES = {
    "hfdt run": (run("hfdt"), "hfdt: stopped by SIGTERM; every rank has ended."),
    "nfdt run": (run("nfdt"), "nfdt: stopped by SIGTERM; every rank has ended."),
    "--launcher srun": (
        run("hfdt", "--launcher", "srun"),
        "hfdt: stopped by SIGTERM; every rank has ended.",
    ),
}


@pytest.mark.parametrize("way", BATCHES)
def test_a_batch_job_is_cancelled(slurm, folder, way):
    words, said = BATCHES[way]
    batch = Batch(slurm, folder, (*words, SCRIPT))
    batch.wait_for("epoch 1 on node1")
    slurm.run("scancel", batch.number)
    batch.wait_for_end(GONE_S)
    assert batch.said.splitlines()[-1] == said
    assert not any(word in batch.said for word in (*NOISE, *SRUN)), batch.said


def test_a_batch_job_hears_of_its_time_limit_and_is_ended(slurm, folder):
    options = ("--time", 1, "--signal", "B:USR1@45")
    batch = Batch(slurm, folder, (*run("hfdt"), SCRIPT, "handler"), *options)
    batch.wait_for("USR1 on rank 0")
    batch.wait_for_end(150)
    assert "DUE TO TIME LIMIT" in batch.said
    last = batch.said.splitlines()[-1]
    assert last == "hfdt: stopped by SIGTERM; every rank has ended."
    assert not any(word in batch.said for word in (*NOISE, *SRUN)), batch.said


@pytest.mark.parametrize("program", ["hfdt", "nfdt"])
def test_a_job_is_submitted_shown_and_waited_for(slurm, folder, program):
    words = run(
        program, "--on", "slurm=--nodes=3", "-np", 3 if program == "hfdt" else 2
    )
    done = slurm.run(*words, *FIT, folder=folder)
    assert done.returncode == 0, done.stderr
    first, *rest = done.stderr.splitlines()
    assert re.match(rf"{program}: job \d+ of Slurm is submitted; its files are", first)
    assert any(f"{program}: it runs on node[1-3]." == line for line in rest)
    assert len(losses(done.stdout)) == 1, done.stdout
    assert_nothing_is_left(slurm)


def test_the_exit_code_and_the_failure_of_a_submitted_job_are_its_own(slurm, folder):
    words = run("hfdt", "--on", "slurm", "-np", 3)
    done = slurm.run(*words, SCRIPT, "exit", 1, folder=folder)
    assert done.returncode == 7, done.stderr
    last = done.stderr.splitlines()[-1]
    assert re.match(r"hfdt: rank 1/3 \(node\d\) failed: SystemExit: 7", last)
    assert_nothing_is_left(slurm)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_a_submitted_job(slurm, folder, number):
    words = run("hfdt", "--on", "slurm", "-np", 3)
    with slurm.start(*words, SCRIPT, folder=folder) as job:
        job.wait_for_text("epoch 1 on node1")
        command = min(p for p, w in slurm.pids().items() if "run --on slurm" in w)
        os.kill(command, number)
        done = job.ended(LASTS_S)
    assert done.returncode == 128 + number, done.stderr
    last = done.stderr.splitlines()[-1]
    assert re.match(rf"hfdt: stopped by {number.name}; job \d+ is cancelled\.", last)
    assert_nothing_is_left(slurm)


def test_a_submitted_job_that_is_cancelled_by_others_says_so(slurm, folder):
    words = run("hfdt", "--on", "slurm", "-np", 3)
    with slurm.start(*words, SCRIPT, folder=folder) as job:
        job.wait_for_text("epoch 1 on node1")
        slurm.run("scancel", "--name", "hfdt")
        done = job.ended(LASTS_S)
    assert done.returncode != 0
    assert re.search(r"hfdt: Slurm has ended job \d+: cancelled\.", done.stderr)
    assert_nothing_is_left(slurm)


NOT_STARTED = {
    "more than there is": (
        ("slurm",),
        7,
        "Received: PartitionConfig, which no waiting",
    ),
    "an option": (("slurm=--nodse=2",), 2, "unrecognized option '--nodse=2'"),
    "no time": (
        ("slurm=--begin=now+1hour", "--slots-timeout", "3s"),
        2,
        "Slurm must start the job within 3 s. Received: it waits for BeginTime",
    ),
}


@pytest.mark.parametrize("what", NOT_STARTED)
def test_a_job_that_slurm_does_not_start_is_refused(slurm, folder, what):
    (on, *options), size, line = NOT_STARTED[what]
    words = run("hfdt", "--on", on, *options, "-np", size)
    done = slurm.run(*words, *FIT, folder=folder)
    assert done.returncode == 2, done.stderr
    assert line in done.stderr.splitlines()[-1]
    assert slurm.run("squeue", "-h").stdout == ""
