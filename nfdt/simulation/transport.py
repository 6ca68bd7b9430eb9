"""The transport to simulated servers, for the process that plays all workers.

Keras trains step by step as on one machine. Behind each step stands another worker: a
push is answered with the parameters of whoever computes next, and a lease is that
worker's batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nfdt.protocol.epoch_id import EpochId
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.rendezvous import Meetings
from nfdt.protocol.server import Service
from nfdt.protocol.transport import LeaseWait
from nfdt.rules.corrections import Vector
from nfdt.simulation.network import only_group
from nfdt.simulation.simulator import Simulator
from nfdt.simulation.workers import Sent, Steps, Wanted


class VirtualTransport:
    """A transport of all simulated workers; see ``nfdt.protocol.transport``.

    Args:
        simulator: The workers in virtual time.
        services: State machine of each server process, by server index.
        watch: Called after each step.
    """

    def __init__(
        self, simulator: Simulator, services: list[Service], watch: Callable[[], None]
    ):
        self.simulator, self.services, self._watch = simulator, services, watch
        self.num_servers = len(services)
        # What a worker's own steps have come to, where it has made some.
        self.submit: Callable[[Wanted], Vector] = _nothing
        self.wanted: Wanted | None = None  # the step that is computed
        self._steps: Steps | None = None
        self._is_given = False  # whether its batch has been leased
        self._is_over = False  # the epoch
        self._meetings = Meetings()
        self._asking = LeaseWait()
        self._lock = self._asking.lock

    def post(self, server: int, message: Message) -> None:
        """Sends a message that is not answered."""
        with self._lock:
            if message.kind is Kind.STOP:
                self.services[server].handle(message, self.simulator.now_s)
                self._leave()

    def call_all(
        self, messages: Mapping[int, Message], into: Mapping[int, Any]
    ) -> dict[int, Message]:
        """Sends one message to each server and returns their answers."""
        kind = messages[0].kind
        if kind is Kind.LEASE:
            return {0: self._lease(messages[0])}
        if kind is Kind.PUSH:
            return self._push(messages, into)
        if kind is Kind.PULL:
            return self._newest(into)
        if kind is Kind.MEET:
            self._meetings.bring(messages[0])
            (answer,) = self._meetings.close({0}, lambda epoch: False)
            return {0: answer}
        found = {}
        for server, message in messages.items():
            (answer,) = self.services[server].handle(message, self.simulator.now_s)
            found[server] = _taken(answer, into.get(server))
        return found

    def current(self) -> Wanted:
        """Returns the step that is computed; begins steps, if none are under way."""
        with self._lock:
            if self._steps is None:  # batches have no number
                self._begin(self.simulator.stream())
            assert self.wanted is not None  # a stream has no end
            return self.wanted

    def advance(self, sent: Sent) -> Wanted | None:
        """Goes on with what the step has found; returns the next, None at the end."""
        self.current()
        steps = self._steps
        assert steps is not None
        with self._lock:
            try:
                self.wanted, self._is_given = steps.send(sent), False
                while self.wanted.submits:
                    self.wanted = steps.send(Sent(self.submit(self.wanted)))
            except StopIteration:
                self.wanted, self._is_over = None, True
            finally:
                self._lock.notify_all()
        self._watch()
        return self.wanted

    def close(self) -> bool:
        """Ends what still asks for batches; see ``LeaseWait.close``."""
        with self._lock:
            self._leave()
            return self._asking.close()

    def newest(self) -> Vector:
        """Returns the servers' parameters."""
        group = only_group(self.services[0])
        return np.concatenate([s.groups[group].params for s in self.services])

    def _begin(self, steps: Steps) -> None:
        self._steps, self._is_over, self._is_given = steps, False, False
        try:
            self.wanted = next(steps)
        except StopIteration:
            self.wanted, self._is_over = None, True

    def _leave(self) -> None:
        """Ends steps that are under way."""
        self._steps, self.wanted, self._is_over = None, None, True
        self._lock.notify_all()

    def _lease(self, message: Message) -> Message:
        with self._lock:
            has_stopped = self._has_stopped(message)
            if self._steps is None and not has_stopped:
                self._begin(self.simulator.epoch(message.epoch, message.parts))
            self._asking.wait(lambda: not self._is_given or self._is_over)
            if self.wanted is None:
                self._steps = None
                parts = int(self._has_stopped(message))
                return dataclasses.replace(message, number=-1, parts=parts)
            self._is_given = True
            return dataclasses.replace(message, number=self.wanted.number, parts=0)

    def _has_stopped(self, message: Message) -> bool:
        fit = EpochId.unpack(message.epoch).fit
        return self._asking.is_closed or fit in self.services[0].stopped

    def _push(
        self, messages: Mapping[int, Message], into: Mapping[int, Any]
    ) -> dict[int, Message]:
        """Answers with the parameters of the worker that computes next."""
        parts = []
        for server, message in messages.items():
            service = self.services[server]
            vector = np.empty_like(service.groups[message.group].params)
            service.specs[message.group].read(message, vector)
            parts.append(vector)
        vector = parts[0] if len(parts) == 1 else np.concatenate(parts)
        first = messages[0]
        wanted = self.advance(Sent(vector, first.loss, first.rate))
        # At the end of an epoch what comes back is of no use: all pull the newest.
        params = None if wanted is None else wanted.params
        return self._answers(self.newest() if params is None else params, into)

    def _newest(self, into: Mapping[int, Any]) -> dict[int, Message]:
        with self._lock:
            if self.wanted is not None and self.wanted.number < 0:
                self._leave()  # from here on all workers begin with the newest
        return self._answers(self.newest(), into)

    def _answers(self, params: Vector, into: Mapping[int, Any]) -> dict[int, Message]:
        answers, start = {}, 0
        for server, service in enumerate(self.services):
            ((group, shard),) = service.groups.items()
            part = params[start : start + shard.params.size]
            start += part.size
            version, rate = shard.version, shard.learning_rate
            answer = Message(Kind.PARAMS, 0, group, version=version, rate=rate)
            answers[server] = _taken(
                dataclasses.replace(answer, payload=part), into.get(server)
            )
        return answers


def _nothing(wanted: Wanted) -> Vector:
    raise AssertionError(f"worker {wanted.worker} has made no local steps")


def _taken(answer: Message, into: Vector | None) -> Message:
    """Copies parameters to where they are wanted, as a network would.

    What a worker computes at is widened already: it stays where it is.
    """
    is_params = answer.kind is Kind.PARAMS
    if not is_params or into is None or into.dtype != answer.payload.dtype:
        return answer
    np.copyto(into, answer.payload)
    return dataclasses.replace(answer, payload=into)
