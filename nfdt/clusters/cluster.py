"""A cluster as the simulator knows it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

import numpy as np

from fdtcore.validation import demand, is_number
from nfdt.clusters.machines import Change, Joins, Link, Servers, WorkerGroup
from nfdt.clusters.step_times import Duration


@dataclass(frozen=True)
class Worker:
    """One worker, with its own times."""

    step: Duration
    link: Link
    factor: float  # of its steps' times


@dataclass(frozen=True)
class ServedWorker:
    """Whom the servers know as one worker: a worker, or an edge node with several.

    Args:
        terminals: Indices of the workers; one without an edge node.
        link: The way to the servers.
        is_edge: Whether it is an edge node.
        joins_s: When it comes, seconds.
    """

    terminals: tuple[int, ...]
    link: Link
    is_edge: bool = False
    joins_s: float = 0.0


@dataclass(frozen=True)
class Cluster:
    """What a simulated job runs on.

    Args:
        groups: Groups of equal workers.
        servers: The servers of the cluster: count, speed and link.
        changes: What happens to workers, by time.
        name: For tables and pictures.
    """

    groups: tuple[WorkerGroup, ...]
    servers: Servers = field(default_factory=Servers)
    changes: tuple[Change, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        demand(
            sum(group.count for group in self.groups) > 0,
            "a cluster must have a worker",
            "Give a group with a count >= 1.",
            groups=len(self.groups),
        )
        for change in self.changes:
            demand(
                is_number(change.at_s, at_least=0),
                "an event must have a time >= 0 s",
                "Write 60s.",
                at_s=change.at_s,
            )
            index = change.like if isinstance(change, Joins) else change.worker
            demand(
                0 <= index < self.num_workers,
                f"the event at t={change.at_s:g} s must name a worker",
                f"Workers are numbered 0 to {self.num_workers - 1}.",
                worker=index,
            )

    @property
    def num_workers(self) -> int:
        """Workers at the start."""
        return sum(group.count for group in self.groups)

    def workers(self, random: np.random.Generator) -> list[Worker]:
        """Returns all workers, with those that join later at the end.

        Args:
            random: For the workers' own mean times.
        """
        found = []
        for group in self.groups:
            for _ in range(group.count):
                shape = math.inf if not group.spread else group.spread**-2
                factor = float(random.gamma(shape)) / shape if group.spread else 1.0
                found.append(Worker(group.step, group.link, factor))
        for change in self.changes:
            if isinstance(change, Joins):
                found += [found[change.like]] * change.count
        return found

    def members(self) -> list[ServedWorker]:
        """Returns whom the servers know, with those that join later at the end."""
        found: list[ServedWorker] = []
        first = 0
        for group in self.groups:
            if group.edges:
                for edge in group.edges:
                    terminals = range(first, first + edge.terminals)
                    found.append(
                        ServedWorker(tuple(terminals), edge.link, is_edge=True)
                    )
                    first += edge.terminals
            else:
                for _ in range(group.count):
                    found.append(ServedWorker((first,), group.link))
                    first += 1
        for change in self.changes:
            if isinstance(change, Joins):
                new = range(first, first + change.count)
                link = self._link_of(change.like)
                found += [
                    ServedWorker((one,), link, joins_s=change.at_s) for one in new
                ]
                first += change.count
        return found

    def resized(self, num_workers: int) -> Cluster:
        """Returns the cluster with another number of workers, in the same proportion.

        Raises:
            ValueError: The cluster has edge nodes or events, which fix its number of
                workers.
        """
        fixed = bool(self.changes) or any(group.edges for group in self.groups)
        demand(
            num_workers >= 1 and not (fixed and num_workers != self.num_workers),
            "only a cluster without edge nodes and events can be resized",
            "Write the number of workers into its file.",
            workers=num_workers,
        )
        total, groups, done = self.num_workers, [], 0
        for index, group in enumerate(self.groups):
            upto = sum(one.count for one in self.groups[: index + 1])
            stop = round(num_workers * upto / total)
            groups.append(dataclasses.replace(group, count=stop - done))
            done = stop
        return dataclasses.replace(self, groups=tuple(groups))

    def _link_of(self, worker: int) -> Link:
        for group in self.groups:
            if worker < group.count:
                return group.link
            worker -= group.count
        raise IndexError(worker)
