"""What a program shards by itself is not split again, and counts by its samples."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.processes import run

JOB = Path(__file__).with_name("sharded_job.py")
PROGRAMS = {
    "hfdt run": (sys.executable, "-m", "hfdt.cli", "run", "-np", "2"),
    "horovodrun": (
        *(str(Path(sys.executable).with_name("horovodrun")), "--gloo", "-np", "2"),
        sys.executable,
    ),
}


def results(folder, *program):
    """Returns what the job writes."""
    done = run(*program, JOB, folder / "out.npz", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(folder / "out.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The numbers of one process."""
    return results(tmp_path_factory.mktemp("one"), sys.executable)


@pytest.mark.mpi
@pytest.mark.horovod
@pytest.mark.slow
@pytest.mark.parametrize("launcher", PROGRAMS)
def test_sharded_data_gives_the_numbers_of_one_process(launcher, tmp_path, expected):
    found = results(tmp_path, *PROGRAMS[launcher])
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)
