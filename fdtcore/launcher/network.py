"""The network of a job on several machines: which it is, and how MPI is told.

Pure: what the machines have said of themselves in, variables out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path

from fdtcore import interfaces
from fdtcore.interfaces import Interface
from fdtcore.launcher import preflight
from fdtcore.launcher.preflight import Machine

# Each machine must have it at the same place, as it has the rest of the project.
_MANY = 3  # of two machines each sends what it must
_RULES = Path(__file__).parent / "allreduce.conf"


def interfaces_of(machine: Machine) -> tuple[Interface, ...]:
    """Returns the interfaces that a machine has told of."""
    found = []
    for name, address, mask in machine.answer.get("interfaces", []):
        prefix = interfaces.prefix_of(mask)
        own = ipaddress.ip_interface(f"{address}/{prefix}")
        found.append(Interface(name, own.ip, own.network))
    return tuple(found)


def common(machines: Sequence[Machine], resolved: Mapping[str, str]) -> str:
    """Returns the network over which machines reach each other, or nothing.

    Args:
        machines: All of the job.
        resolved: Name -> the address that this machine knows it by, where that is one
            that others may know it by as well.

    Returns:
        The network as ``10.0.0.0/24``; empty where it cannot be told.
    """
    several = [interfaces_of(machine) for machine in machines]
    reached = [
        one
        for machine, own in zip(machines, several)
        for one in own
        if str(one.address) == resolved.get(machine.name)
    ]
    named = {one.network for one in reached}
    shared = [
        one.network
        for one in several[0]
        if not one.is_inside
        and all(any(i.network == one.network for i in own) for own in several)
    ]
    # The one that the names lead to; a second one may have no cable.
    preferred = [network for network in shared if network in named]
    if found := preferred or shared:
        return str(found[0])
    if len(reached) < len(machines):
        return ""
    # Routers lie between them.
    return str(interfaces.smallest_network([one.address for one in reached]))


def variables(
    network: str,
    num_machines: int,
    environ: Mapping[str, str],
    own: Sequence[Interface],
) -> dict[str, str]:
    """Returns what tells Open MPI and ssh of the machines of a job.

    Args:
        network: The network of the job, or an interface's name; empty for unknown.
        num_machines: How many there are.
        environ: The environment of the launcher; what it holds, stays.
        own: Interfaces of the launcher's machine, which may be none of the job's.
    """
    wanted = {
        "PRTE_MCA_plm_ssh_agent": preflight.ssh_agent(),
        # Else the runtime of Open MPI ends a job that goes on without a machine.
        "PRTE_MCA_oob_tcp_keepalive_time": "0",
    }
    if num_machines >= _MANY:
        # Its own choice sends each byte two or three times as often, by coll/tuned with
        # one rank on each machine and by coll/han with several.
        wanted["OMPI_MCA_coll_han_priority"] = "0"
        wanted["OMPI_MCA_coll_tuned_use_dynamic_rules"] = "1"
        wanted["OMPI_MCA_coll_tuned_dynamic_rules_filename"] = str(_RULES)
    if "SLURM_STEP_ID" in environ:
        # Within a step mpirun's own srun would wait for the cores of that step.
        wanted["SLURM_OVERLAP"] = "1"
    if network:
        wanted["OMPI_MCA_btl_tcp_if_include"] = network
        # mpirun itself must have an interface there; a login node may have none.
        if interfaces.matching(network, own) is not None:
            wanted["PRTE_MCA_prte_if_include"] = network
    if any(name in environ for name in preflight.AGENTS):
        del wanted["PRTE_MCA_plm_ssh_agent"]
    excluded = {
        "OMPI_MCA_btl_tcp_if_include": "OMPI_MCA_btl_tcp_if_exclude",
        "PRTE_MCA_prte_if_include": "PRTE_MCA_prte_if_exclude",
    }
    return {
        name: value
        for name, value in wanted.items()
        if name not in environ and excluded.get(name) not in environ
    }
