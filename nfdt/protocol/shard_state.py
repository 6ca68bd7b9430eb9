"""Who takes part in the training of one shard, and how far each has come.

A gradient that the server has received and not used yet.

What each worker pulled last: what its next gradient is computed at.

Gradients that are not finite, which a server refuses.

Whether a vector can be trained on: the check before it touches the parameters.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nfdt.protocol.controllers import Ledger
from nfdt.protocol.messages import Kind, Message
from nfdt.rules.corrections import Correction, Push, Vector
from nfdt.rules.updates import Late


def is_finite(vector: Vector) -> bool:
    """Whether no element is NaN or infinite; at the speed of a sum."""
    # The sum of finite numbers may overflow: then each is looked at.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(vector.sum())) or bool(np.isfinite(vector).all())


def first_wrong(vector: Vector) -> int:
    """Returns the index of the first element that is not finite; there is one."""
    return int(np.flatnonzero(~np.isfinite(vector))[0])


class Copy(NamedTuple):
    """Parameters as they were sent to a worker."""

    params: Vector | None  # [P]; None for a worker that has never pulled
    version: int  # updates applied to them


class Copies:
    """The parameters that were sent, worker by worker.

    Copied: what is sent must not change while it is on its way, and it is what a
    gradient is corrected by when it comes.
    """

    def __init__(self) -> None:
        self._found: dict[int, Copy] = {}

    def of(self, worker: int, version: int) -> Copy:
        """Returns what a worker pulled last; ``version`` for one that never did."""
        return self._found.get(worker, Copy(None, version))

    def make(
        self, worker: int, params: Vector, version: int, *, keeps_last: bool
    ) -> Vector:
        """Copies the parameters for a worker.

        Args:
            worker: The worker.
            params: [P].
            version: Updates applied to them.
            keeps_last: Whether the copy before must stay as it is.
        """
        last = self.of(worker, version).params
        place = np.empty_like(params) if last is None or keeps_last else last
        np.copyto(place, params)
        self._found[worker] = Copy(place, version)
        return place

    def renumber(self, version: int) -> None:
        """Counts all that were sent as of a version: updates are counted anew."""
        for worker, copy in self._found.items():
            self._found[worker] = copy._replace(version=version)


class Attendance:
    """The workers that a controller may wait for, and what it knows of them.

    Args:
        num_workers: M; all take part until they are excused.
    """

    def __init__(self, num_workers: int):
        self.clocks = dict.fromkeys(range(num_workers), 0)  # active worker -> pushes
        self.waiting: dict[int, float] = {}  # worker without parameters -> since when
        self.steps: dict[int, int] = {}  # worker -> own ones since its last update
        self.speeds: dict[int, float] = {}  # worker -> steps/s, as its monitor says

    def excuse(self, worker: int) -> None:
        """Lets nobody wait for a worker until it is back."""
        self.clocks.pop(worker, None)

    def rejoin(self, worker: int, clock: int = 0) -> None:
        """Counts an excused worker again: abreast of the slowest, if any."""
        if worker not in self.clocks:
            self.clocks[worker] = min(self.clocks.values(), default=clock)

    def leave(self, worker: int) -> None:
        """Forgets a worker that has gone for ever."""
        self.excuse(worker)
        self.steps.pop(worker, None)
        self.speeds.pop(worker, None)

    def count_push(self, worker: int, clock: int) -> int:
        """Counts a push; returns the worker's lead over the slowest, in pushes."""
        if worker in self.clocks:
            self.clocks[worker] += 1
        else:  # with this push it is abreast of the slowest
            self.rejoin(worker, clock)
        return self.clocks[worker] - min(self.clocks.values())

    def count_step(self, worker: int) -> int:
        """Counts a step of a worker's own; returns its lead over the slowest."""
        self.rejoin(worker)
        own = self.steps[worker] = self.steps.get(worker, 0) + 1
        return own - min(self.steps.get(other, 0) for other in self.clocks)

    def ledger(
        self, held: tuple[int, ...], late: frozenset[int], asking: tuple[int, ...]
    ) -> Ledger:
        """Returns what the controller sees now."""
        waiting = tuple(self.waiting)
        return Ledger(self.clocks, held, waiting, late, asking, self.steps, self.speeds)


class Held(NamedTuple):
    """A push whose gradient is not used yet."""

    message: Message
    lead: int  # of its worker, when it arrived
    pulled: Copy  # what it was computed at

    def staleness(self, version: int) -> int:
        """Returns how many updates it is behind parameters of a version."""
        return version - self.pulled.version

    def late(
        self, params: Vector, version: int, learning_rate: float, rule: Correction
    ) -> Late:
        """Returns it as a rule takes it.

        Args:
            params: The parameters now, [P].
            version: Theirs.
            learning_rate: In force now.
            rule: What corrects it.
        """
        push = Push(self.message.worker, self.staleness(version), learning_rate)
        if not rule.needs_pulled:
            return Late(push, self.message.payload, None)
        # A worker that has never pulled began with the first values.
        pulled = params if self.pulled.params is None else self.pulled.params
        return Late(push, self.message.payload, pulled)


class Refusals:
    """Refuses gradients with NaN or infinity, and counts them."""

    def __init__(self) -> None:
        self.in_a_row = 0  # of all workers, since the last that was finite

    def find(self, message: Message, version: int) -> list[Message]:
        """Returns the answer to a push that is refused; none for one that is not.

        Args:
            message: The push.
            version: Of the parameters now.
        """
        if is_finite(message.payload):
            self.in_a_row = 0
            return []
        self.in_a_row += 1
        return [
            Message(
                Kind.REFUSED,
                message.worker,
                version=version,
                number=first_wrong(message.payload),
                clock=self.in_a_row,
                payload=b"a gradient must be finite",
            )
        ]
