"""The parameter server: one shard of one group of variables, as a state machine.

``handle(message, now_s) -> messages``, and nothing else changes it. No MPI, no clock,
no Keras: the same object serves a cluster, the tests and the simulator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from nfdt.protocol.controllers import Controller, Decision
from nfdt.protocol.event_log import EventLog
from nfdt.protocol.events import Use, unpacked
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.shard_state import Attendance, Copies, Held, Refusals
from nfdt.rules.corrections import Vector
from nfdt.rules.updates import Update


class ShardServer:
    """Serves one shard: holds the parameters, and changes them with every update.

    Args:
        params: First values, [P]; the server's own from now on.
        update: What a group of gradients does to them.
        controller: Who waits.
        num_workers: M.
        learning_rate: The rate until a worker says another.
        schedule: The rate as a function of the version, where it follows one.
    """

    def __init__(
        self,
        params: Vector,
        update: Update,
        controller: Controller,
        num_workers: int,
        learning_rate: float = 0.0,
        schedule: Callable[[int], float] | None = None,
    ):
        self.params = params
        self.update = update
        self.controller = controller
        self.version = 0  # updates applied; never decreases
        self.learning_rate = learning_rate if schedule is None else schedule(0)
        self._schedule = schedule
        self.records = EventLog()
        self._refusals = Refusals()
        self._attendance = Attendance(num_workers)
        self._control = controller.init(num_workers)
        self._copies = Copies()
        self._held: dict[int, Held] = {}  # worker -> its gradient, by arrival

    @property
    def clocks(self) -> Mapping[int, int]:
        """Active worker -> pushes received."""
        return self._attendance.clocks

    @property
    def refused_in_a_row(self) -> int:
        """Gradients that were not finite since the last that was."""
        return self._refusals.in_a_row

    def handle(self, message: Message, now_s: float) -> list[Message]:
        """Takes one message; returns those to send.

        Args:
            message: PUSH, STEP, PULL, AWAY or BYE of a worker.
            now_s: The time.
        """
        worker = message.worker
        match message.kind:
            case Kind.PUSH:
                return self._push(message, now_s)
            case Kind.STEP:
                return self._step(message, now_s)
            case Kind.PULL:
                return [self._params_for(worker)]
            case Kind.AWAY:
                return self.excuse(worker, now_s)
            case Kind.BYE | Kind.FAIL:
                return self.leave(worker, now_s)
        raise ValueError(f"a shard does not serve {message.kind.name}.")

    def excuse(self, worker: int, now_s: float) -> list[Message]:
        """Nobody waits for this worker until it is back; returns what that releases."""
        self._attendance.excuse(worker)
        return self._decide(now_s)

    def rejoin(self, worker: int) -> None:
        """Counts a worker that was excused, or that is new, among those awaited."""
        self._attendance.rejoin(worker)

    def leave(self, worker: int, now_s: float) -> list[Message]:
        """Goes on without a worker for ever; returns what that releases."""
        self._note_release(worker, now_s)
        self._attendance.leave(worker)
        return self._decide(now_s)

    def holds(self, worker: int) -> bool:
        """Whether a gradient of this worker waits to be applied."""
        return worker in self._held

    def held_batches(self) -> list[tuple[int, int]]:
        """Returns epoch and number of the batches whose gradients wait."""
        return [(h.message.epoch, h.message.number) for h in self._held.values()]

    def load(self, params: Vector, state: Mapping[str, Any] | None) -> None:
        """Goes on from other values; None keeps the state of the rule."""
        self.params[...] = params
        self.update.rewrite(self.params)
        if state is not None:
            self.update.load(state)

    def adopt(self, user_state: Mapping[str, Any], version: int) -> None:
        """Goes on from the state of a user's optimizer.

        Args:
            user_state: As :meth:`nfdt.rules.updates.Update.adopt` takes it.
            version: Steps that the optimizer has made.
        """
        self.version = version
        self._copies.renumber(version)
        if self._schedule is not None:
            self.learning_rate = self._schedule(version)
        self.update.adopt(user_state)

    def _push(self, message: Message, now_s: float) -> list[Message]:
        worker = message.worker
        lead = self._attendance.count_push(worker, message.clock)
        if self._schedule is None and not math.isnan(message.rate):
            self.learning_rate = message.rate
        if refusal := self._refusals.find(message, self.version):
            # It was a step all the same: others may have waited for it.
            return refusal + self._decide(now_s)
        pulled = self._copies.of(worker, self.version)
        self._held[worker] = Held(message, lead, pulled)
        self._attendance.waiting[worker] = now_s
        return self._decide(now_s)

    def _step(self, message: Message, now_s: float) -> list[Message]:
        """Counts a step of a worker's own; nothing is pushed with it."""
        worker = message.worker
        lead = self._attendance.count_step(worker)
        staleness = self.version - self._copies.of(worker, self.version).version
        self.records.step(message, now_s, self.version, staleness, lead)
        if len(message.payload):
            readings = unpacked(message.payload)
            self._attendance.speeds[worker] = readings.steps_per_s
            self.records.readings(worker, now_s, readings)
        return self._decide(now_s, asking=(worker,))

    def _decide(self, now_s: float, asking: tuple[int, ...] = ()) -> list[Message]:
        """Carries out what the controller decides, until it decides nothing more."""
        answers = []
        while True:
            held = self._held.items()
            late = frozenset(w for w, h in held if h.pulled.version < self.version)
            ledger = self._attendance.ledger(tuple(self._held), late, asking)
            decision, self._control = self.controller.decide(
                ledger, self._control, now_s=now_s
            )
            answers += self._carry_out(decision, now_s)
            for worker in asking:
                number = int(worker in decision.submit)
                answers.append(Message(Kind.PACE, worker, number=number))
            asking = ()
            if not decision.apply or not self._held:
                return answers

    def _carry_out(self, decision: Decision, now_s: float) -> list[Message]:
        for worker in decision.drop:
            self._use(self._held.pop(worker), now_s, Use.DROPPED)
        if decision.apply:
            self._apply(decision, now_s)
        if decision.note is not None:
            self.records.happen(now_s, decision.note)
        for worker in decision.release:
            self._note_release(worker, now_s)
        return [self._params_for(worker) for worker in decision.release]

    def _note_release(self, worker: int, now_s: float) -> None:
        since_s = self._attendance.waiting.pop(worker, now_s)
        self.records.release(worker, now_s - since_s)

    def _apply(self, decision: Decision, now_s: float) -> None:
        held = [self._held.pop(worker) for worker in decision.apply]
        about = (self.params, self.version, self.learning_rate, self.update.correction)
        group = [one.late(*about) for one in held]
        self.update.apply(
            self.params, group, self.learning_rate, adds_up=decision.adds_up
        )
        for one in held:
            self._attendance.steps.pop(one.message.worker, None)
            self._use(one, now_s, Use.UPDATE)
        self.version += 1
        if self._schedule is not None:
            self.learning_rate = self._schedule(self.version)

    def _use(self, held: Held, now_s: float, use: Use) -> None:
        waits = held.message.worker in self._attendance.waiting
        self.records.use(held, now_s, self.version, use, waits=waits)

    def _params_for(self, worker: int) -> Message:
        # What a held gradient was computed at is still needed.
        payload = self._copies.make(
            worker, self.params, self.version, keeps_last=worker in self._held
        )
        return Message(
            Kind.PARAMS,
            worker,
            version=self.version,
            rate=self.learning_rate,
            payload=payload,
        )
