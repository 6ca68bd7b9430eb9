"""What must be said when a job fails is said on a machine whose cores are busy."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.hfdt import real_jobs
from tests.nfdt import real_runs

# Rank 0 gets no core for a while, as may happen.
LATE = """
import os, time
time.sleep(3 if os.environ.get("OMPI_COMM_WORLD_RANK") == "0" else 0)
"""
pytestmark = [pytest.mark.mpi, pytest.mark.slow]


@pytest.fixture(autouse=True)
def busy():
    """Keeps every core busy, twice, while a test runs."""
    count = 2 * len(os.sched_getaffinity(0))
    words = [sys.executable, "-c", "while True: pass"]
    loops = [subprocess.Popen(words) for _ in range(count)]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


def test_a_horovod_for_another_tensorflow_is_refused_by_each_rank(tmp_path):
    other = tmp_path / "other"
    (package := other / "horovod").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "metadata.json").write_text('{"tensorflow": "1.0.0"}')
    (other / "sitecustomize.py").write_text(LATE)
    (script := tmp_path / "train.py").touch()
    job = real_jobs.Job(tmp_path, *real_jobs.MPIRUN, script, first=[other])
    assert job.left() == []
    assert job.code != 0
    line = "Horovod must be built for the TensorFlow that is installed. Received: "
    assert line in job.text
    assert line in job.log(1)


def test_a_lost_server_is_named_by_a_worker_in_the_middle_of_its_step(tmp_path):
    job = real_runs.run(tmp_path, "killserver0@4,hold1@4")
    assert job.code == 1
    line = "nfdt: server 0 (rank 2) is gone. Nothing can be trained without it"
    assert job.last_line().startswith(line)
    assert line in job.log(1)
