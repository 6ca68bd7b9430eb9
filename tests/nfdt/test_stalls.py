"""A process that lives and makes no progress is named; the job ends or goes on."""

from __future__ import annotations

import pytest

from tests.nfdt import real_runs
from tests.nfdt.real_runs import every_batch_once, mpirun, run, said

pytestmark = [pytest.mark.mpi, pytest.mark.slow]

# Long enough for a step to be traced while other jobs run.
STALL_S = 10
WAY = ("--stall-timeout", STALL_S)
STOPPED = r"It is stopped by a signal \(SIGSTOP or Ctrl-Z\)\."
CONTROLLERS = ("asp", "bsp", "ssp:1", "local:4")
# Of the workers under each controller these run in every ``make test``.
TELLING = [(0, "bsp"), (1, "asp")]


def _workers():
    for worker in (0, 1):
        for consistency in CONTROLLERS:
            is_telling = (worker, consistency) in TELLING
            marks = [] if is_telling else [pytest.mark.faults]
            yield pytest.param(worker, consistency, marks=marks)


@pytest.mark.parametrize(("worker", "consistency"), list(_workers()))
def test_a_stopped_worker_is_named_and_done_without(tmp_path, worker, consistency):
    job = run(tmp_path, f"stop{worker}@4", *WAY, "--consistency", consistency)
    assert job.code == 0, job.text
    name = rf"worker {worker} \(rank {worker}\)"
    assert len(said(job, rf"{name}.* {STOPPED} It is ended\.$")) == 1, job.text
    assert f"\nworker {1 - worker} (rank {1 - worker}) (" in job.text  # its stack
    assert said(job, rf"{name} was lost; 1 worker goes on")
    if consistency != "local:4":  # its pushes are of several steps
        assert real_runs.visits(tmp_path) == every_batch_once()


def test_a_stopped_worker_ends_the_job_where_a_loss_does(tmp_path):
    abort = ("--on-worker-loss", "abort", "--consistency", "bsp")
    job = run(tmp_path, "stop1@4", *WAY, *abort)
    assert job.code == 1, job.text
    # It is missed by who waits for it, or by its own silence: whichever is first.
    assert said(job, rf"worker 1 .*{STOPPED}"), job.text
    assert "It is stopped by a signal" in job.last_line()


@pytest.mark.parametrize(
    "consistency",
    ["asp", *(pytest.param(c, marks=pytest.mark.faults) for c in CONTROLLERS[1:])],
)
def test_a_stopped_server_is_named_by_the_workers(tmp_path, consistency):
    job = run(tmp_path, "stopserver0@4", *WAY, "--consistency", consistency)
    assert job.code == 1, job.text
    name = "server 0 (rank 2)"
    assert job.last_line().startswith(f"nfdt: {name}"), job.text
    assert "It is stopped by a signal" in job.last_line()
    assert f"worker 1 (rank 1) stops: {name}" in job.log(1)
    assert "in <module>" in job.text  # the stack of the worker that has found it


@pytest.mark.long
def test_under_plain_mpirun_the_same(tmp_path):
    job = mpirun(tmp_path, "stop1@4", NFDT_STALL_TIMEOUT=str(STALL_S))
    assert job.code != 0
    assert said(job, rf"worker 1 \(rank 1\).*{STOPPED}"), job.text
    job = mpirun(tmp_path, "stopserver0@4", NFDT_STALL_TIMEOUT=str(STALL_S))
    assert job.code != 0
    assert "server 0 (rank 2) (" in job.text


def test_one_of_two_stopped_servers_ends_the_job(tmp_path):
    job = run(tmp_path, "stopserver0@4", *WAY, "--servers", 2, "--algorithm", "asgd")
    assert job.code == 1, job.text
    assert job.last_line().startswith("nfdt: server 1 (rank 3)"), job.text
