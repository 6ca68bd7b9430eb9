"""How long messages take, and how a server's link keeps some waiting for others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nfdt.clusters.machines import Link, Servers


def transfer_s(link: Link, num_bytes: float, random: np.random.Generator) -> float:
    """Returns the time of one message over one link, seconds."""
    jitter_s = link.jitter_s and link.jitter_s * float(random.exponential())
    return link.latency_s + jitter_s + num_bytes / link.bytes_per_s


def ring_s(links: Sequence[Link], num_bytes: float) -> float:
    """Returns the time in which members reduce a vector in a ring, seconds.

    ::

        2 (n - 1) (latency + b / (n bandwidth)),   of the slowest link

    Args:
        links: The n members'.
        num_bytes: b.

    Source: Patarasuk, Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
    workstations", JPDC 69 (2009).
    """
    count = len(links)
    part = num_bytes / count
    slowest_s = max(link.latency_s + part / link.bytes_per_s for link in links)
    return 2 * (count - 1) * slowest_s


class Network:
    """The links between workers and servers, both directions by themselves.

    A server's link takes one message after the other, in the order in which they were
    sent; it lets the bytes through as they come, so that one message alone takes the
    time of the slower of the two links.

    Args:
        servers: The servers.
        links: The members' own.
        random: For jitter.
    """

    def __init__(
        self, servers: Servers, links: Sequence[Link], random: np.random.Generator
    ):
        self._servers, self._links, self._random = servers, links, random
        self._in_free_s = [0.0] * servers.count  # when the link to it is free
        self._out_free_s = [0.0] * servers.count
        self._core_free_s = [0.0] * servers.count  # when its processor is

    def arrives_s(
        self, link: Link, server: int, num_bytes: float, now_s: float
    ) -> float:
        """Returns when a message that a worker sends now is on its server."""
        if self._servers.allreduce:
            return now_s  # what is brought to the ring is sent within it
        return self._passes_s(self._in_free_s, link, server, num_bytes, now_s)

    def returns_s(
        self, link: Link, server: int, num_bytes: float, now_s: float
    ) -> float:
        """Returns when a message that a server sends now is on its worker."""
        if self._servers.allreduce:
            return now_s + ring_s(self._links, num_bytes)
        return self._passes_s(self._out_free_s, link, server, num_bytes, now_s)

    def updated_s(self, server: int, num_bytes: float, now_s: float) -> float:
        """Returns when a server has dealt with a gradient that has arrived now."""
        begins_s = max(now_s, self._core_free_s[server])
        takes_s = self._servers.overhead_s + num_bytes / self._servers.bytes_per_s
        self._core_free_s[server] = begins_s + takes_s
        return begins_s + takes_s

    def _passes_s(
        self,
        free_s: list[float],
        link: Link,
        server: int,
        num_bytes: float,
        now_s: float,
    ) -> float:
        own = self._servers.link
        delay_s = transfer_s(own, 0, self._random) + transfer_s(link, 0, self._random)
        free_s[server] = max(free_s[server], now_s) + num_bytes / own.bytes_per_s
        # A worker's link is shared by what it exchanges with all servers at once.
        own_s = num_bytes * self._servers.count / link.bytes_per_s
        return delay_s + max(now_s + own_s, free_s[server])
