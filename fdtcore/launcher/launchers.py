"""Launchers: a job as one command line for ``mpirun`` or ``srun``.

Pure: a `Job` in, an argument list out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Protocol

from fdtcore.launcher.hosts import Host, is_local

# What a program on another machine needs from the shell that launched it. Names
# only: mpirun sends the values itself, so nothing shows in a process list.
_SHELL = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_FAMILIES = ("TF_", "KERAS_", "XLA_", "HOROVOD_", "NCCL_", "CUDA_", "OMP_", "UCX_")


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to run, and where.

    Args:
        command: The rank program and its arguments.
        size: Number of ranks of the job.
        hosts: The machines; empty means this one.
        allocated: True where a batch system chose ``hosts`` and mpirun asks it.
        forward: Variables that ranks on other machines get as well.
        idle: Ranks among them that need no core of their own.
        script: Path of the program that each machine must have; empty for none.
    """

    command: tuple[str, ...]
    size: int
    hosts: tuple[Host, ...] = ()
    allocated: bool = False
    forward: tuple[str, ...] = ()
    idle: int = 0
    script: str = ""

    @property
    def is_local(self) -> bool:
        """Tells whether every rank runs on this machine."""
        return all(is_local(host.name) for host in self.hosts)

    @property
    def slots(self) -> int:
        """The ranks the hosts take; on this machine, as many as asked for."""
        return sum(host.slots for host in self.hosts) or self.size


class Launcher(Protocol):
    """A program that starts the ranks of a job."""

    adds_text: ClassVar[bool]  # prints words of its own on stderr
    logs_in: ClassVar[bool]  # starts ranks on other machines by ssh
    chooses_hosts: ClassVar[bool]  # finds the machines itself

    def argv(self, job: Job) -> list[str]:
        """Returns the command line that runs ``job``."""


@dataclasses.dataclass(frozen=True)
class Direct:
    """Runs a job of one rank as an ordinary process."""

    adds_text: ClassVar[bool] = False
    logs_in: ClassVar[bool] = False
    chooses_hosts: ClassVar[bool] = False

    def argv(self, job: Job) -> list[str]:
        """Returns the rank program's own command line."""
        assert job.size == 1, job
        return list(job.command)


@dataclasses.dataclass(frozen=True)
class OpenMpi:
    """Open MPI's ``mpirun``, version 4 or 5.

    Args:
        executable: Full path: it tells Open MPI where it lives on other hosts too.
        major: Major version of Open MPI.
        survives_loss: Whether the job goes on without a rank that died (version 5).
    """

    executable: str
    major: int = 5
    survives_loss: bool = False
    adds_text: ClassVar[bool] = True
    logs_in: ClassVar[bool] = True
    chooses_hosts: ClassVar[bool] = False

    def argv(self, job: Job) -> list[str]:
        """Returns the command line that runs ``job``."""
        shared = ":OVERSUBSCRIBE" if job.size > job.slots else ""
        # Bound to a core, as one or two ranks are by default, a rank's TensorFlow
        # threads would all share that core.
        argv = [self.executable, "-np", str(job.size)]
        if self.survives_loss:
            argv += ["--with-ft", "ulfm"]
        argv += ["--bind-to", "none", "--map-by", f"slot{shared}"]
        if not job.allocated:
            hosts = job.hosts or (Host("localhost", job.size),)
            argv += ["-H", ",".join(f"{name}:{slots}" for name, slots in hosts)]
        if not job.is_local:
            for name in job.forward:
                argv += ["-x", name]
        return argv + list(job.command)


@dataclasses.dataclass(frozen=True)
class Mpich:
    """The Hydra ``mpiexec`` of MPICH and its descendants.

    Args:
        executable: Path of ``mpiexec`` or ``mpirun``.
    """

    executable: str
    adds_text: ClassVar[bool] = True
    logs_in: ClassVar[bool] = True
    chooses_hosts: ClassVar[bool] = False

    def argv(self, job: Job) -> list[str]:
        """Returns the command line that runs ``job``; Hydra forwards all variables."""
        argv = [self.executable, "-n", str(job.size)]
        if job.hosts and not job.allocated:
            argv += ["-hosts", ",".join(f"{name}:{slots}" for name, slots in job.hosts)]
        return argv + list(job.command)


@dataclasses.dataclass(frozen=True)
class Srun:
    """Slurm's own launcher; Slurm forwards all variables.

    Args:
        executable: Path of the ``srun`` to call.
        mpi_type: How ranks find each other; empty leaves it to ``SLURM_MPI_TYPE``.
            Where a site's default does not suit Open MPI, each rank is alone.
    """

    executable: str
    mpi_type: str = ""
    adds_text: ClassVar[bool] = True
    logs_in: ClassVar[bool] = False
    chooses_hosts: ClassVar[bool] = False

    def argv(self, job: Job) -> list[str]:
        """Returns the command line that runs ``job``."""
        argv = [self.executable, "--ntasks", str(job.size)]
        # By default srun lets the others wait for a rank that died.
        argv += ["--kill-on-bad-exit=1", "--cpu-bind=none"]
        if self.mpi_type:
            argv += [f"--mpi={self.mpi_type}"]
        if job.size > job.slots:
            argv += ["--overcommit"]
        if not job.allocated and job.hosts:
            argv += ["--nodelist", ",".join(host.name for host in job.hosts)]
        return argv + list(job.command)


def forwarded(environ: Mapping[str, str], *families: str) -> tuple[str, ...]:
    """Names the variables that ranks on other machines need.

    Args:
        environ: The environment of the job.
        families: More beginnings of names, such as the framework's own prefix.

    Returns:
        The names, sorted.
    """
    wanted = (*_FAMILIES, *families)
    return tuple(sorted(n for n in environ if n in _SHELL or n.startswith(wanted)))


def oversubscription(job: Job, cores: int) -> str | None:
    """Says in one line that ranks share cores, or None where they need not.

    Args:
        job: Job to start, with its ranks and the slots of its hosts.
        cores: Cores of this machine; those of other hosts are their slots.
    """
    busy = job.size - job.idle
    if job.is_local and busy > cores:
        return f"{busy} ranks share the {cores} cores of this machine."
    if busy > job.slots:
        names = ", ".join(host.name for host in job.hosts)
        return f"{busy} ranks share the {job.slots} slots of {names}."
    return None
