"""The lines between workers and servers."""

from __future__ import annotations

from enum import IntEnum


class Tag(IntEnum):
    """What a message on the wire is."""

    HEADER = 1  # to a server
    PAYLOAD = 2
    ANSWER = 3  # to a worker: header
    ANSWER_PAYLOAD = 4
    LEASE = 5  # to a worker, whose input asks for batches while it trains
    END = 6  # to a worker that has ended, and waits for the others
    MEETING = 7  # between servers, when the job is over
    STACK = 8  # to a worker that does not end: it is to show where it is


class PeerLost(RuntimeError):
    """A process that this one talks to is gone.

    Args:
        rank: Its rank.
    """

    def __init__(self, rank: int):
        super().__init__(f"rank {rank} is gone")
        self.rank = rank
