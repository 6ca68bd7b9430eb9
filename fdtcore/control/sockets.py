"""The sockets of rank 0: connections of the ranks, and messages to and from the hub."""

from __future__ import annotations

import contextlib
import dataclasses
import hmac
import selectors
import socket
import time

from fdtcore.control import channel
from fdtcore.control.hub import Hub, Letter, Message
from fdtcore.control.process_identity import ProcessIdentity

_TICK_S = 0.25
_HELLO_TIMEOUT_S = 5.0
_HELLO_BYTES = 2048  # a stranger gets no more of our memory


@dataclasses.dataclass(eq=False)
class _Guest:
    connection: socket.socket
    hello_due_s: float
    buffer: channel.LineBuffer
    outbox: bytearray = dataclasses.field(default_factory=bytearray)
    rank: int | None = None  # None: has not shown the token
    unreachable: bool = False  # found out while something was sent


class Switchboard:
    """Serves all connections in one thread; nobody's slowness stops another.

    Args:
        hub: Decides what is sent to whom.
        listener: A listening socket, owned from now on.
        token: What a peer must say first. Whoever does not is dropped in silence.
        link_timeout_s: How long the machine of a peer may be silent.
    """

    def __init__(
        self, hub: Hub, listener: socket.socket, token: str, link_timeout_s: float
    ) -> None:
        self._hub = hub
        self._link_timeout_s = link_timeout_s
        self._listener = listener
        self._token = token
        self._guests: set[_Guest] = set()
        self._selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Runs until the hub has finished."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        try:
            while not self._hub.finished:
                for key, events in self._selector.select(_TICK_S):
                    self._attend(key.data, events)
                now_s = time.monotonic()
                self._deliver(self._hub.tick(now_s))
                for guest in [g for g in self._guests if _is_overdue(g, now_s)]:
                    self._drop(guest)
        finally:
            self.close()

    def dismiss(self) -> None:
        """Has the hub finish; any thread may call it."""
        self._hub.dismissed = True

    def close(self) -> None:
        """Closes every descriptor of this process."""
        for guest in self._guests:
            guest.connection.close()
        self._listener.close()
        self._selector.close()

    def _attend(self, guest: _Guest | None, events: int) -> None:
        if guest is None:
            self._accept()
            return
        if guest not in self._guests:
            return  # dropped while others were attended to
        try:
            if events & selectors.EVENT_WRITE:
                self._write(guest)
            if events & selectors.EVENT_READ:
                self._read(guest)
        except BlockingIOError:
            return
        except (OSError, ValueError) as error:
            guest.unreachable |= channel.is_unreachable(error)
            self._drop(guest)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # gone again, or out of descriptors
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            channel.keep_alive(connection, self._link_timeout_s)
            guest = _Guest(
                connection,
                time.monotonic() + _HELLO_TIMEOUT_S,
                channel.LineBuffer(_HELLO_BYTES),
            )
            self._guests.add(guest)
            self._selector.register(connection, selectors.EVENT_READ, guest)

    def _read(self, guest: _Guest) -> None:
        piece = guest.connection.recv(1 << 16)
        if not piece:
            raise ConnectionError("The peer has closed the connection.")
        for message in guest.buffer.feed(piece):
            if guest.rank is None:
                self._admit(guest, message)
            else:
                now_s = time.monotonic()
                self._deliver(self._hub.receive(guest.rank, message, now_s))

    def _admit(self, guest: _Guest, message: Message) -> None:
        token, rank = message.get("token"), message.get("rank")
        host, pid = message.get("host"), message.get("pid")
        started = message.get("started")
        known = hmac.compare_digest(str(token).encode(), self._token.encode())
        if not (
            known
            and isinstance(rank, int)
            and isinstance(host, str)
            and isinstance(pid, int)
            and isinstance(started, int)
        ):
            raise ValueError("A peer says hello with the job's token.")
        letters = self._hub.join(rank, ProcessIdentity(host[:200], pid, started))
        guest.rank = rank
        guest.buffer.limit_bytes = channel.MAX_LINE_BYTES
        self._deliver(letters)

    def _deliver(self, letters: list[Letter]) -> None:
        guests = {guest.rank: guest for guest in self._guests}
        for rank, message in letters:
            if rank in guests:
                guests[rank].outbox += channel.encode(message)
                try:
                    self._write(guests[rank])
                except OSError as error:
                    # Reading fails as well, but not with this error: the system
                    # tells it once.
                    guests[rank].unreachable |= channel.is_unreachable(error)

    def _write(self, guest: _Guest) -> None:
        events = selectors.EVENT_READ | selectors.EVENT_WRITE
        self._selector.modify(guest.connection, events, guest)
        sent = guest.connection.send(guest.outbox)
        del guest.outbox[:sent]
        if not guest.outbox:
            self._selector.modify(guest.connection, selectors.EVENT_READ, guest)

    def _drop(self, guest: _Guest) -> None:
        self._guests.discard(guest)
        self._selector.unregister(guest.connection)
        guest.connection.close()
        if guest.rank is not None:
            now_s = time.monotonic()
            letters = self._hub.lose(guest.rank, now_s, unreachable=guest.unreachable)
            self._deliver(letters)


def _is_overdue(guest: _Guest, now_s: float) -> bool:
    return guest.rank is None and now_s > guest.hello_due_s
