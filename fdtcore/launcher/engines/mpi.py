"""``mpirun`` in a gang: it runs in the first slot, its daemons through the agents."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from fdtcore.launcher import network
from fdtcore.launcher.engines import remote_shell
from fdtcore.launcher.engines.gang import Command, Gang, Sink, Slot
from fdtcore.launcher.hosts import Host
from fdtcore.launcher.preflight import Machine


def hosts_of(slots: Sequence[Slot]) -> tuple[Host, ...]:
    """Returns the machines of slots, and how many slots each has."""
    counts = Counter(slot.host for slot in slots)
    return tuple(Host(name, count) for name, count in counts.items())


def variables(
    gang: Gang,
    machines: Sequence[Machine],
    slots: Sequence[Slot],
    environ: Mapping[str, str],
) -> dict[str, str]:
    """Returns what tells Open MPI of the machines, and how it starts its daemons.

    Args:
        gang: Where the slots are.
        machines: What the machine of each slot has said of itself, one for each.
        slots: Slots of the job.
        environ: The environment of the job; what it holds, stays.
    """
    agent = shlex.join([sys.executable, "-m", remote_shell.__name__])
    own = {
        "PRTE_MCA_plm_ssh_agent": agent,
        remote_shell.PLACE: f"{gang.address}:{gang.port}",
        remote_shell.TOKEN: gang.token,
    }
    addresses = {slot.host: slot.address for slot in slots}
    several = len(machines) > 1
    found = network.common(machines, addresses) if several else ""
    first = network.interfaces_of(machines[0])
    return own | network.variables(found, len(machines), {**environ, **own}, first)


def start(
    gang: Gang,
    slots: Sequence[Slot],
    argv: Sequence[str],
    environ: Mapping[str, str],
    folder: str,
) -> Command:
    """Starts ``mpirun`` in the first slot.

    Args:
        gang: Where the slots are.
        slots: Slots of the job.
        argv: The command line of ``mpirun``.
        environ: Variables of the job, with those of `variables`.
        folder: Where the processes work.
    """
    first_of = {slot.host: slot for slot in reversed(slots)}

    def shell(host: str, words: str, sink: Sink) -> Command:
        return gang.start(first_of[host], ["sh", "-c", words], environ, folder, sink)

    gang.remote_shell = shell
    return gang.start(slots[0], argv, environ, folder)
