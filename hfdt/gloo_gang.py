"""Ranks in the slots of an engine, which find each other by Horovod's Gloo.

``python -m hfdt.gloo_gang SPEC`` is what ``hfdt run --on spark|ray|dask`` starts.
"""

from __future__ import annotations

import sys

from fdtcore.launcher.banners import Ended
from fdtcore.launcher.engines import gang_job, mpi
from fdtcore.launcher.engines.gang_job import GangJob
from hfdt import gloo


def run(job: GangJob) -> Ended | None:
    """Runs a job to its end, and returns the rank that failed first."""
    from horovod.runner.common.util.hosts import HostInfo, get_host_assignments

    hosts = [HostInfo(*host) for host in mpi.hosts_of(job.slots)]
    places = get_host_assignments(hosts, len(job.slots))
    with gloo.rendezvous(places, job.gang.address) as port:
        commands = []
        for slot, place in zip(job.slots, places, strict=True):
            meeting = gloo.Meeting(job.gang.address, port, slot.interface)
            own = gloo.rank_environ(place, meeting) | {"HFDT_ADDRESS": slot.address}
            environ = {**job.environ, **own}
            commands.append(job.gang.start(slot, job.spec.command, environ, job.folder))
        return job.gang.first_failure(commands, job.problem)


if __name__ == "__main__":
    sys.exit(gang_job.main(sys.argv[1], run))
