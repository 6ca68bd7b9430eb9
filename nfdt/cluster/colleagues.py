"""How the servers of a job end together.

A process that ends with an error makes ``mpirun`` end all others, whatever they still
write.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from nfdt.cluster.tags import PeerLost, Tag
from nfdt.cluster.waiting import Patience
from nfdt.protocol.messages import Kind, Message, read_header

# A server learns from the workers that the job is over, so not all at one moment.
_COME_S = 3.0
# The last files of one may be on a slower disk.
_WRITE_S = 10.0


class Colleagues:
    """The servers of a job, which end together: they meet, write, meet and leave.

    Args:
        peers: This server's end of the job.
    """

    def __init__(self, peers: Any):
        self._peers, self._round = peers, 0
        self._others = set(peers.roles.server_ranks) - {peers.rank}
        self._rounds = dict.fromkeys(self._others, 0)  # rank -> where it has come to

    def agree(self, number: int) -> int:
        """Meets the others, who may learn of the end a little later.

        Args:
            number: What this server would take.

        Returns:
            The greatest number of those who have come.
        """
        return self._meet(number, self._others, _COME_S)

    def leave_together(self) -> None:
        """Meets those again who have come."""
        here = {rank for rank, met in self._rounds.items() if met}
        self._meet(0, here, _WRITE_S)

    def _meet(self, number: int, awaited: set[int], limit_s: float) -> int:
        self._round += 1
        message = Message(Kind.MEET, self._peers.rank, number=number, epoch=self._round)
        for rank in self._others:
            with contextlib.suppress(PeerLost):
                self._peers.send(rank, message, Tag.MEETING, Tag.PAYLOAD)
        patience, deadline_s = Patience(), time.monotonic() + limit_s
        while self._missing(awaited) and time.monotonic() < deadline_s:
            found = self._peers.next_header(Tag.MEETING)
            if found is None:
                self._peers.newly_lost()
                patience.wait()
                continue
            rank, data = found
            other, _ = read_header(data)
            self._rounds[rank] = other.epoch
            number = max(number, other.number)
        return number

    def _missing(self, awaited: set[int]) -> set[int]:
        late = {rank for rank in awaited if self._rounds[rank] < self._round}
        return late - self._peers.lost
