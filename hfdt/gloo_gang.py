"""Ranks in the slots of an engine, which find each other by Horovod's Gloo.

``python -m hfdt.gloo_gang SPEC`` is what ``hfdt run --on spark|ray|dask`` starts.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from fdtcore.launcher.banners import Ended
from fdtcore.launcher.engines import gang_job, mpi
from fdtcore.launcher.engines.gang import Slot
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
            told = gloo.rank_environ(place, meeting_of(slot, port, job))
            environ = {**_address(slot, job.environ), **job.environ, **told}
            command = job.gang.start(slot, job.spec.command, environ, job.folder)
            commands.append(command)
        return job.gang.first_failure(commands, job.problem)


def meeting_of(slot: Slot, port: int, job: GangJob) -> gloo.Meeting:
    """Returns where the ranks meet, as the rank in a slot sees it.

    Args:
        slot: Place of the rank.
        port: Where the meeting point listens.
        job: Job of the rank; the interface that its user has chosen, stays.
    """
    chosen = job.environ.get("HOROVOD_GLOO_IFACE")
    return gloo.Meeting(job.gang.address, port, chosen or slot.interface)


def _address(slot: Slot, environ: Mapping[str, str]) -> dict[str, str]:
    """Returns where the rank listens, unless the user has chosen a network."""
    return {} if environ.get("HFDT_INTERFACE") else {"HFDT_ADDRESS": slot.address}


if __name__ == "__main__":
    sys.exit(gang_job.main(sys.argv[1], run))
