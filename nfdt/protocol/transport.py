"""A worker's transport to its servers, and the one within a process.

Where threads of an input wait for batches, in one process with the servers.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.server import Service
from nfdt.rules.blocks import empty_like
from nfdt.rules.corrections import Vector

# What a thread still does in Python when it has its answer takes no longer.
LEAVE_S = 0.2


class LeaseWait:
    """Lets threads wait for batches until there are some, or nobody wants them.

    At the end of Python TensorFlow waits for every thread of its inputs, and one that
    has to come back to Python then never does: such a process would not end.
    """

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.is_closed = False
        self._count = 0  # threads that wait

    def wait(self, is_answered: Callable[[], bool]) -> None:
        """Returns when there is an answer, or when all is over; needs the lock."""
        self._count += 1
        while not self.is_closed and not is_answered():
            self.lock.wait()
        self._count -= 1

    def close(self) -> bool:
        """Ends all waiting.

        Returns:
            Whether there was any: then Python must not end within ``LEAVE_S``.
        """
        with self.lock:
            self.is_closed = True
            self.lock.notify_all()
            return self._count > 0


class ServerLost(RuntimeError):
    """A server has died; there is nobody to train with.

    Args:
        text: Sentence that names the server.
        rank: Rank of the process that has died.
    """

    def __init__(self, text: str, rank: int = 0):
        super().__init__(text)
        self.rank = rank


class JobEnded(RuntimeError):
    """A server has ended the job, and says why.

    Args:
        text: Reason that the user is told.
        code: Exit code of the job.
    """

    def __init__(self, text: str, code: int = 1):
        super().__init__(text)
        self.code = code


class Transport(Protocol):
    """A worker's way to its servers."""

    num_servers: int

    def post(self, server: int, message: Message) -> None:
        """Sends a message that is not answered."""

    def call_all(
        self, messages: Mapping[int, Message], into: Mapping[int, Any]
    ) -> dict[int, Message]:
        """Sends one message to each server and returns their answers.

        Args:
            messages: Index of a server -> the message for it.
            into: Server -> the array that the payload of a PARAMS answer goes into,
                of the type in which it is sent.

        Raises:
            ServerLost: A server is gone.
        """


class LocalTransport:
    """One worker's way to servers in its own process: tests, and one process alone.

    Several transports on the same services are several workers; what one's message
    releases for another waits in ``inbox``.

    Args:
        services: State machine of each server process, by server index.
        now: Function that returns the time in seconds.
        inbox: Answers that were not asked for yet, shared by all workers.
        waits: Whether a batch that is not free yet is waited for: another thread
            trains.
        pushed: Called with the server after each push.
    """

    def __init__(
        self,
        services: Sequence[Service],
        now: Callable[[], float],
        inbox: list[tuple[int, Message]] | None = None,
        waits: bool = False,
        pushed: Callable[[int], object] = lambda server: None,
    ):
        self.services, self._now = services, now
        self.num_servers = len(services)
        self.inbox = [] if inbox is None else inbox  # (server, answer)
        self._asking = LeaseWait()
        self._lock = self._asking.lock
        self._waits, self._pushed = waits, pushed

    def close(self) -> bool:
        """Ends what still asks for batches; see :meth:`LeaseWait.close`."""
        return self._asking.close()

    def post(self, server: int, message: Message) -> None:
        """Sends a message that is not answered."""
        service = self.services[server]
        if message.kind is Kind.PUSH:
            message = _received(service, message)
        with self._lock:
            answers = service.handle(message, self._now())
            self.inbox += [(server, answer) for answer in answers]
            self._lock.notify_all()
        if message.kind is Kind.PUSH:
            self._pushed(server)

    def call_all(
        self, messages: Mapping[int, Message], into: Mapping[int, Any]
    ) -> dict[int, Message]:
        """Sends one message to each server and returns their answers.

        Raises:
            RuntimeError: The controller holds this worker until another one pushes.
        """
        for server, message in messages.items():
            self.post(server, message)
        return {
            server: self.take(server, message, into.get(server))
            for server, message in messages.items()
        }

    def take(
        self, server: int, message: Message, into: Vector | None = None
    ) -> Message:
        """Returns the answer to a message that was sent before.

        Raises:
            RuntimeError: The answer has not arrived yet.
        """
        with self._lock:
            is_awaited = self._waits and message.kind is Kind.LEASE
            find = self._awaited if is_awaited else self._found
            answer = find(server, message)
        if answer is not None and answer.kind is Kind.PARAMS and not answer.parts:
            into = np.empty_like(answer.payload) if into is None else into
            np.copyto(into, answer.payload)
            return dataclasses.replace(answer, payload=into)
        if answer is not None:
            return answer
        raise RuntimeError(
            "a worker alone in its process cannot wait for others. Received: "
            f"no answer to {message.kind.name} of worker {message.worker}."
        )

    def _awaited(self, server: int, message: Message) -> Message:
        """Returns the answer when there is one; none is left when all is over."""
        found: list[Message | None] = []

        def is_answered() -> bool:
            found.append(self._found(server, message))
            return found[-1] is not None

        self._asking.wait(is_answered)
        answer = found[-1] if found else None
        return answer or dataclasses.replace(message, number=-1, parts=1)

    def _found(self, server: int, message: Message) -> Message | None:
        """Takes the oldest answer to such a message out of the inbox."""
        is_lease = message.kind is Kind.LEASE
        for index, (source, answer) in enumerate(self.inbox):
            mine = source == server and answer.worker == message.worker
            if mine and (answer.kind is Kind.LEASE) == is_lease:
                del self.inbox[index]
                return answer
        return None


def _received(service: Service, message: Message) -> Message:
    """Copies a gradient, as a network would: its sender goes on to write the next."""
    vector = empty_like(service.groups[message.group].params)
    service.specs[message.group].read(message, vector)
    return dataclasses.replace(message, parts=min(message.parts, 0), payload=vector)
