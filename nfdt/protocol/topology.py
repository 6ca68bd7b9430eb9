"""The topology of a job: which rank is a worker, which a server, which shard is whose.

Which part of the flat parameter vector is whose.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Roles:
    """The ranks of a job: workers first, then servers.

    So worker 0, which speaks for the job, is rank 0, to which launchers give the
    terminal. One process alone is a worker that holds its server itself.

    Args:
        size: Processes of the job.
        num_servers: Those among them that serve.
    """

    size: int
    num_servers: int = 1

    def __post_init__(self) -> None:
        if self.num_servers < 1:
            raise ValueError(
                "the number of servers must be an integer >= 1. "
                f"Received: {self.num_servers}. Use --servers 1."
            )
        if self.size > 1 and self.num_servers >= self.size:
            raise ValueError(
                "servers must leave at least one worker. "
                f"Received: {self.num_servers} servers among {self.size} processes. "
                f"Start {self.num_servers + 1} processes or more, or lower --servers."
            )

    @property
    def num_workers(self) -> int:
        """Number of workers."""
        return self.size - self.num_servers if self.size > 1 else 1

    @property
    def is_alone(self) -> bool:
        """Whether the one process of the job holds the server itself."""
        return self.size == 1

    def is_server(self, rank: int) -> bool:
        """Whether a rank serves."""
        return self.size > 1 and rank >= self.num_workers

    def server_rank(self, index: int) -> int:
        """Returns the rank of server ``index``."""
        return self.num_workers + index

    @property
    def server_ranks(self) -> frozenset[int]:
        """The ranks of all servers."""
        return frozenset(map(self.server_rank, range(self.num_servers)))

    def name(self, rank: int) -> str:
        """Returns what messages call a rank: ``worker 0`` or ``server 0``."""
        if self.is_server(rank):
            return f"server {rank - self.num_workers}"
        return f"worker {rank}"

    def others(self) -> str:
        """Returns what messages call the ranks whose output goes to files."""
        servers = _span("server", range(self.num_servers))
        if self.num_workers == 1:
            return servers
        return f"{_span('worker', range(1, self.num_workers))} and {servers}"


def _span(role: str, indices: range) -> str:
    if len(indices) == 1:
        return f"{role} {indices[0]}"
    return f"{role}s {indices[0]}-{indices[-1]}"


class Range(NamedTuple):
    """A half-open range of elements."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.stop - self.start


def split(size: int, num_servers: int) -> tuple[Range, ...]:
    """Splits a vector into contiguous shards that differ by at most one element.

    Args:
        size: Elements of the vector; all have the same number of bytes.
        num_servers: Number of servers, hence of shards, S >= 1.

    Returns:
        One range for each server; some are empty where there are more servers than
        elements.
    """
    cuts = [-(-size * index // num_servers) for index in range(num_servers + 1)]
    return tuple(Range(*pair) for pair in itertools.pairwise(cuts))


def overlap(shard: Range, start: int, stop: int) -> Range:
    """Returns what ``start .. stop`` has in common with a shard, perhaps nothing."""
    first = min(max(start, shard.start), shard.stop)
    return Range(first, max(first, min(stop, shard.stop)))
