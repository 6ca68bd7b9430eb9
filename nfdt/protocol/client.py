"""A worker's side of the protocol: a group's flat vector on the servers.

No Keras and no MPI: over any transport, with gradients from anywhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fdtcore.compression import factory
from fdtcore.compression.compressor import Sender
from nfdt.protocol import elements, serialization, topology
from nfdt.protocol.elements import ELEMENTS
from nfdt.protocol.gradients import WIRE_TYPES, Dense, Rows, pack_gradient
from nfdt.protocol.group_spec import GroupSpec
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.transport import Transport
from nfdt.rules.corrections import Vector


class Refused(RuntimeError):
    """A server has refused what this worker asked."""


class NotFinite(RuntimeError):
    """A server has refused a gradient.

    Args:
        element: Index in the flat vector of the first element that is not finite.
        in_a_row: Gradients refused one after the other, of all workers.
    """

    def __init__(self, element: int, in_a_row: int):
        super().__init__("a gradient must be finite")
        self.element, self.in_a_row = element, in_a_row


class ShardedVector:
    """The flat vector of one group of variables, in shards on the servers.

    Args:
        transport: The way to the servers.
        worker: Index of this worker, 0 .. M - 1.
        index: The group's; the same on every worker.
        sizes: Elements of each variable, in order.
        dtype: Type of the parameters.
        wire: Type of gradients on the way, of ``gradients.WIRE_TYPES``.
        returned: Type of the parameters that answer a push, of the same; empty:
            ``dtype``.
        compressor: Makes what is sent of a gradient, to one server; None: all is sent.
        now: A clock, in seconds.
    """

    def __init__(
        self,
        transport: Transport,
        worker: int,
        index: int,
        sizes: Sequence[int],
        dtype: str,
        wire: str,
        returned: str = "",
        *,
        compressor: Sender | None = None,
        now: Callable[[], float] = time.perf_counter,
    ):
        self._transport, self._worker, self._index = transport, worker, index
        self._wire, self._now = wire, now
        self._compressor = compressor
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        self.shards = topology.split(int(self.starts[-1]), transport.num_servers)
        # As pulled last, or as a push was answered; rounded in the latter case.
        self.params = np.empty(int(self.starts[-1]), dtype)
        self._gradient = np.empty(self.params.size, WIRE_TYPES[wire])
        self._into = self._parts_of(self.params)
        self._narrow: Vector | None = None  # where narrower parameters arrive
        if returned not in ("", dtype):
            self._narrow = np.empty(self.params.size, WIRE_TYPES[returned])
        # Whether ``params`` came in a narrower type, or are in part older.
        self._is_rounded = False
        self._is_as_sent = True  # whether they are what the servers have sent here
        self.clock = 0  # pushes and steps so far
        self.version = 0  # of the parameters, on server 0
        self.learning_rate = math.nan  # in force on the servers
        self._released_s = self._now()
        self._begun_s = self._released_s  # the step: released or pulled, the later one
        self._exchange_s = 0.0

    def _parts_of(self, vector: Vector) -> dict[int, Vector]:
        """Returns each server's part of a whole vector."""
        return {
            server: vector[shard.start : shard.stop]
            for server, shard in enumerate(self.shards)
        }

    @property
    def received(self) -> Vector:
        """The parameters in the type in which they came, [P]."""
        if self._narrow is None or not self._is_rounded:
            return self.params
        return self.params.astype(self._narrow.dtype)

    def open(self, spec: GroupSpec, values: Vector) -> None:
        """Brings first values to the servers; pulls those of whoever was first.

        Args:
            spec: What the group is; compared between workers.
            values: This worker's first values of the whole vector, [P].

        Raises:
            Refused: Another worker opened it with another spec.
        """
        self._call(
            {
                server: self._message(
                    Kind.OPEN,
                    payload=dataclasses.replace(spec, shard=server).pack(
                        values[shard.start : shard.stop]
                    ),
                )
                for server, shard in enumerate(self.shards)
            }
        )

    def pull(self) -> None:
        """Takes the newest parameters into ``params``."""
        self._call({server: self._message(Kind.PULL) for server in self._into})
        self._begun_s = self._now()

    def take(
        self, values: bytes | memoryview, version: int, learning_rate: float
    ) -> None:
        """Takes what another worker has pulled.

        Args:
            values: The bytes of what the other worker has as ``received``.
            version: Number of updates applied to the parameters.
            learning_rate: In force on the servers.
        """
        narrow = self._narrow
        self._is_rounded = narrow is not None and len(values) == narrow.nbytes
        sent = narrow if narrow is not None and self._is_rounded else self.params
        self.params[...] = np.frombuffer(values, sent.dtype)
        self.version, self.learning_rate = version, learning_rate
        self._is_as_sent = False
        self._begun_s = self._now()

    def load(
        self,
        values: Vector,
        user_state: Sequence[Any] | None = None,
        version: int = 0,
    ) -> None:
        """Makes the servers go on from other values.

        Values that are still as a push was answered, in a narrower type, stay as the
        servers have them: else each load would round them anew.

        Args:
            values: Parameters of the whole vector, [P].
            user_state: Each server's part of the state of the user's optimizer; None
                keeps what the servers have.
            version: Steps that the optimizer has made; of use with its state.
        """
        if self._is_rounded:
            answered = self.params.copy()
            self.pull()
            values = np.where(values == answered, self.params, values)
        messages = {}
        for server, shard in enumerate(self.shards):
            found: dict[str, Any] = {"params": values[shard.start : shard.stop]}
            if user_state is not None:
                found |= {"user_state": user_state[server], "version": version}
            data = serialization.dump(found)
            messages[server] = self._message(Kind.LOAD, payload=data)
        self._call(messages)

    def state(self) -> list[Any]:
        """Returns each server's state of its rule."""
        messages = {server: self._message(Kind.STATE) for server in self._into}
        answers = self._transport.call_all(messages, {})
        return [serialization.load(bytes(answers[s].payload)) for s in sorted(answers)]

    def push(
        self,
        gradients: Sequence[Dense | Rows],
        *,
        epoch: int = -1,
        number: int = -1,
        rate: float = math.nan,
        loss: float = math.nan,
    ) -> None:
        """Sends a gradient; returns with the parameters to go on from in ``params``.

        Args:
            gradients: One for each variable.
            epoch: Epoch of the batch.
            number: Of the batch in its epoch; -1 for none.
            rate: The learning rate where it has changed; NaN where not.
            loss: Of the batch; NaN where it is not known.

        Raises:
            NotFinite: The gradient was refused; ``params`` is as it was.
            ServerLost: A server is gone.
        """
        about = {"epoch": epoch, "number": number, "rate": rate, "loss": loss}
        about["version"] = self.version if self._is_as_sent else -1
        with self._exchange(Kind.PUSH, **about) as message:
            if self._compressor is None:
                self._call(self._pushes(gradients, message), self._narrow)
            else:
                self._push_compressed(self._compressor, gradients, message)

    def step(
        self,
        *,
        epoch: int = -1,
        number: int = -1,
        loss: float = math.nan,
        readings: bytes = b"",
    ) -> bool:
        """Tells of a step of this worker's own; nothing is pushed.

        Args:
            epoch: Epoch of the batch.
            number: Of the batch in its epoch; -1 for none.
            loss: Of the batch; NaN where it is not known.
            readings: What its monitor has read, where it has.

        Returns:
            Whether what the steps have come to is to be pushed now.

        Raises:
            ServerLost: A server is gone.
        """
        about = {"epoch": epoch, "number": number, "loss": loss, "payload": readings}
        with self._exchange(Kind.STEP, **about) as message:
            # Who waits is decided by one server.
            answer = self._transport.call_all({0: message}, {})[0]
        return bool(answer.number)

    def step_s(self) -> float:
        """Returns for how long this worker has been in its step.

        Unlike what a push tells, it is without the end of an epoch before the step.
        """
        return self._now() - self._begun_s

    @contextlib.contextmanager
    def _exchange(self, kind: Kind, **about: Any) -> Iterator[Message]:
        """Counts and times what a worker says after a step."""
        self.clock += 1
        started_s = self._now()
        times = {
            "compute_s": started_s - self._released_s,
            "exchange_s": self._exchange_s,
        }
        try:
            yield self._message(kind, **about, **times)
        finally:
            self._released_s = self._begun_s = self._now()
            self._exchange_s = self._released_s - started_s

    def _pushes(
        self, gradients: Sequence[Dense | Rows], message: Message
    ) -> dict[int, Message]:
        if any(isinstance(gradient, Rows) for gradient in gradients):
            packed = [pack_gradient(gradients, s, self._wire) for s in self.shards]
        else:
            whole = self._joined(gradients)
            # As bytes: not every type is known to those who send them.
            parts = [whole[s.start : s.stop] for s in self.shards]
            packed = [(0, part.view(np.uint8)) for part in parts]
        return {
            server: dataclasses.replace(message, parts=parts, payload=payload)
            for server, (parts, payload) in enumerate(packed)
        }

    def _push_compressed(
        self,
        compressor: Sender,
        gradients: Sequence[Dense | Rows],
        message: Message,
    ) -> None:
        """Sends a part to the one server; keeps the rest, once it has taken that."""
        if any(isinstance(gradient, Rows) for gradient in gradients):
            self._gradient[...] = 0
            for gradient in gradients:
                gradient.add_to(self._gradient)
            whole = self._gradient
        else:
            whole = self._joined(gradients)
        parts, sent = 0, None
        payload: Any = whole.view(np.uint8)
        if not compressor.sends_whole:
            sent = compressor.encode(whole)
            parts, payload = -compressor.count(sent), factory.packed(sent)
        if sent is not None and payload.nbytes >= whole.nbytes:
            # The same, and no more bytes than that takes.
            plain = np.zeros_like(whole)
            compressor.add(sent, plain)
            parts, payload = 0, plain.view(np.uint8)
        push = dataclasses.replace(message, parts=parts, payload=payload)
        self._call({0: push}, self._narrow)
        if sent is not None:
            compressor.commit(whole, sent)
        compressor.steps += 1

    def _joined(self, gradients: Sequence[Dense | Rows]) -> Vector:
        """Returns the gradients of all variables, in the type of the wire."""
        first = gradients[0].values
        if (first.size, first.dtype) == (self.params.size, self._gradient.dtype):
            return first  # whole as it is: it waits for the answer
        for gradient in gradients:
            stop = gradient.start + gradient.values.size
            self._gradient[gradient.start : stop] = gradient.values
        return self._gradient

    def _message(self, kind: Kind, **fields: Any) -> Message:
        return Message(kind, self._worker, self._index, self.clock, **fields)

    def _call(
        self, messages: Mapping[int, Message], narrow: Vector | None = None
    ) -> None:
        """Takes the parameters that answer messages; ``narrow`` is of their type."""
        into = self._into if narrow is None else self._parts_of(narrow)
        answers = self._transport.call_all(messages, into)
        for server, answer in answers.items():
            own = self._into[server]
            if answer.kind is Kind.PARAMS and answer.parts == ELEMENTS:
                found = elements.unpack(answer.payload, own.size, own.dtype)
                own[found.places] = found.values
            elif answer.kind is Kind.PARAMS and answer.payload is not own:
                own[...] = answer.payload
        if all(answer.kind is Kind.PARAMS for answer in answers.values()):
            in_part = any(answer.parts for answer in answers.values())
            self._is_rounded = narrow is not None or in_part
            self._is_as_sent = True
        for server, answer in answers.items():
            if answer.kind is Kind.REFUSED and answer.number >= 0:
                start = self.shards[server].start
                raise NotFinite(start + answer.number, answer.clock)
            if answer.kind is Kind.REFUSED:
                raise Refused(bytes(answer.payload).decode())
        self.version = answers[0].version
        self.learning_rate = answers[0].rate
