"""NFDT over MPICH, which ends a job with any of its processes."""

from __future__ import annotations

import re

import pytest

from tests.cluster import mpich
from tests.cluster.test_jobs import (
    GONE_S,
    SCRIPT,
    THREE,
    assert_nothing_is_left,
    kill_on,
    losses,
)

pytestmark = [pytest.mark.cluster, pytest.mark.mpi, pytest.mark.slow]

# What MPICH's own programs say, which no user of `nfdt run` is to read.
HYDRAS = ("[proxy:", "[mpiexec@", "BAD TERMINATION", "EXIT STRING")
PYTHON = mpich.BIN / "python"
HYDRA = (mpich.BIN / "mpiexec", "-n", 3, "-hosts", "node1,node2,node3")
LAUNCHES = {
    "nfdt run": (PYTHON, "-m", "nfdt.cli", "run", "-np", 2, "-H", THREE),
    "mpiexec": (*HYDRA, PYTHON, "-m", "nfdt"),
}


@pytest.fixture(autouse=True)
def installed():
    if lacking := mpich.missing():
        pytest.skip(lacking)


@pytest.mark.parametrize("way", LAUNCHES)
def test_a_job_over_mpich_speaks_once(hosts, folder, way):
    words = (*LAUNCHES[way], SCRIPT, "epochs", 2)
    done = hosts.run("node1", *words, folder=folder, PATH=mpich.PATH)
    assert done.returncode == 0, done.stderr
    assert len(losses(done.stdout)) == 1, done.stdout
    assert "on node2" not in done.stdout
    warnings = re.findall(r"when a worker dies", done.stderr)
    assert len(warnings) == 1, done.stderr
    assert_nothing_is_left(hosts)


@pytest.mark.parametrize(
    ("way", "host"),
    [("nfdt run", "node1"), ("nfdt run", "node3"), ("mpiexec", "node2")],
)
def test_a_dead_rank_ends_a_job_over_mpich(hosts, folder, way, host):
    words = (*LAUNCHES[way], SCRIPT)
    with hosts.start("node1", *words, folder=folder, PATH=mpich.PATH) as job:
        job.wait_for_text("epoch 1 on node1")
        kill_on(host)(hosts, job)
        done = job.ended(GONE_S)
    assert done.returncode != 0
    if way == "nfdt run":
        last = done.stderr.splitlines()[-1]
        assert last.startswith("nfdt: a process has died, or its machine, and MPICH")
        assert not any(word in done.stderr for word in HYDRAS), done.stderr
    assert_nothing_is_left(hosts)
