"""How a process parts from the others when all is done."""

from __future__ import annotations

import os
import time

from fdtcore import output
from nfdt.cluster.mpi import Peers
from nfdt.cluster.waiting import Patience

# Without the end of MPI and of Python; a script's own call is another one by then.
exit_at_once = os._exit

# What is still being sent at the end has this long to arrive.
_SEND_S = 5.0


def flush(peers: Peers, limit_s: float = _SEND_S) -> None:
    """Returns when what is being sent has arrived, or after a time.

    Args:
        peers: This process's end of the job.
        limit_s: That time.
    """
    patience, deadline_s = Patience(), time.monotonic() + limit_s
    while peers.is_sending() and time.monotonic() < deadline_s:
        patience.wait()


def part(peers: Peers) -> None:
    """Leaves the job in order; ends the process where losses are survived."""
    flush(peers)
    output.flush()
    if peers.survives:
        # After a death Open MPI now and then keeps a survivor in its end for ever;
        # under fault tolerance mpirun asks nobody for that end.
        exit_at_once(0)
    peers.close()
