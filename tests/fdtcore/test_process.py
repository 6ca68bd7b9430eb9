"""Who a process is, by what its launcher said."""

from __future__ import annotations

import pytest

from fdtcore.process import Process


def test_without_a_launcher_a_process_is_alone():
    process = Process.from_environ({"PATH": "/bin"})
    assert (process.rank, process.size, str(process)) == (0, 1, "rank 0/1")


@pytest.mark.parametrize(
    "environ",
    [
        {
            "OMPI_COMM_WORLD_RANK": "3",
            "OMPI_COMM_WORLD_SIZE": "4",
            "OMPI_COMM_WORLD_LOCAL_RANK": "1",
            "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
        },
        {
            "HOROVOD_RANK": "3",
            "HOROVOD_SIZE": "4",
            "HOROVOD_LOCAL_RANK": "1",
            "HOROVOD_LOCAL_SIZE": "2",
        },
        {
            "PMI_RANK": "3",
            "PMI_SIZE": "4",
            "MPI_LOCALRANKID": "1",
            "MPI_LOCALNRANKS": "2",
        },
        {
            "SLURM_STEP_ID": "0",
            "SLURM_PROCID": "3",
            "SLURM_STEP_NUM_TASKS": "4",
            "SLURM_LOCALID": "1",
            "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
        },
    ],
    ids=lambda environ: min(environ).partition("_")[0],
)
def test_launchers(environ):
    process = Process.from_environ(environ)
    assert (process.rank, process.size) == (3, 4)
    assert (process.local_rank, process.local_size) == (1, 2)


def test_a_batch_script_of_slurm_is_not_a_rank():
    environ = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "4"}
    assert Process.from_environ(environ).size == 1


def test_a_rank_outside_the_job_is_refused():
    with pytest.raises(ValueError, match=r"rank=4, size=4"):
        Process(rank=4, size=4)
