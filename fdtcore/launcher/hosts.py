"""The hosts of a job: from the command line, host files and Slurm.

Pure but for `unknown_hosts` and `addresses`, which ask the name service.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping
from typing import NamedTuple

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class Host(NamedTuple):
    """A machine and how many ranks it takes."""

    name: str
    slots: int  # always >= 1


def parse_hosts(text: str) -> tuple[Host, ...]:
    """Reads ``host1:2,host2:4``; a host without a number has one slot.

    Args:
        text: The value of ``-H``.

    Returns:
        The hosts in the order given.

    Raises:
        ValueError: A part is not ``name`` or ``name:slots``.
    """
    hosts = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\w[\w.-]*|\[[0-9A-Fa-f:]+\])(?::(\d+))?\s*", part)
        if match is None or match[2] == "0":
            raise ValueError(
                "hosts must be written name:slots,name:slots with slots >= 1. "
                f"Received: {part.strip()!r} in {text!r}. Example: -H node1:4,node2:4."
            )
        hosts.append(Host(match[1], int(match[2] or 1)))
    return merge(hosts)


def parse_hostfile(text: str) -> tuple[Host, ...]:
    """Reads a host file: one ``name slots=N`` a line, as Horovod and Open MPI do.

    ``name:N`` and a bare name are taken too; ``#`` begins a comment; a name that
    comes again adds its slots.

    Args:
        text: What the file holds.

    Returns:
        The hosts in the order of their first line.

    Raises:
        ValueError: A line has none of these forms, or the file names no host.
    """
    hosts = []
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        # max_slots=N is Open MPI's; more ranks than slots are warned of anyway.
        match = re.fullmatch(
            r"(\w[\w.-]*)(?:\s*:\s*(\d+)|\s+slots\s*=\s*(\d+))?"
            r"(?:\s+max[-_]slots\s*=\s*\d+)?",
            line,
        )
        slots = match and int(match[2] or match[3] or 1)
        if not match or not slots:
            raise ValueError(
                "a host file must hold lines like 'node1 slots=4'. "
                f"Received: {line!r} in line {number}. Correct that line."
            )
        hosts.append(Host(match[1], slots))
    if not hosts:
        raise ValueError(
            "a host file must name at least one host. Received: an empty file. "
            "Write one line like 'node1 slots=4' for each machine."
        )
    return merge(hosts)


def merge(hosts: Iterable[Host]) -> tuple[Host, ...]:
    """Adds up the slots of hosts named more than once."""
    slots: dict[str, int] = {}
    for host in hosts:
        slots[host.name] = slots.get(host.name, 0) + host.slots
    return tuple(Host(name, count) for name, count in slots.items())


def slurm_hosts(environ: Mapping[str, str]) -> tuple[Host, ...]:
    """Reads the allocation of Slurm from its environment.

    Args:
        environ: The environment of a batch script or of ``salloc``'s shell.

    Returns:
        The hosts with the tasks Slurm gives each; empty outside an allocation.

    Raises:
        ValueError: Slurm's variables contradict each other.
    """
    nodelist = environ.get("SLURM_JOB_NODELIST") or environ.get("SLURM_NODELIST")
    if not nodelist:
        return ()
    names = expand_nodelist(nodelist)
    counts = environ.get("SLURM_TASKS_PER_NODE", "1")
    tasks = expand_counts(counts)
    if len(tasks) != len(names):
        raise ValueError(
            "SLURM_TASKS_PER_NODE must name a count for each node of "
            f"SLURM_JOB_NODELIST. Received: {counts!r} for {nodelist!r}. "
            "Name the hosts yourself: -H node1:4,node2:4."
        )
    return tuple(Host(name, slots) for name, slots in zip(names, tasks, strict=True))


def expand_nodelist(text: str) -> tuple[str, ...]:
    """Expands Slurm's short form of host names.

    >>> expand_nodelist("gpu[01-03,07],login")
    ('gpu01', 'gpu02', 'gpu03', 'gpu07', 'login')
    """
    # Split at the commas that stand outside brackets.
    parts = re.findall(r"(?:[^,\[\]]|\[[^\]]*\])+", text)
    if not text or ",".join(parts) != text:
        raise _bad_nodelist(text)
    return tuple(name for part in parts for name in _expand(part))


def _expand(part: str) -> list[str]:
    match = re.search(r"\[([^\]]*)\]", part)
    if match is None:
        return [part]
    head, tail = part[: match.start()], _expand(part[match.end() :])
    names = []
    for piece in match[1].split(","):
        numbers = re.fullmatch(r"(\d+)(?:-(\d+))?", piece)
        if numbers is None or int(numbers[1]) > int(numbers[2] or numbers[1]):
            raise _bad_nodelist(part)
        first, last = numbers[1], numbers[2] or numbers[1]
        for number in range(int(first), int(last) + 1):
            # gpu[08-10] is gpu08, gpu09, gpu10: the width is that of the first.
            names += [f"{head}{number:0{len(first)}d}{rest}" for rest in tail]
    return names


def _bad_nodelist(text: str) -> ValueError:
    return ValueError(
        "a node list must look like Slurm's 'node[01-03,07]'. "
        f"Received: {text!r}. Name the hosts yourself: -H node1:4,node2:4."
    )


def expand_counts(text: str) -> tuple[int, ...]:
    """Expands Slurm's short form of numbers.

    >>> expand_counts("2(x3),1")
    (2, 2, 2, 1)
    """
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        if match is None:
            raise ValueError(
                "task counts must look like Slurm's '2(x3),1'. "
                f"Received: {text!r}. Name the hosts yourself: -H node1:4,node2:4."
            )
        counts += [int(match[1])] * int(match[2] or 1)
    return tuple(counts)


def is_local(name: str) -> bool:
    """Tells whether ``name`` is this machine, by name only."""
    mine = socket.gethostname()
    return name in (*LOCAL_NAMES, mine, mine.partition(".")[0])


def unknown_hosts(hosts: Iterable[Host]) -> tuple[str, ...]:
    """Returns the names that the name service does not know."""
    unknown = []
    for host in hosts:
        try:
            socket.getaddrinfo(host.name.strip("[]"), None)
        except OSError:
            if not is_local(host.name):
                unknown.append(host.name)
    return tuple(unknown)


def addresses(hosts: Iterable[Host]) -> dict[str, str]:
    """Returns the address that each host's name has here.

    Debian's and Ubuntu's ``127.0.1.1`` for a machine's own name is left out.
    """
    found = {}
    for host in hosts:
        with contextlib.suppress(OSError):
            address = socket.getaddrinfo(host.name.strip("[]"), None)[0][4][0]
            if not ipaddress.ip_address(str(address)).is_loopback:
                found[host.name] = str(address)
    return found
