"""How a process parts from the others when all is done."""

from __future__ import annotations

import contextlib
import os
import sys
import time

from nfdt.cluster.mpi import PeerLost, Peers
from nfdt.cluster.tags import Tag
from nfdt.cluster.waiting import Patience
from nfdt.protocol.messages import Kind, Message, read_header

# What is still being sent at the end has this long to arrive.
_SEND_S = 5.0
# A server learns from the workers that the job is over, so not all at one moment.
_MEET_S = 3.0


def flush(peers: Peers, limit_s: float = _SEND_S) -> None:
    """Returns when what is being sent has arrived, or after a time.

    Args:
        peers: This process's end of the job.
        limit_s: That time.
    """
    patience, deadline_s = Patience(), time.monotonic() + limit_s
    while peers.is_sending() and time.monotonic() < deadline_s:
        patience.wait()


def meet(peers: Peers, number: int = 0) -> int:
    """Returns when all servers that are left have called it, or after a time.

    Args:
        peers: This server's end of the job.
        number: What it tells the others.

    Returns:
        The greatest number of those who have come.
    """
    roles = peers.roles
    awaited = {roles.server_rank(s) for s in range(roles.num_servers)} - {peers.rank}
    message = Message(Kind.MEET, peers.rank, number=number)
    for rank in awaited:
        with contextlib.suppress(PeerLost):
            peers.send(rank, message, Tag.MEETING, Tag.PAYLOAD)
    patience, deadline_s = Patience(), time.monotonic() + _MEET_S
    while awaited - peers.lost and time.monotonic() < deadline_s:
        found = peers.next_header(Tag.MEETING)
        if found is None:
            peers.newly_lost()
            patience.wait()
            continue
        rank, data = found
        awaited.discard(rank)
        number = max(number, read_header(data)[0].number)
    return number


def part(peers: Peers) -> None:
    """Leaves the job in order; ends the process where losses are survived."""
    flush(peers)
    sys.stdout.flush()
    sys.stderr.flush()
    if peers.survives:
        # After a death Open MPI now and then keeps a survivor in its end for ever;
        # under fault tolerance mpirun asks nobody for that end.
        os._exit(0)
    peers.close()
