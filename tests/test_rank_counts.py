"""A script of the user's own whose launcher is not that of its MPI: one line, once."""

from __future__ import annotations

import sys

import pytest

from tests import processes

SCRIPT = processes.ROOT / "tests" / "cluster" / "explicit.py"


@pytest.mark.horovod
@pytest.mark.mpi
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("program", ["hfdt", "nfdt"])
def test_ranks_without_a_launcher_of_their_own_say_so_once(program, rank):
    launcher = {"PMI_RANK": str(rank), "PMI_SIZE": "2"}
    done = processes.run(sys.executable, SCRIPT, program, **launcher)
    assert done.returncode == 1
    lines = [w for w in done.stderr.splitlines() if w.startswith(f"{program}: ")]
    assert len(lines) == (rank == 0), done.stderr
    assert "Traceback" not in done.stderr
    assert all("2 processes from the mpiexec of MPICH" in line for line in lines)
