"""The simulated workers that the servers know: single ones, and edge nodes.

What a simulated worker is asked for, and what it answers.

What a simulated worker says to its servers.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from nfdt.clusters.cluster import Cluster, Worker
from nfdt.clusters.machines import Link
from nfdt.protocol import serialization
from nfdt.protocol.events import INTERVAL_S, Readings
from nfdt.protocol.messages import Kind, Message
from nfdt.rules.corrections import Vector


class Node:
    """One worker's own times.

    Args:
        worker: Simulated worker of the node.
        seed: Of its chance; what it draws does not depend on the others.
    """

    def __init__(self, worker: Worker, seed: tuple[int, ...]):
        self.link, self.factor = worker.link, worker.factor
        self._step, self._random = worker.step, np.random.default_rng(seed)

    def step_s(self) -> float:
        """Returns how long its next step takes."""
        return self.factor * self._step.draw_s(self._random)


def nodes(cluster: Cluster, seed: int) -> list[Node]:
    """Returns all workers of a cluster, with those that join later at the end."""
    found = cluster.workers(np.random.default_rng((seed, 0)))
    return [Node(worker, (seed, 1, index)) for index, worker in enumerate(found)]


class Speed:
    """A member's own speed, as its monitor would read it; its machine does nothing."""

    def __init__(self) -> None:
        self._steps, self._computed_s, self._last_s = 0, 0.0, 0.0

    def step(self, compute_s: float, now_s: float) -> bytes:
        """Counts a step; returns new readings, packed, where it is time for some."""
        self._steps += 1
        self._computed_s += compute_s
        if now_s - self._last_s < INTERVAL_S:
            return b""
        found = Readings(self._steps / self._computed_s)
        self._steps, self._computed_s, self._last_s = 0, 0.0, now_s
        return found.packed()


class Result(NamedTuple):
    """What one terminal has made of one batch."""

    number: int  # of the batch; -1 for none
    vector: Vector  # [P]
    loss: float
    rate: float  # the learning rate, where it has changed; else NaN


@dataclass
class SimulatedWorker:
    """The state of one worker, or edge node, as the servers know it.

    Args:
        index: Its index among the servers' workers, 0 .. M - 1.
        terminals: Who computes: itself, or the terminals of an edge node.
        link: The way to the servers.
        is_edge: Whether its terminals are nodes of their own.
        is_there: Whether it takes part now.
    """

    index: int
    terminals: list[int]
    link: Link
    is_edge: bool
    is_there: bool
    joins_s: float = 0.0  # when it comes
    has_met: bool = False  # it has come to the end of the epoch
    clock: int = 0  # pushes so far
    unsent: int = 0  # local steps since the last push
    released_s: float = 0.0  # when it had parameters last
    pushed_s: float = 0.0  # when it pushed last
    exchange_s: float = 0.0  # from the last push to its release
    shards: dict[int, Vector] = field(default_factory=dict)  # server -> parameters
    awaited: int = 0  # answers that it waits for
    asking: deque[int] = field(default_factory=deque)  # terminals that want a batch
    returned: list[int] = field(default_factory=list)  # batches of dead terminals
    busy: dict[int, int] = field(default_factory=dict)  # terminal -> its batch
    results: list[Result] = field(default_factory=list)  # of this round
    speed: Speed = field(default_factory=Speed)

    @property
    def params(self) -> Vector | None:
        """The parameters that it has, [P], not to be written; None: the first."""
        if len(self.shards) < 2:
            return self.shards.get(0)
        return np.concatenate([self.shards[server] for server in sorted(self.shards)])

    @property
    def free(self) -> list[int]:
        """The terminals with nothing to do."""
        return [
            t for t in self.terminals if t not in self.busy and t not in self.asking
        ]

    @property
    def is_idle(self) -> bool:
        """Whether nothing of it is under way."""
        return not (self.busy or self.results or self.asking or self.awaited)

    def begin(self) -> None:
        """Begins anew, with nothing in hand."""
        self.has_met, self.awaited, self.unsent = False, 0, 0
        for items in (self.asking, self.returned, self.busy, self.results):
            items.clear()

    def take_round(self) -> Result:
        """Takes the results of a round as one: their mean, under the first number."""
        results, self.results = self.results, []
        if len(results) == 1:
            return results[0]
        mean = np.mean([result.vector for result in results], axis=0)
        loss = float(np.mean([result.loss for result in results]))
        rates = [result.rate for result in results if not math.isnan(result.rate)]
        return Result(results[0].number, mean, loss, rates[-1] if rates else math.nan)


def members(cluster: Cluster) -> list[SimulatedWorker]:
    """Returns whom the servers know, with those that join later at the end."""
    return [
        SimulatedWorker(
            index,
            list(one.terminals),
            one.link,
            one.is_edge,
            not one.joins_s,
            one.joins_s,
        )
        for index, one in enumerate(cluster.members())
    ]


class Wanted(NamedTuple):
    """A worker has computed for long enough: what it has found is wanted now."""

    worker: int  # who computes
    epoch: int
    number: int  # of the batch; -1 where it has none
    params: Vector | None  # [P], as pulled, not to be written; None: the first
    submits: bool  # the way since its last push is wanted, and no step


class Sent(NamedTuple):
    """What a worker has found."""

    vector: Vector | None  # [P], given away; None: a local step, nothing to push
    loss: float = math.nan
    rate: float = math.nan  # the learning rate, where it has changed


Steps = Generator[Wanted, Sent, None]
NO_BATCH = -1


def lease(member: SimulatedWorker, epoch: int, num_batches: int) -> Message:
    """Asks for a batch."""
    return Message(Kind.LEASE, member.index, epoch=epoch, parts=num_batches)


def done(member: SimulatedWorker, epoch: int, number: int) -> Message:
    """Tells that a batch is over, where its push does not."""
    parts = int(bool(member.unsent))
    return Message(Kind.DONE, member.index, epoch=epoch, number=number, parts=parts)


def meet(member: SimulatedWorker, epoch: int) -> Message:
    """Waits for all at the end of an epoch."""
    payload = serialization.pack({"name": f"end of epoch {epoch}"})
    return Message(Kind.MEET, member.index, epoch=epoch, payload=payload)


def push(
    member: SimulatedWorker, group: int, epoch: int, result: Result, compute_s: float
) -> Message:
    """Brings a gradient, which the message does not hold yet."""
    return Message(
        Kind.PUSH,
        member.index,
        group,
        clock=member.clock,
        epoch=epoch,
        number=result.number,
        rate=result.rate,
        loss=result.loss,
        compute_s=compute_s,
        exchange_s=member.exchange_s,
    )


def step(
    member: SimulatedWorker,
    group: int,
    epoch: int,
    number: int,
    loss: float,
    *,
    compute_s: float,
    readings: bytes,
) -> Message:
    """Reports a local step."""
    return Message(
        Kind.STEP,
        member.index,
        group,
        clock=member.clock,
        epoch=epoch,
        number=number,
        loss=loss,
        compute_s=compute_s,
        exchange_s=member.exchange_s,
        payload=readings,
    )
