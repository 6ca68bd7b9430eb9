"""Messages as JSON lines over a socket, bounded in length. Nothing is unpickled."""

from __future__ import annotations

import contextlib
import errno
import json
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

MAX_LINE_BYTES = 1 << 20
_SEND_TIMEOUT_S = 2.0
_LONGEST_MS = (1 << 31) - 1
_UNREACHABLE = (
    errno.ETIMEDOUT,
    errno.EHOSTUNREACH,
    errno.EHOSTDOWN,
    errno.ENETUNREACH,
    errno.ENETDOWN,
)


def encode(message: dict[str, Any]) -> bytes:
    """Writes a message as one line."""
    return json.dumps(message).encode("ascii") + b"\n"


class LineBuffer:
    """Puts lines together from the pieces in which a socket delivers them.

    Args:
        limit_bytes: Longest line taken; may be raised between two messages.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._pending = b""

    def feed(self, piece: bytes) -> Iterator[dict[str, Any]]:
        """Takes a piece; to be exhausted before the next.

        Args:
            piece: What has arrived.

        Yields:
            The messages it completes.

        Raises:
            ValueError: A line is too long or not a JSON object.
        """
        *lines, pending = (self._pending + piece).split(b"\n")
        for line in lines:
            self._check(line)
            yield _decode(line)
        self._check(pending)
        self._pending = pending

    def _check(self, line: bytes) -> None:
        if len(line) > self.limit_bytes:
            raise ValueError(f"A line has at most {self.limit_bytes} bytes.")


class Channel:
    """The end of the line at one rank; any of its threads may send.

    Args:
        connection: A connected socket, owned from now on.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(_SEND_TIMEOUT_S)
        self._connection = connection
        self._buffer = LineBuffer(MAX_LINE_BYTES)
        self._sending = threading.Lock()
        self._lost_by: OSError | None = None  # what sending has failed with
        self._poll = select.poll()  # select() refuses descriptors above 1023
        self._poll.register(connection, select.POLLIN)

    def send(self, message: dict[str, Any]) -> bool:
        """Sends a message.

        Returns:
            False where the peer is gone; the reader then learns it as well.
        """
        try:
            with self._sending:
                self._connection.sendall(encode(message))
        except OSError as error:
            # The system tells an error once: whoever reads sees the end alone.
            self._lost_by = self._lost_by or error
            # Half a line may be out: nothing sensible can follow it.
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
            return False
        return True

    def receive(self, timeout_s: float) -> list[dict[str, Any]]:
        """Waits for messages.

        Args:
            timeout_s: How long at most.

        Returns:
            What has arrived, possibly nothing.

        Raises:
            OSError: The connection has ended.
            ValueError: The peer sent something else than messages.
        """
        if not self._poll.poll(timeout_s * 1000):
            return []
        piece = self._connection.recv(1 << 16)
        if not piece:
            raise self._lost_by or ConnectionError("The peer has closed it.")
        return list(self._buffer.feed(piece))

    def close(self) -> None:
        """Closes this process's end; in a forked child, the parent's stays open."""
        self._connection.close()


def keep_alive(connection: socket.socket, link_timeout_s: float) -> None:
    """Lets the kernel notice in time that the peer's host cannot be reached.

    The kernel of a process that is stopped, or inside C code, still answers: what is
    noticed so is the host or the network, and never the process.

    Args:
        connection: A connected socket.
        link_timeout_s: How long the host may be silent.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    every_s = max(1, int(link_timeout_s / 5))
    for name, value in (
        ("TCP_KEEPIDLE", every_s),
        ("TCP_KEEPINTVL", every_s),
        ("TCP_KEEPCNT", 4),
        # While something is on its way, keep-alives rest, and this limit holds.
        ("TCP_USER_TIMEOUT", min(int(link_timeout_s * 1000), _LONGEST_MS)),
    ):
        if hasattr(socket, name):  # not on every system
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def is_unreachable(error: BaseException | None) -> bool:
    """Whether an error of a socket is due to the peer's host, and not its process."""
    return isinstance(error, OSError) and error.errno in _UNREACHABLE


def _decode(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except RecursionError as error:
        raise ValueError("A message is a flat JSON object.") from error
    if not isinstance(message, dict):
        raise ValueError(f"A message is a JSON object. Received: {line!r:.80}.")
    return message
