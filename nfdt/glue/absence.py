"""The absence of a worker, for whose pushes servers then do not wait."""

from __future__ import annotations

from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.transport import Transport


class Absence:
    """Tells all servers that this worker does something else than to train.

    Args:
        transport: The way to the servers.
        worker: Index of this worker, 0 .. M - 1.
    """

    def __init__(self, transport: Transport, worker: int):
        self._transport, self._worker = transport, worker

    def begin(self) -> None:
        """No worker waits for this one until it is back, or pushes."""
        self._tell(Kind.AWAY)

    def end(self) -> None:
        """Other workers wait for this one again."""
        self._tell(Kind.BACK)

    def _tell(self, kind: Kind) -> None:
        for server in range(self._transport.num_servers):
            self._transport.post(server, Message(kind, self._worker))
