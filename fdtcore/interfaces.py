"""The network interfaces of this machine, and which of them reaches the others."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from typing import NamedTuple

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Bridges and cables of containers and virtual machines: nothing outside is behind them.
_INSIDE = ("docker", "br-", "virbr", "veth", "cni", "flannel", "cali", "lxc", "podman")


class Interface(NamedTuple):
    """An interface that is up, under one of its addresses."""

    name: str
    address: Address
    network: Network

    @property
    def is_inside(self) -> bool:
        """Whether it leads to no other machine, as far as its name and address tell."""
        is_own = self.address.is_loopback or self.address.is_link_local
        return is_own or self.name.startswith(_INSIDE)


def interfaces() -> tuple[Interface, ...]:
    """Returns what this machine has, IPv4 first."""
    import psutil

    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    found = []
    for name, addresses in psutil.net_if_addrs().items():
        for one in addresses:
            if name not in up or one.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            mask = prefix_of(one.netmask)
            own = ipaddress.ip_interface(f"{one.address.partition('%')[0]}/{mask}")
            found.append(Interface(name, own.ip, own.network))
    return tuple(sorted(found, key=lambda one: one.address.version))


def prefix_of(mask: str | None) -> str:
    # IPv6's come as ffff:ffff::, which the standard library does not read.
    if mask is None:
        return "128"
    if ":" not in mask:
        return mask
    return str(bin(int(ipaddress.IPv6Address(mask))).count("1"))


def towards(address: str) -> str | None:
    """Returns the own address from which packets to another one leave.

    Nothing is sent: a socket of UDP only looks the way up.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def matching(wanted: str, found: Iterable[Interface]) -> Interface | None:
    """Returns the interface that a name, an address or a network means, or None.

    Args:
        wanted: ``eth0``, ``10.0.0.5`` or ``10.0.0.0/24``; of several, with commas, the
            first that is here.
        found: Interfaces to choose from.
    """
    several = list(found)
    for one in wanted.split(","):
        try:
            network = ipaddress.ip_network(one.strip(), strict=False)
        except ValueError:
            here = [i for i in several if i.name == one.strip()]
        else:
            here = [i for i in several if i.address in network]
        if here:
            return here[0]
    return None


def smallest_network(addresses: Sequence[Address]) -> Network:
    """Returns the smallest network that holds addresses of one version of IP."""
    first = addresses[0]
    prefix: int = first.max_prefixlen
    while True:
        network = ipaddress.ip_network(f"{first}/{prefix}", strict=False)
        if all(address in network for address in addresses):
            return network
        prefix -= 1


def address_of_job(wanted: str = "") -> str:
    """Returns the address of this machine under which the others of a job reach it.

    Args:
        wanted: An interface, an address or a network; empty where nobody has said.

    Raises:
        ValueError: The interface is not there, or the machine has none.
    """
    found = interfaces()
    if wanted:
        own = matching(wanted, found)
        if own is None:
            names = ", ".join(f"{one.name} {one.address}" for one in found)
            raise ValueError(
                f"the interface must be one of this machine. Received: {wanted}; "
                f"{socket.gethostname()} has {names}."
            )
        return str(own.address)
    named = _resolved(socket.gethostname())
    if named is not None and not named.is_loopback:
        return str(named)
    # Debian and Ubuntu give a machine's own name the address 127.0.1.1.
    outside = [one for one in found if not one.is_inside]
    if not outside:
        raise ValueError(
            f"{socket.gethostname()} has no interface that other machines reach."
        )
    default = towards("192.0.2.1")  # of nobody: what leaves by the default route
    own = next((one for one in outside if str(one.address) == default), None)
    return str((own or outside[0]).address)


def _resolved(name: str) -> Address | None:
    try:
        return ipaddress.ip_address(socket.gethostbyname(name))
    except (OSError, ValueError):
        return None
