"""The transport over MPI: a worker's side and a server's side.

Each worker has three lines from a server, which threads of its own read: answers to
what it asked, batches for its input, and the end of the job.

Where a server reads gradients into: vectors that are used again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from fdtcore.control.control_line import ControlLine
from nfdt.cluster.mpi import PeerLost, Peers, PollingBackoff, Tag
from nfdt.protocol.gradients import WIRE_TYPES
from nfdt.protocol.messages import HEADER_BYTES, Kind, Message, as_bytes, read_header
from nfdt.protocol.server import Service
from nfdt.protocol.step_times import StopWatch
from nfdt.protocol.transport import JobEnded, ServerLost
from nfdt.rules.blocks import empty_like

# A worker that has ended may wait for the others for hours.
_LONG_S = 0.02


class MpiTransport:
    """A worker's way to its servers; see :class:`nfdt.protocol.transport.Transport`.

    Args:
        peers: This process's end of the job.
        line: Where this worker says what it waits for, and what it has done.
    """

    def __init__(self, peers: Peers, line: ControlLine | None = None):
        self._peers, self._line = peers, line
        self.watch = StopWatch(time.perf_counter)  # for what exchanges gradients
        self._header_s = 0.0  # waited for headers of answers, in this exchange
        self.num_servers = peers.roles.num_servers
        # Why there is nobody to train with any more: what raises it may be a thread
        # of TensorFlow's, which makes an error of its own out of it.
        self.ended_by: ServerLost | JobEnded | None = None

    def post(self, server: int, message: Message) -> None:
        """Sends a message that is not answered.

        Raises:
            ServerLost: The server is gone.
        """
        rank = self._peers.roles.server_rank(server)
        try:
            self._peers.send(rank, message, Tag.HEADER, Tag.PAYLOAD)
        except PeerLost as error:
            raise self._lost(error) from error

    def call_all(
        self, messages: Mapping[int, Message], into: Mapping[int, Any]
    ) -> dict[int, Message]:
        """Sends one message to each server and returns their answers.

        Raises:
            ServerLost: A server is gone.
            JobEnded: A server has ended the job.
        """
        first = next(iter(messages.values()))
        tag = Tag.LEASE if first.kind is Kind.LEASE else Tag.ANSWER
        with self._waiting(first), self._timed(first):
            for server, message in messages.items():
                self.post(server, message)
            return {
                server: self._answer(server, tag, into.get(server))
                for server in messages
            }

    @contextlib.contextmanager
    def _waiting(self, message: Message) -> Iterator[None]:
        """Says on the line what this worker waits for."""
        # The input asks for batches in a thread of its own, while the worker computes.
        if self._line is None or message.kind is Kind.LEASE:
            yield
            return
        about = f" {message.clock}" if message.kind in (Kind.PUSH, Kind.STEP) else ""
        self._line.enter(f"its {message.kind.name.lower()}{about}")
        try:
            yield
        finally:
            self._line.leave()

    @contextlib.contextmanager
    def _timed(self, message: Message) -> Iterator[None]:
        """Takes the time of a push: until the answer begins, and the rest."""
        if message.kind is not Kind.PUSH:
            yield
            return
        begun_s, self._header_s = time.perf_counter(), 0.0
        yield
        whole_s = time.perf_counter() - begun_s
        self.watch.exchanged(self._header_s, whole_s - self._header_s)

    def wait_for_others(self) -> None:
        """Returns when all workers have ended, however long that takes.

        Raises:
            ServerLost: The first server is gone.
            JobEnded: The first server has ended the job.
        """
        self._answer(0, Tag.END, None, PollingBackoff(longest_s=_LONG_S))

    def _answer(
        self, server: int, tag: Tag, into: Any, patience: PollingBackoff | None = None
    ) -> Message:
        rank = self._peers.roles.server_rank(server)
        data = bytearray(HEADER_BYTES)
        begun_s = time.perf_counter()
        try:
            self._peers.receive(rank, data, tag, patience)
            if tag is Tag.ANSWER:
                self._header_s += time.perf_counter() - begun_s
            message, payload_bytes = read_header(bytes(data))
            if not payload_bytes:
                return message
            is_whole = message.kind is Kind.PARAMS and not message.parts
            fits = is_whole and into is not None
            payload: Any = into if fits else np.empty(payload_bytes, np.uint8)
            self._peers.receive(rank, as_bytes(payload), Tag.ANSWER_PAYLOAD)
        except PeerLost as error:
            raise self._lost(error) from error
        if message.kind is Kind.ENDED:
            self.ended_by = JobEnded(bytes(payload).decode(), message.number)
            raise self.ended_by
        return dataclasses.replace(message, payload=payload)

    def _lost(self, error: PeerLost) -> ServerLost:
        found = server_lost(self._peers, error.rank)
        self.ended_by = self.ended_by or found
        return found


def server_lost(peers: Peers, rank: int) -> ServerLost:
    """Returns what is raised where a server is gone, with the sentence of its loss."""
    text = (
        f"{peers.roles.name(rank)} (rank {rank}) is gone. Nothing can be trained "
        "without it; all workers end."
    )
    return ServerLost(text, rank=rank)


class MpiServer:
    """A server's way to its workers.

    Args:
        peers: This process's end of the job.
        buffer: From a message without its payload, and the payload's bytes, to the
            array that it is read into.
    """

    def __init__(self, peers: Peers, buffer: Callable[[Message, int], Any]):
        self._peers = peers
        self._buffer = buffer

    def receive(self) -> Message | None:
        """Returns the next message, or None where there is none now."""
        found = self._peers.next_header()
        if found is None:
            return None
        rank, data = found
        message, payload_bytes = read_header(data)
        if not payload_bytes:
            return message
        payload = self._buffer(message, payload_bytes)
        try:
            self._peers.receive_now(rank, as_bytes(payload), Tag.PAYLOAD)
        except PeerLost:
            return None  # killed between the two
        return dataclasses.replace(message, payload=payload)

    def send(self, message: Message) -> None:
        """Sends an answer to the worker it is for."""
        tag = Tag.LEASE if message.kind is Kind.LEASE else Tag.ANSWER
        self._send(message, tag)

    def end(self, worker: int, why: str = "", code: int = 1) -> None:
        """Tells a worker that the job is over.

        Args:
            worker: The worker.
            why: The reason, which reaches it wherever it waits; empty where all is
                well, which only a worker that has ended waits for.
            code: Exit code of the job, where there is a reason.
        """
        message = Message(Kind.ENDED, worker, number=code, payload=why.encode())
        for tag in (Tag.ANSWER, Tag.LEASE, Tag.END) if why else (Tag.END,):
            self._send(message, tag)

    def _send(self, message: Message, tag: Tag) -> None:
        with contextlib.suppress(PeerLost):  # it will be noticed
            self._peers.send(message.worker, message, tag, Tag.ANSWER_PAYLOAD)


class Pushes:
    """Reads and decodes what workers send to one server.

    Args:
        service: The server, which knows its groups.
    """

    def __init__(self, service: Service):
        self._service = service
        self._bytes: dict[int, Any] = {}  # size -> buffer for what is decoded at once
        self._vectors: dict[int, list[Any]] = {}  # group -> vectors that nobody holds

    def buffer(self, message: Message, payload_bytes: int) -> Any:
        """Returns the array that the payload of a message is to be read into.

        Args:
            message: The message without its payload.
            payload_bytes: Size of the payload in bytes.
        """
        if message.kind is not Kind.PUSH:
            return np.empty(payload_bytes, np.uint8)
        if self._is_plain(message):
            return self._vector(message.group)
        if payload_bytes not in self._bytes:
            self._bytes[payload_bytes] = np.empty(payload_bytes, np.uint8)
        return self._bytes[payload_bytes]

    def decoded(self, message: Message) -> Message:
        """Returns a push with its gradient as a vector, in the parameters' type."""
        if self._is_plain(message):
            return message
        vector = self._vector(message.group)
        self._service.specs[message.group].read(message, vector)
        return dataclasses.replace(message, payload=vector)

    def give_back(self, message: Message) -> None:
        """Uses the vector of a push again, unless the gradient waits to be applied."""
        if not self._service.groups[message.group].holds(message.worker):
            self._vectors[message.group].append(message.payload)

    def _is_plain(self, message: Message) -> bool:
        """Whether a push is just the vector, in the type of the parameters."""
        wire = self._service.specs[message.group].wire
        params = self._service.groups[message.group].params
        return not message.parts and bool(WIRE_TYPES[wire] == params.dtype)

    def _vector(self, group: int) -> Any:
        free = self._vectors.setdefault(group, [])
        return free.pop() if free else empty_like(self._service.groups[group].params)
