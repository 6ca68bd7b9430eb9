"""The parameter server of one shard of one group, as a state machine.

``handle(message, now_s) -> messages``, and nothing else changes it. No MPI, no clock,
no Keras: the same object serves a cluster, the tests and the simulator.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fdtcore.compression import selection
from nfdt.protocol.controllers import Controller, Decision
from nfdt.protocol.elements import ELEMENTS, PLACE_BYTES, Elements
from nfdt.protocol.event_log import EventLog
from nfdt.protocol.events import Use, event_of, unpacked
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.shard_state import (
    Copy,
    Held,
    ProgressTable,
    Refusals,
    WorkerState,
)
from nfdt.rules.corrections import Vector
from nfdt.rules.updates import Late, Update


class ShardServer:
    """Serves one shard: holds the parameters, and changes them with every update.

    Args:
        params: First values, [P]; the server's own from now on.
        update: What a group of gradients does to them.
        controller: Controller that decides who waits.
        num_workers: Number of workers, M.
        learning_rate: The rate until a worker says another.
        schedule: The rate as a function of the version, where it follows one.
        returned: Type of the parameters that answer a push; None: their own, in which
            all others are answered.
        answered: Part of the parameters that answer a push: those that differ most from
            what the worker has, in their own type; 0: all. All as well where places
            and values are no fewer bytes.
    """

    def __init__(
        self,
        params: Vector,
        update: Update,
        controller: Controller,
        num_workers: int,
        learning_rate: float = 0.0,
        schedule: Callable[[int], float] | None = None,
        returned: npt.DTypeLike | None = None,
        answered: float = 0.0,
    ):
        self.params = params
        self._returned = params.dtype if returned is None else np.dtype(returned)
        self._answered = answered
        self.update = update
        self.controller = controller
        self.version = 0  # updates applied; never decreases
        self.learning_rate = learning_rate if schedule is None else schedule(0)
        self._schedule = schedule
        self.records = EventLog()
        self.progress = ProgressTable(num_workers)
        self._refusals = Refusals()
        self._control = controller.init(num_workers)

    @property
    def clocks(self) -> Mapping[int, int]:
        """Awaited worker -> pushes received."""
        return self.progress.clocks

    @property
    def refused_in_a_row(self) -> int:
        """Gradients that were not finite since the last that was."""
        return self._refusals.in_a_row

    def handle(self, message: Message, now_s: float) -> list[Message]:
        """Takes one message; returns those to send.

        Args:
            message: PUSH, STEP, PULL, AWAY or BYE of a worker.
            now_s: Time now, in seconds of a clock that never goes back.
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
        self.progress.excuse(worker)
        return self._decide(now_s)

    def rejoin(self, worker: int) -> None:
        """Counts a worker that was excused, or that is new, among those awaited."""
        self.progress.rejoin(worker)

    def leave(self, worker: int, now_s: float) -> list[Message]:
        """Goes on without a worker for ever; returns what that releases."""
        self._release(worker, now_s)
        self.progress.leave(worker)
        return self._decide(now_s)

    def holds(self, worker: int) -> bool:
        """Whether a gradient of this worker waits to be applied."""
        return self.progress[worker].held is not None

    def wait_of(self, worker: int) -> tuple[str, frozenset[int]] | None:
        """Returns what a worker is held for, and for whom; None where it is not."""
        one = self.progress[worker]
        if one.is_gone or one.waiting_since_s is None:
            return None
        computing = (o for o in self.progress if o.state is WorkerState.COMPUTING)
        whom = frozenset(other.worker for other in computing)
        return f"the parameters after its push {one.clock}", whom

    def skip(self, worker: int) -> Message:
        """Answers a push that is in the parameters already."""
        place = self._place_for(worker, self._returned)
        self._copy_to([place])
        return self._sent(worker, place)

    def holding(self) -> list[int]:
        """Returns the workers whose gradients wait to be applied."""
        return [one.worker for one in self.progress.held()]

    def load(self, params: Vector, state: Mapping[str, Any] | None) -> None:
        """Goes on from other values; None keeps the state of the rule."""
        self.params[...] = params
        self.progress.measure_anew()
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
        self.progress.renumber(version)
        if self._schedule is not None:
            self.learning_rate = self._schedule(version)
        self.update.adopt(user_state)

    def _push(self, message: Message, now_s: float) -> list[Message]:
        lead = self.progress.count_push(message.worker, message.clock)
        if self._schedule is None and not math.isnan(message.rate):
            self.learning_rate = message.rate
        one = self.progress[message.worker]
        one.has_pulled = message.version == one.version(self.version)
        one.sent = max(0, -message.parts)
        held = one.arrived(message, lead, self.version)
        measured = self.update.measure(self.params, self._late(held))
        if refusal := self._refusals.find(message, self.version, measured):
            # It was still a step: others may have waited for it. The local steps of the
            # worker before it are lost.
            one.own_steps = 0
            return refusal + self._decide(now_s)
        one.hold(held._replace(measured=measured), now_s)
        return self._decide(now_s)

    def _step(self, message: Message, now_s: float) -> list[Message]:
        """Counts a local step of a worker; nothing is pushed with it."""
        worker = message.worker
        lead = self.progress.count_step(worker)
        one = self.progress[worker]
        staleness = self.version - one.version(self.version)
        self.records.step(message, now_s, self.version, staleness, lead)
        if len(message.payload):
            readings = unpacked(message.payload)
            one.steps_per_s = readings.steps_per_s
            self.records.readings(worker, now_s, readings)
        return self._decide(now_s, asking=(worker,))

    def _decide(self, now_s: float, asking: tuple[int, ...] = ()) -> list[Message]:
        """Carries out what the controller decides, until it decides nothing more."""
        answers = []
        while True:
            ledger = self.progress.ledger(self.version, asking)
            decision, self._control = self.controller.decide(
                ledger, self._control, now_s=now_s
            )
            answers += self._carry_out(decision, now_s)
            for worker in asking:
                number = int(worker in decision.submit)
                answers.append(Message(Kind.PACE, worker, number=number))
            asking = ()
            all_used = {*decision.apply, *decision.drop}.issuperset(ledger.held)
            if not decision.apply or all_used:
                return answers

    def _carry_out(self, decision: Decision, now_s: float) -> list[Message]:
        for worker in decision.drop:
            self._use(self._take(worker), now_s, Use.DROPPED)
        used = [self._take(worker) for worker in decision.apply]
        # Only now: a place that a gradient needs as long as it is held is free.
        whole = [] if self._answered else decision.release
        places = [self._place_for(w, self._returned) for w in whole]
        if used:
            self._apply(used, now_s, adds_up=decision.adds_up, copies=places)
        else:
            self._copy_to(places)
        if decision.note is not None:
            self.records.happen(now_s, decision.note)
        for worker in decision.release:
            self._release(worker, now_s)
        if self._answered:
            return [self._differing_for(worker) for worker in decision.release]
        pairs = zip(decision.release, places, strict=True)
        return [self._sent(worker, place) for worker, place in pairs]

    def _release(self, worker: int, now_s: float) -> None:
        event = self.progress[worker].release(now_s)
        if event is not None:
            self.records.add(event)

    def _take(self, worker: int) -> Held:
        """Takes the gradient of a worker that is held; there is one."""
        one = self.progress[worker]
        held, one.held = one.held, None
        assert held is not None, one
        return held

    def _late(self, held: Held) -> Late:
        rule = self.update.correction
        return held.late(self.params, self.version, self.learning_rate, rule)

    def _apply(
        self, used: list[Held], now_s: float, *, adds_up: bool, copies: list[Vector]
    ) -> None:
        group = [self._late(one) for one in used]
        self.update.apply(
            *(self.params, group, self.learning_rate), adds_up=adds_up, copies=copies
        )
        for one in used:
            self.progress[one.message.worker].own_steps = 0
            self._use(one, now_s, Use.UPDATE)
        self.version += 1
        if self._schedule is not None:
            self.learning_rate = self._schedule(self.version)

    def _use(self, held: Held, now_s: float, use: Use) -> None:
        """Notes what becomes of a gradient, at the latest when its worker goes on."""
        event = event_of(
            held.message,
            now_s,
            self.version + (use is Use.UPDATE),
            held.staleness(self.version),
            held.lead,
            use,
        )
        one = self.progress[event.worker]
        if one.waiting_since_s is None:  # it has left, or went on before
            self.records.add(event)
        else:
            one.unreleased = event

    def _params_for(self, worker: int) -> Message:
        place = self._place_for(worker, self.params.dtype)
        self._copy_to([place])
        return self._sent(worker, place)

    def _differing_for(self, worker: int) -> Message:
        """Answers with what differs most from what the worker has."""
        one, params = self.progress[worker], self.params
        place = None if one.pulled is None else one.pulled.params
        # A controller releases a worker when its gradient is used or dropped: nothing
        # that is held was computed at these.
        if place is None or not one.has_pulled or one.held is not None:
            return self._params_for(worker)
        # At least as many as it has sent: so many have changed by its own push.
        count = max(math.ceil(self._answered * params.size), one.sent)
        if count * (PLACE_BYTES + params.itemsize) >= params.nbytes:
            return self._params_for(worker)
        found = selection.largest(
            lambda part: params[part] - place[part], 0, params.size, count
        )
        if not found.is_finite:
            return self._params_for(worker)
        # The values, not the differences: so both have the same, bit by bit.
        sent = Elements(found.indices, params[found.indices])
        place[sent.places] = sent.values
        answer = self._sent(worker, place)
        return dataclasses.replace(answer, parts=ELEMENTS, payload=sent.pack())

    def _place_for(self, worker: int, dtype: np.dtype[Any]) -> Vector:
        return self.progress[worker].place_for(self.params.size, dtype)

    def _copy_to(self, places: list[Vector]) -> None:
        for place in places:
            np.copyto(place, self.params)

    def _sent(self, worker: int, place: Vector) -> Message:
        """Notes what a worker is sent: the parameters, copied to its place."""
        self.progress[worker].pulled = Copy(place, self.version)
        return Message(
            Kind.PARAMS,
            worker,
            version=self.version,
            rate=self.learning_rate,
            payload=place,
        )
