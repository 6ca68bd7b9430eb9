"""Workers of a shard in virtual time: an event heap, and nothing that sleeps."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from nfdt.protocol.events import Event, Use
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.shard_server import ShardServer


class Step(NamedTuple):
    """What one message to the server did."""

    time_s: float
    worker: int
    what: str  # "push", "step", "away", "join" or "bye"
    clock: int  # steps of this worker, this one included
    lead: int  # over the slowest, this one included
    staleness: int  # at its arrival
    version: int | None  # after it; None where it made no update
    released: tuple[int, ...]
    leads: tuple[int, ...]  # of the released, at their release
    submits: bool = False  # whether a local step is to be followed by a push
    dropped: bool = False  # whether its gradient was of no use

    def __str__(self) -> str:
        release = " ".join(f"w{w}" for w in self.released) or "-"
        head = f"t={self.time_s:4.1f}  w{self.worker}  "
        if self.what == "step":
            end = "submit" if self.submits else "go on"
            return f"{head}step {self.clock}  lead={self.lead} -> {end}"
        if self.what != "push":
            end = "" if self.version is None else f" -> v{self.version}"
            return f"{head}{self.what + end:38}release {release}"
        end = "held" if self.version is None else f"v{self.version}"
        end = "drop" if self.dropped else end
        lead = f"lead={self.lead}  staleness={self.staleness}"
        return f"{head}{f'clock={self.clock}  {lead} -> {end}':38}release {release}"


class Workers:
    """Workers that make a number of steps each, and then leave.

    Where the controller paces them they tell of each step, push when it says so, and
    what is left before they leave; else each step is a push.

    Args:
        server: The shard.
        step_s: From a worker to the duration of its next step.
        pushes: Steps of each worker.
        gradient: From a worker and the parameters it has to what it pushes.
        away: (worker, clock) -> for how long it leaves then, before its next step.
        lost: worker -> the clock after which it dies in its step.
        joins: worker -> when it comes; the others are there at the start.
        payload: From a worker to what it says with a local step.
    """

    def __init__(
        self,
        server: ShardServer,
        step_s: Callable[[int], float],
        pushes: int,
        *,
        gradient: Callable[[int, Any], Any] = lambda worker, params: np.ones_like(
            params
        ),
        away: Mapping[tuple[int, int], float] | None = None,
        lost: Mapping[int, int] | None = None,
        joins: Mapping[int, float] | None = None,
        payload: Callable[[int], bytes] = lambda worker: b"",
    ):
        self.server, self.gradient = server, gradient
        self.steps: list[Step] = []
        self.clocks = dict.fromkeys(server.clocks, 0)
        self.params: dict[int, Any] = {}  # worker -> what it pulled
        self._step_s, self._pushes = step_s, pushes
        self._away, self._lost, self._joins = away or {}, lost or {}, joins or {}
        self._payload = payload
        self._own = dict.fromkeys(server.clocks, 0)  # steps since the last update
        self._versions: dict[int, int] = {}  # worker -> version of what it pulled
        self._heap: list[tuple[float, int, int, str]] = []
        self._order = itertools.count()  # events of one time happen by age

    def run(self) -> list[Step]:
        """Returns what happened until nothing does any more."""
        for worker, time_s in self._joins.items():
            self.server.excuse(worker, 0.0)
            self._plan(time_s, worker, "join")
        for worker in self.clocks.keys() - self._joins:
            self._take(self.server.handle(Message(Kind.PULL, worker), 0.0), 0.0)
        while self._heap:
            time_s, _, worker, what = heapq.heappop(self._heap)
            self._happen(time_s, worker, what)
        return self.steps

    def _happen(self, time_s: float, worker: int, what: str) -> None:
        before = self.server.version
        dropped = len(self._dropped())
        is_step = what == ("step" if self._paces else "push")
        self.clocks[worker] += is_step
        self._own[worker] += what == "step"
        lead = self._own_lead(worker) if what == "step" else 0
        staleness = before - self._versions.get(worker, before)
        if what == "join":
            self.server.rejoin(worker)
        answers = self.server.handle(self._message(worker, what), time_s)
        if what == "push":
            lead = self._lead(worker)
        released = tuple(a.worker for a in answers if a.kind is Kind.PARAMS)
        self.steps.append(
            Step(
                time_s,
                worker,
                what,
                self.clocks[worker],
                lead,
                staleness,
                self.server.version if self.server.version > before else None,
                released,
                tuple(self._lead(w) for w in released),
                any(a.kind is Kind.PACE and a.number for a in answers),
                len(self._dropped()) > dropped,
            )
        )
        self._take(answers, time_s)

    @property
    def _paces(self) -> bool:
        return self.server.controller.paces

    def _dropped(self) -> list[Event]:
        return [e for e in self.server.records.events if e.use == Use.DROPPED]

    def _message(self, worker: int, what: str) -> Message:
        clock = self.clocks[worker]
        match what:
            case "push":
                gradient = self.gradient(worker, self.params[worker])
                return Message(Kind.PUSH, worker, clock=clock, payload=gradient)
            case "step":
                payload = self._payload(worker)
                return Message(Kind.STEP, worker, clock=clock, payload=payload)
            case "join":
                return Message(Kind.PULL, worker)
        return Message(Kind.AWAY if what == "away" else Kind.BYE, worker)

    def _lead(self, worker: int) -> int:
        clocks = self.server.clocks
        slowest = min(clocks.values(), default=0)
        return clocks.get(worker, slowest) - slowest

    def _own_lead(self, worker: int) -> int:
        others = self.server.clocks.keys() | {worker}
        return self._own[worker] - min(self._own[other] for other in others)

    def _take(self, answers: list[Message], now_s: float) -> None:
        for answer in answers:
            worker = answer.worker
            if answer.kind is Kind.PARAMS:
                self.params[worker] = answer.payload.copy()
                self._versions[worker] = answer.version
                self._own[worker] = 0
            if answer.kind is Kind.PACE and answer.number:
                self._plan(now_s, worker, "push")
            else:
                self._begin(worker, now_s)

    def _begin(self, worker: int, now_s: float) -> None:
        clock = self.clocks[worker]
        done_s = now_s + self._step_s(worker)
        what = "step" if self._paces else "push"
        if clock >= self._pushes:
            self._plan(now_s, worker, "push" if self._own[worker] else "bye")
        elif self._lost.get(worker) == clock:
            self._plan((now_s + done_s) / 2, worker, "bye")
        elif (worker, clock) in self._away:
            self._plan(now_s, worker, "away")
            self._plan(done_s + self._away[worker, clock], worker, what)
        else:
            self._plan(done_s, worker, what)

    def _plan(self, time_s: float, worker: int, what: str) -> None:
        heapq.heappush(self._heap, (time_s, next(self._order), worker, what))
