"""The messages between workers and servers, as a log shows them, on either side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from fdtcore.message_log import MessageLog
from nfdt.protocol import serialization
from nfdt.protocol.messages import Kind, Message, as_bytes
from nfdt.protocol.transport import Transport

_COUNTED = (Kind.PUSH, Kind.STEP)
_OF_A_BATCH = (Kind.PUSH, Kind.STEP, Kind.LEASE, Kind.DONE)


def described(message: Message, answer: Message | None = None) -> list[str]:
    """Returns what a line says of a message: its kind, and the numbers in it.

    Args:
        message: From a worker or from a server.
        answer: What a server has answered, where the line reports both.
    """
    one = answer or message
    asks = message.kind is Kind.LEASE
    number = (one if asks else message).number
    has_batch = message.kind in _OF_A_BATCH and number >= 0
    return [
        message.kind.name.lower(),
        _name(message) if message.kind is Kind.MEET else "",
        f"clock={message.clock}" if message.kind in _COUNTED else "",
        f"batch={number}" if has_batch else "",
        f"v={one.version}" if one.kind is Kind.PARAMS else "",
        "refused" if one.kind is Kind.REFUSED else "",
    ]


def _name(message: Message) -> str:
    return str(serialization.unpack(message.payload)[0]["name"])


def num_bytes(message: Message) -> int:
    """Returns the size of a message's payload, bytes."""
    return as_bytes(message.payload).nbytes


class LoggedTransport:
    """A worker's transport that logs a line for each message, with its answer.

    The time is that from the message to its answer; the size is that of the message,
    or of the answer to one that has no payload.

    Args:
        inner: Transport to forward to.
        log: Where the lines go.
        now_s: A clock, in seconds.
    """

    def __init__(
        self,
        inner: Transport,
        log: MessageLog,
        now_s: Callable[[], float] = time.perf_counter,
    ):
        self.inner, self.num_servers = inner, inner.num_servers
        self._log, self._now_s = log, now_s

    def post(self, server: int, message: Message) -> None:
        """Sends a message that is not answered."""
        way = to_server(message, server)
        self._log.note(way, *described(message), num_bytes=num_bytes(message))
        self.inner.post(server, message)

    def call_all(
        self, messages: Mapping[int, Message], into: Mapping[int, Any]
    ) -> dict[int, Message]:
        """Sends one message to each server and returns their answers."""
        begun_s = self._now_s()
        answers: dict[int, Message] = {}
        try:
            answers = self.inner.call_all(messages, into)
        finally:
            took_s = self._now_s() - begun_s
            for server, message in messages.items():
                answer = answers.get(server)
                self._log.note(
                    to_server(message, server),
                    *described(message, answer),
                    "" if answer else "no answer",
                    num_bytes=num_bytes(message)
                    or (num_bytes(answer) if answer else 0),
                    took_s=took_s,
                )
        return answers


class ServerEndpoint(Protocol):
    """A server's way to its workers."""

    def receive(self) -> Message | None:
        """Returns the next message, or None where there is none now."""

    def send(self, message: Message) -> None:
        """Sends an answer to the worker it is for."""

    def end(self, worker: int, why: str = "", code: int = 1) -> None:
        """Tells a worker that the job is over."""


class LoggedEndpoint:
    """A server's endpoint that logs each message as it comes, and each answer.

    The time of an answer is that since the worker's message came: how long it was held.

    Args:
        inner: Endpoint to forward to.
        server: Index of the server.
        log: Where the lines go.
        now_s: A clock, in seconds.
    """

    def __init__(
        self,
        inner: ServerEndpoint,
        server: int,
        log: MessageLog,
        now_s: Callable[[], float] = time.perf_counter,
    ):
        self._inner, self._server, self._log, self._now_s = inner, server, log, now_s
        # (worker, whether it asked for a batch) -> when; its input asks beside it.
        self._came_s: dict[tuple[int, bool], float] = {}

    def receive(self) -> Message | None:
        """Returns the next message, or None where there is none now."""
        message = self._inner.receive()
        if message is not None:
            self._came_s[_line(message)] = self._now_s()
            way = to_server(message, self._server)
            self._log.note(way, *described(message), num_bytes=num_bytes(message))
        return message

    def send(self, message: Message) -> None:
        """Sends an answer to the worker it is for."""
        took_s = self._now_s() - self._came_s.get(_line(message), float("nan"))
        size = num_bytes(message)
        way = to_worker(message, self._server)
        self._log.note(way, *described(message), num_bytes=size, took_s=took_s)
        self._inner.send(message)

    def end(self, worker: int, why: str = "", code: int = 1) -> None:
        """Tells a worker that the job is over."""
        message = Message(Kind.ENDED, worker)
        self._log.note(to_worker(message, self._server), *described(message), why)
        self._inner.end(worker, why, code)


def _line(message: Message) -> tuple[int, bool]:
    return message.worker, message.kind is Kind.LEASE


def to_server(message: Message, server: int) -> str:
    """Returns between whom a worker's message goes."""
    return f"w{message.worker} -> s{server}"


def to_worker(message: Message, server: int) -> str:
    """Returns between whom an answer goes."""
    return f"s{server} -> w{message.worker}"
