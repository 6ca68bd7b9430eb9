"""Whether MPI and the launcher of a process know each other."""

from __future__ import annotations

import pytest

from fdtcore import mpi_library
from fdtcore.process import Process

OPEN_MPI = "Open MPI v5.0.11, package: Open MPI user@localhost Distribution"
OPEN_MPI_4 = "Open MPI v4.1.6, package: Debian OpenMPI"
MPICH = "MPICH Version:      5.0.2\nMPICH Release date: 2026"
MPIRUN = {"OMPI_COMM_WORLD_SIZE": "3", "PMIX_NAMESPACE": "prterun-a-1@1"}
MPIEXEC = {"PMI_SIZE": "3", "PMI_HOSTNAME": "a"}
SRUN = {"SLURM_STEP_ID": "0"}
SRUN_PMIX = {**SRUN, "PMIX_NAMESPACE": "slurm.pmix.4.0"}
RANK = Process(rank=1, size=3)


@pytest.mark.parametrize(
    ("library", "environ", "alone"),
    [
        (OPEN_MPI, MPIRUN, False),
        (OPEN_MPI, MPIEXEC, True),
        (OPEN_MPI, SRUN, True),
        (OPEN_MPI, {**SRUN, "PMI_SIZE": "3"}, True),  # --mpi=pmi2
        (OPEN_MPI, SRUN_PMIX, False),
        (OPEN_MPI_4, SRUN, False),  # may have been built for pmi2
        (MPICH, MPIEXEC, False),
        (MPICH, {**SRUN, **MPIEXEC}, False),
        (MPICH, SRUN, False),
        (MPICH, MPIRUN, True),
        ("", SRUN, False),
    ],
)
def test_an_mpi_that_does_not_know_its_launcher_is_alone(library, environ, alone):
    assert mpi_library.is_alone(RANK, library, environ) is alone
    assert not mpi_library.is_alone(Process(), library, environ)


@pytest.mark.parametrize(
    ("library", "environ", "said"),
    [
        (OPEN_MPI, MPIEXEC, "3 processes from the mpiexec of MPICH, of which Open MPI"),
        (OPEN_MPI, MPIEXEC, "Put the mpirun of Open MPI first on PATH"),
        (OPEN_MPI, SRUN, "finds 1. Use srun --mpi=pmix, or within the allocation: "),
        (MPICH, SRUN, "of which MPICH 5.0.2 finds 1. Use srun --mpi=pmi2"),
        (MPICH, MPIRUN, "Put the mpiexec of MPICH first on PATH, also for hfdt run."),
        ("", MPIRUN, "of which MPI finds 1."),
    ],
)
def test_one_line_says_what_to_do(library, environ, said):
    line = mpi_library.complaint("hfdt", RANK, library, environ)
    assert said in line
    assert "\n" not in line
