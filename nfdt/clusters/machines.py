"""The machines of a cluster: groups of workers, links, edge nodes, servers.

What happens to the workers of a cluster, and when.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fdtcore.validation import demand, demand_positive, is_number
from nfdt.clusters.step_times import Duration


@dataclass(frozen=True)
class Link:
    """The way between two nodes, each direction by itself.

    A message of b bytes arrives after ``latency + b / bandwidth + jitter * E`` seconds,
    with E of an exponential distribution with mean 1, drawn for each.

    Args:
        latency_s: Time of a message without bytes, seconds, >= 0.
        bytes_per_s: Bandwidth of one direction, bytes per second, > 0.
        jitter_s: Mean of what chance adds, seconds, >= 0.
    """

    latency_s: float = 0.0
    bytes_per_s: float = math.inf
    jitter_s: float = 0.0

    def __post_init__(self) -> None:
        holds = all(is_number(t, at_least=0) for t in (self.latency_s, self.jitter_s))
        demand(
            holds,
            "latency and jitter must be numbers of seconds >= 0",
            "Write 0.1ms or 0.0001.",
            latency_s=self.latency_s,
            jitter_s=self.jitter_s,
        )
        demand(
            self.bytes_per_s > 0,
            "a bandwidth must be > 0 bytes/s",
            "Write 10Gbit/s, or omit it for an unlimited network.",
            bytes_per_s=self.bytes_per_s,
        )


@dataclass(frozen=True)
class Edge:
    """A node between terminals and the servers, to which it is one worker.

    It merges the gradients of its terminals into their mean, passes that up, and hands
    on what comes back.

    Args:
        terminals: Workers under it, >= 1.
        link: Its own way to the servers; the workers' links lead to it.
    """

    terminals: int
    link: Link = Link()


@dataclass(frozen=True)
class WorkerGroup:
    """Workers of a kind.

    Args:
        count: Number of them, >= 1.
        step: How long a step takes.
        link: The way to the servers, or to their edge node.
        spread: Standard deviation over mean of the workers' own mean times, drawn from
            a gamma distribution (V_mach); 0: all alike.
        edges: The nodes they are under, in order; together they have all of them.
    """

    count: int
    step: Duration
    link: Link = Link()
    spread: float = 0.0
    edges: tuple[Edge, ...] = ()

    def __post_init__(self) -> None:
        under = sum(edge.terminals for edge in self.edges)
        demand(
            not self.edges or under == self.count,
            "edge nodes must have all workers of their group",
            "Change count, or the terminals of its edges.",
            count=self.count,
            terminals=under,
        )
        demand(
            is_number(self.spread, at_least=0),
            "a spread must be a number >= 0",
            "Use 0.6 for workers of very different speed.",
            spread=self.spread,
        )


@dataclass(frozen=True)
class Servers:
    """The servers, all alike.

    Args:
        count: Number of them, >= 1.
        bytes_per_s: Parameters that one updates in a second, in bytes.
        overhead_s: Time for each gradient besides, seconds.
        link: The way of each into the network; its latency adds to the workers'.
        allreduce: Whether there is none, and the workers reduce gradients in a ring,
            as Horovod does; makes sense where all wait for all.
    """

    count: int = 1
    bytes_per_s: float = math.inf
    overhead_s: float = 0.0
    link: Link = Link()
    allreduce: bool = False

    def __post_init__(self) -> None:
        demand_positive("Use one server or more.", count=self.count)
        demand(
            self.bytes_per_s > 0 and is_number(self.overhead_s, at_least=0),
            "a server must update > 0 bytes/s, with an overhead >= 0 s",
            "Write 2GB/s and 50us, or omit them.",
            bytes_per_s=self.bytes_per_s,
            overhead_s=self.overhead_s,
        )


@dataclass(frozen=True)
class Slower:
    """A worker's steps take longer from now on; less, with a factor below 1."""

    at_s: float
    worker: int
    factor: float

    def __post_init__(self) -> None:
        demand_positive("Use 4 for four times as slow.", factor=self.factor)


@dataclass(frozen=True)
class Dies:
    """A worker is gone for ever."""

    at_s: float
    worker: int


@dataclass(frozen=True)
class Joins:
    """Workers come, each as another one is."""

    at_s: float
    like: int
    count: int = 1


Change = Slower | Dies | Joins
