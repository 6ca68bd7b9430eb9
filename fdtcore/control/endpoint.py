"""The address of rank 0, and the token that lets the job's ranks connect."""

from __future__ import annotations

import json
import secrets
import socket
from typing import NamedTuple

from fdtcore import interfaces
from fdtcore.control import channel
from fdtcore.control.process_identity import ProcessIdentity
from fdtcore.failures import JobError
from fdtcore.process import Process

_CONNECT_TIMEOUT_S = 20.0


class ControlError(JobError):
    """The control line cannot be set up."""


class Place(NamedTuple):
    """Where the hub listens."""

    address: str
    port: int
    token: str  # goes through the job's own transport; never into argv or a log
    host: str
    pid: int
    started: int = 0
    rank: int = 0

    @property
    def identity(self) -> ProcessIdentity:
        """The process that keeps the hub."""
        return ProcessIdentity(self.host, self.pid, self.started)


def offer(process: Process, address: str) -> tuple[str, socket.socket | None, str]:
    """Starts to listen, on the rank that keeps the hub.

    Args:
        process: This process: its rank, the number of ranks, its host.
        address: Its address towards the other ranks, the interface that has it, or
            their network; empty to find it.

    Returns:
        The text for ``read_offer`` on every rank, the listening socket and the token.
        Where listening fails there is no socket and the text says why: the others
        wait for it in any case.
    """
    try:
        address = _job_address(process, address)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = socket.create_server(
            (address, 0), family=family, backlog=process.size + 16
        )
    except (OSError, ValueError) as error:
        failed = {"error": str(error), "address": address, "rank": process.rank}
        return json.dumps(failed), None, ""
    token = secrets.token_hex(32)
    place = Place(
        address,
        listener.getsockname()[1],
        token,
        *ProcessIdentity.own(process.host),
        process.rank,
    )
    return json.dumps(place._asdict()), listener, token


def read_offer(text: str) -> Place:
    """Reads rank 0's offer.

    Raises:
        ControlError: Rank 0 could not listen.
    """
    fields = json.loads(text)
    if "error" in fields:
        raise ControlError(
            f"Rank {fields['rank']} must be able to listen on the job's network. "
            f"Received: {fields['error']} (address {fields['address']}). "
            "Name the network of the job: --interface, or the variable HFDT_ADDRESS or "
            "NFDT_ADDRESS."
        )
    return Place(**fields)


def connect(place: Place, process: Process, link_timeout_s: float) -> channel.Channel:
    """Connects this rank to rank 0 and says hello.

    Args:
        place: Where the hub listens.
        process: This process: its rank, the number of ranks, its host.
        link_timeout_s: How long the hub's machine may be silent.

    Raises:
        ControlError: Rank 0 cannot be reached.
    """
    target = (place.address, place.port)
    try:
        connection = socket.create_connection(target, timeout=_CONNECT_TIMEOUT_S)
    except OSError as error:
        raise ControlError(
            f"Every rank must reach rank {place.rank} over TCP. "
            f"Received: {process} ({process.host}) got '{error}' from "
            f"{place.host} ({place.address}:{place.port}). "
            "Open the hosts' firewalls to each other, or name the network of the job: "
            "--interface, or the variable HFDT_INTERFACE or NFDT_INTERFACE."
        ) from error
    channel.keep_alive(connection, link_timeout_s)
    line = channel.Channel(connection)
    own = ProcessIdentity.own(process.host)
    line.send({"token": place.token, "rank": process.rank, **own._asdict()})
    return line


def _job_address(process: Process, wanted: str) -> str:
    if process.local_size == process.size:
        return "127.0.0.1"
    return interfaces.address_of_job(wanted)
