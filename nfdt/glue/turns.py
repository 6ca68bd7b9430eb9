"""One call to the servers at a time, where two threads of a worker make some."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.transport import Transport


class InTurn:
    """A transport whose answers are not mixed up; see :class:`Transport`.

    A push waits in a thread of its own where computing overlaps it. Leases are asked
    for in another one at any time, and have a channel of their own.

    Args:
        inner: The transport.
    """

    def __init__(self, inner: Transport):
        self.inner, self.num_servers = inner, inner.num_servers
        self._lock = threading.Lock()

    def post(self, server: int, message: Message) -> None:
        """Sends a message that is not answered."""
        self.inner.post(server, message)

    def call_all(
        self, messages: Mapping[int, Message], into: Mapping[int, Any]
    ) -> dict[int, Message]:
        """Sends one message to each server and returns their answers."""
        if all(message.kind is Kind.LEASE for message in messages.values()):
            return self.inner.call_all(messages, into)
        with self._lock:
            return self.inner.call_all(messages, into)
