"""The identity of a process in its job: rank, size, local rank, host."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Mapping

# Launcher -> (rank, size, local rank, local size), in the order they are asked.
# Slurm's are last and count only inside a job step: a batch script has them too.
_VARIABLES = (
    (
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    ("HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_RANK", "HOROVOD_LOCAL_SIZE"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"),
)


@dataclasses.dataclass(frozen=True)
class Process:
    """One process of a job, as it appears in every message.

    Args:
        rank: Index in the job, ``0 <= rank < size``.
        size: Number of processes of the job, >= 1.
        local_rank: Index among the processes on this host.
        local_size: Number of processes on this host.
        host: Name of the host.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    host: str = dataclasses.field(default_factory=socket.gethostname)

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise ValueError(
                "rank must lie in 0..size-1. "
                f"Received: rank={self.rank}, size={self.size}."
            )

    def __str__(self) -> str:
        return f"rank {self.rank}/{self.size}"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Process:
        """Reads what the launcher said, before MPI or Horovod is started.

        Args:
            environ: The process's environment, with the variables of its launcher.

        Returns:
            The process; rank 0 of 1 where no launcher is recognised.
        """
        for rank, size, local_rank, local_size in _VARIABLES:
            if rank not in environ or size not in environ:
                continue
            if rank.startswith("SLURM") and "SLURM_STEP_ID" not in environ:
                continue
            world = int(environ[size])
            return cls(
                rank=int(environ[rank]),
                size=world,
                local_rank=int(environ.get(local_rank, 0)),
                local_size=int(environ.get(local_size, _slurm_tasks(environ, world))),
            )
        return cls()


def _slurm_tasks(environ: Mapping[str, str], world: int) -> int:
    tasks = environ.get("SLURM_STEP_TASKS_PER_NODE", str(world))
    return int(tasks.partition("(")[0].partition(",")[0])
