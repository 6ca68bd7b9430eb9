"""The rendezvous of all workers: what each brings goes to all."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np

from nfdt.protocol import serialization
from nfdt.protocol.messages import Kind, Message


class _Meeting(NamedTuple):
    epoch: int  # whose end it is; -1 for none
    brought: dict[int, bytes]  # worker -> what it brings


class Meetings:
    """The meetings that some workers wait in, by name."""

    def __init__(self) -> None:
        self._open: dict[str, _Meeting] = {}

    def bring(self, message: Message) -> None:
        """Notes that a worker has come, and what it brings."""
        description, data = serialization.unpack(message.payload)
        name = description["name"]
        meeting = self._open.setdefault(name, _Meeting(message.epoch, {}))
        meeting.brought[message.worker] = bytes(data)

    def is_in(self, worker: int) -> bool:
        """Whether a worker waits in a meeting."""
        return any(worker in meeting.brought for meeting in self._open.values())

    def wait_of(self, worker: int) -> tuple[str, frozenset[int]] | None:
        """Returns the meeting that a worker waits in, and who has come; None: none."""
        for name, meeting in self._open.items():
            if worker in meeting.brought:
                return name, frozenset(meeting.brought)
        return None

    def close(
        self, present: Collection[int], is_over: Callable[[int], bool]
    ) -> list[Message]:
        """Returns the answers of the meetings that nobody is missing from.

        Args:
            present: The workers that are left.
            is_over: Whether the fit of an epoch has ended early: nobody is awaited.
        """
        answers = []
        for name, meeting in list(self._open.items()):
            if set(present) <= meeting.brought.keys() or is_over(meeting.epoch):
                del self._open[name]
                answers += _answers(meeting, present)
        return answers + self._refuse_deadlock(present)

    def _refuse_deadlock(self, present: Collection[int]) -> list[Message]:
        """Ends the waiting where everybody waits, each for another meeting."""
        where = {w: n for n, meeting in self._open.items() for w in meeting.brought}
        if len(self._open) < 2 or not set(present) <= where.keys():
            return []
        calls = ", ".join(f"{name} on worker {w}" for w, name in sorted(where.items()))
        text = f"all workers must make the same calls. Received: {calls}."
        self._open.clear()
        return [
            Message(Kind.REFUSED, worker, payload=text.encode())
            for worker in sorted(where)
            if worker in present
        ]


def _answers(meeting: _Meeting, present: Collection[int]) -> list[Message]:
    workers = sorted(meeting.brought)
    data = serialization.pack_list([meeting.brought[worker] for worker in workers])
    about = {"workers": workers, "present": sorted(present)}
    payload = serialization.pack(about, np.frombuffer(data, np.uint8))
    return [
        Message(Kind.BYTES, worker, payload=payload)
        for worker in workers
        if worker in present
    ]
