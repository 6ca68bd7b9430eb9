"""The communication of all workers, through server 0, which knows who is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nfdt.protocol import serialization
from nfdt.protocol.client import Refused
from nfdt.protocol.epoch_id import EpochId
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.transport import Transport


class WorkerCommunicator:
    """Operations among the workers that are left; see ``fdtcore.glue.collectives``.

    Args:
        transport: The way to the servers.
        worker: Index of this worker, 0 .. M - 1.
        epoch: Returns the epoch whose end a meeting belongs to, or -1.
        succeed: Called when this worker becomes the first one that is left.
    """

    def __init__(
        self,
        transport: Transport,
        worker: int,
        epoch: Callable[[], int],
        succeed: Callable[[], None] = lambda: None,
    ):
        self._transport, self._worker, self._epoch = transport, worker, epoch
        self._succeed = succeed
        self._counts: dict[str, int] = {}  # meetings of each name so far
        # The first worker that was left at the last meeting: the same on all workers.
        self.chief = 0

    def allgather_bytes(
        self, data: bytes, name: str, *, even: bool = False
    ) -> list[bytes]:
        """Returns the bytes of every worker that has come, by worker."""
        del even  # a message tells its own size
        return list(self._gathered(data, name).values())

    def _gathered(self, data: bytes, name: str) -> dict[int, bytes]:
        epoch = self._epoch()
        if epoch < 0:
            self._counts[name] = self._counts.get(name, 0) + 1
            name = f"{name} #{self._counts[name]}"
        else:
            name = f"{name} of {EpochId.unpack(epoch)}"
        payload = serialization.pack({"name": name}, np.frombuffer(data, np.uint8))
        message = Message(Kind.MEET, self._worker, epoch=epoch, payload=payload)
        answer = self._transport.call_all({0: message}, {})[0]
        if answer.kind is Kind.REFUSED:
            raise Refused(bytes(answer.payload).decode())
        about, items = serialization.unpack(answer.payload)
        found = serialization.unpack_list(items)
        self._follow(min(about["present"], default=self.chief))
        return dict(zip(about["workers"], found, strict=True))

    def _follow(self, chief: int) -> None:
        before, self.chief = self.chief, chief
        if before != chief == self._worker:
            self._succeed()

    def broadcast_bytes(self, data: bytes, name: str, *, even: bool = False) -> bytes:
        """Returns the bytes of the first worker that is left."""
        del even  # a message tells its own size
        return self.broadcast_made(lambda: data, name)

    def broadcast_made(self, make: Callable[[], bytes], name: str) -> bytes:
        """Returns what the first worker that is left makes; no other one does."""
        while True:
            chief = self.chief
            found = self._gathered(make() if self._worker == chief else b"", name)
            if chief in found:
                return found[chief]
            # It was lost before it came, and the next one speaks.

    def sum(self, tensors: Sequence[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Sums each tensor over the workers; eager only."""
        own = [np.asarray(tensor) for tensor in tensors]
        lists = self.gather(own, name)
        return [
            tf.constant(sum(values[1:], values[0]), own[i].dtype)
            for i, values in enumerate(zip(*lists, strict=True))
        ]

    def gather(self, value: Any, name: str) -> list[Any]:
        """Returns what every worker has brought: numbers, arrays, lists of them."""
        brought = self.allgather_bytes(serialization.dump(value), name)
        return [serialization.load(data) for data in brought]
