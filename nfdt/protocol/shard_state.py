"""A shard's knowledge of each worker: its progress, and what it has pushed.

Also the refusal of gradients that are not finite, before they touch the parameters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nfdt.protocol.controllers import Ledger
from nfdt.protocol.events import Event
from nfdt.protocol.messages import Kind, Message
from nfdt.rules import blocks
from nfdt.rules.corrections import Correction, Push, Vector
from nfdt.rules.updates import GradientSums, Late


def first_wrong(vector: Vector) -> int:
    """Returns the index of the first element that is not finite; there is one."""
    return int(np.flatnonzero(~np.isfinite(vector))[0])


class Copy(NamedTuple):
    """Parameters as they were sent to a worker."""

    # [P], perhaps of a narrower type; None for a worker that has never pulled.
    params: Vector | None
    version: int  # updates applied to them


class Held(NamedTuple):
    """A push whose gradient is not used yet."""

    message: Message
    lead: int  # of its worker, when it arrived
    pulled: Copy  # what it was computed at
    arrived_at: int  # version of the parameters then
    measured: GradientSums | None = None  # at that version; None: at none that still is

    def staleness(self, version: int) -> int:
        """Returns how many updates it is behind parameters of a version."""
        return version - self.pulled.version

    def late(
        self, params: Vector, version: int, learning_rate: float, rule: Correction
    ) -> Late:
        """Returns it as a rule takes it.

        Args:
            params: The parameters now, [P].
            version: Number of updates applied to the parameters.
            learning_rate: Learning rate in force now.
            rule: Correction that takes it; says whether it reads what was pulled.
        """
        push = Push(self.message.worker, self.staleness(version), learning_rate)
        pulled = None
        if rule.needs_pulled:
            # A worker that has never pulled began with the first values.
            pulled = params if self.pulled.params is None else self.pulled.params
        measured = self.measured if self.arrived_at == version else None
        in_part = 0 < -self.message.parts < params.size
        return Late(push, self.message.payload, pulled, measured, in_part=in_part)


class WorkerState(Enum):
    """What a worker does, as a shard sees it; the diagram is in ``docs/design.md``."""

    COMPUTING = "computing"  # has parameters; its next push or step is awaited
    HELD = "held"  # its gradient has arrived and is in no update yet
    WAITING = "waiting"  # its gradient is used or dropped; it is not released yet
    AWAY = "away"  # no controller waits for it until it pushes, steps or rejoins
    GONE = "gone"  # it has left; only a worker that joins under its index ends this


@dataclasses.dataclass
class WorkerProgress:
    """All that a shard knows of one worker.

    Three facts are independent: whether controllers wait for the worker
    (``is_awaited``), whether its gradient is still to be used (``held``), and whether
    the worker stands still until it is released (``waiting_since_s``). ``state`` is
    read from them.

    Args:
        worker: Its index, 0 .. M-1.
    """

    worker: int
    # Whether a controller waits for it. False in AWAY and GONE.
    is_awaited: bool = True
    # Whether it has left the job. Implies that it is not awaited.
    is_gone: bool = False
    # Pushes received, in pushes. Counts only while it is awaited, and never decreases
    # then; on its return it is set to the slowest's, so that nobody waits for what
    # was missed.
    clock: int = 0
    # Steps of its own since its last update, in steps; 0 where every step is pushed.
    own_steps: int = 0
    # Its speed while it computes, steps/s, as its monitor said last; None: never.
    steps_per_s: float | None = None
    # What it was sent last; None: nothing yet. Not written while ``held`` needs it.
    pulled: Copy | None = None
    # Its gradient that is in no update yet. Always set in HELD; a worker that went
    # away or has left may have one, too.
    held: Held | None = None
    # When its push arrived, seconds; None once it is released. Set in HELD and WAITING.
    waiting_since_s: float | None = None
    # Whether what it has is what it was sent last, as it says with a push.
    has_pulled: bool = True
    # Of how many elements its last push has told, where it was compressed.
    sent: int = 0
    # Its push among all pushes to this shard: held gradients and waiting workers are
    # taken in this order. Counts while ``held`` or ``waiting_since_s`` is set.
    arrival: int = 0
    # Its push as the trace tells it, until the release says how long it has waited.
    # Only set while ``waiting_since_s`` is.
    unreleased: Event | None = None

    @property
    def state(self) -> WorkerState:
        """What it does now; AWAY and GONE come before what is held of it."""
        if self.is_gone:
            return WorkerState.GONE
        if not self.is_awaited:
            return WorkerState.AWAY
        if self.held is not None:
            return WorkerState.HELD
        if self.waiting_since_s is not None:
            return WorkerState.WAITING
        return WorkerState.COMPUTING

    def __str__(self) -> str:
        """One line, such as ``worker 3 held, unreleased since 12.400 s, clock 41``.

        The clock is left out where it does not count.
        """
        since = self.waiting_since_s
        parts = [
            f"worker {self.worker} {self.state.value}",
            *([f"unreleased since {since:.3f} s"] if since is not None else []),
            *([f"clock {self.clock}"] if self.is_awaited else []),
            *([f"{self.own_steps} own steps"] if self.own_steps else []),
            *([f"pulled version {self.pulled.version}"] if self.pulled else []),
            *(["gradient held"] if self.held and not self.is_awaited else []),
        ]
        return ", ".join(parts)

    def version(self, now: int) -> int:
        """Returns the version of what it pulled last; ``now`` if it never did."""
        return now if self.pulled is None else self.pulled.version

    def place_for(self, size: int, dtype: npt.DTypeLike) -> Vector:
        """Returns where the parameters for it are to be copied to.

        What is sent must not change on its way, and the copy is also what its next
        gradient is corrected by: of the type in which it is sent, it is what the
        worker computes at.

        Args:
            size: Number of parameters, P.
            dtype: Type in which they are sent.
        """
        last = None if self.pulled is None else self.pulled.params
        # What a held gradient was computed at is still needed.
        if last is None or self.held or last.dtype != dtype:
            return blocks.empty(size, dtype)
        return last

    def arrived(self, message: Message, lead: int, version: int) -> Held:
        """Returns a gradient of it as it may be held.

        Args:
            message: Message of the push.
            lead: The worker's, now.
            version: Of the parameters now.
        """
        return Held(message, lead, self.pulled or Copy(None, version), version)

    def hold(self, held: Held, now_s: float) -> None:
        """Holds a gradient of it until it is used, and the worker until its release.

        Args:
            held: As :meth:`arrived` returned it.
            now_s: Time now, in seconds of a clock that never goes back.
        """
        self.held = held
        self.waiting_since_s = now_s

    def release(self, now_s: float) -> Event | None:
        """Lets it go on; returns its push with the time waited, if not told yet."""
        event, since_s = self.unreleased, self.waiting_since_s
        self.unreleased, self.waiting_since_s = None, None
        if event is None or since_s is None:
            return None
        return event._replace(wait_s=now_s - since_s)

    def excuse(self) -> None:
        """Lets no controller wait for it until it is back."""
        self.is_awaited = False

    def leave(self) -> None:
        """Forgets how it fared; a gradient that is held is still used."""
        self.excuse()
        self.is_gone = True
        self.own_steps, self.steps_per_s = 0, None


class ProgressTable:
    """The progress of all workers, and what a controller sees of it.

    Each push asks for the slowest worker and for a ledger. Three indices keep that from
    looking at every record: they repeat what the records say, so a worker's clock, and
    whether it is awaited, change by this table alone.

    Args:
        num_workers: M; all are awaited until they are excused.
    """

    def __init__(self, num_workers: int):
        self._progress = {w: WorkerProgress(w) for w in range(num_workers)}
        self._arrivals = 0  # pushes so far
        # Awaited worker -> pushes received.
        self._clocks = dict.fromkeys(range(num_workers), 0)
        # Those whose gradient may be held, or that may wait; the rest go when seen.
        self._queue: dict[int, WorkerProgress] = {}
        # Those that have made steps of their own, or said how fast they are.
        self._stepping: dict[int, WorkerProgress] = {}

    def __getitem__(self, worker: int) -> WorkerProgress:
        return self._progress[worker]

    def __iter__(self) -> Iterator[WorkerProgress]:
        return iter(self._progress.values())

    @property
    def clocks(self) -> dict[int, int]:
        """Awaited worker -> pushes received; changes with the table."""
        return self._clocks

    def held(self) -> list[WorkerProgress]:
        """Returns those with a gradient that is not used yet, by arrival."""
        return sorted((o for o in self if o.held is not None), key=_by_arrival)

    def rejoin(self, worker: int, clock: int = 0) -> None:
        """Lets controllers wait for a worker again: abreast of the slowest, if any.

        Args:
            worker: Index of the worker, 0 to M - 1.
            clock: Its clock where no other is awaited.
        """
        one = self[worker]
        if not one.is_awaited:
            self._count(one, min(self._clocks.values(), default=clock))
            one.is_awaited, one.is_gone = True, False

    def excuse(self, worker: int) -> None:
        """Lets no controller wait for a worker until it is back."""
        self[worker].excuse()
        self._clocks.pop(worker, None)

    def leave(self, worker: int) -> None:
        """Goes on without a worker; a gradient of it that is held is still used."""
        self[worker].leave()
        self._clocks.pop(worker, None)

    def count_push(self, worker: int, clock: int) -> int:
        """Counts a push; returns the worker's lead over the slowest, in pushes.

        Args:
            worker: Index of the worker, 0 to M - 1.
            clock: As the worker says.
        """
        one = self[worker]
        if one.is_awaited:
            self._count(one, one.clock + 1)
        else:  # with this push it is abreast of the slowest
            self.rejoin(worker, clock)
        if one.held is None:
            self._arrivals += 1
            one.arrival = self._arrivals
        self._queue[worker] = one
        return one.clock - min(self._clocks.values())

    def _count(self, one: WorkerProgress, clock: int) -> None:
        one.clock = self._clocks[one.worker] = clock

    def count_step(self, worker: int) -> int:
        """Counts a local step of a worker; returns its lead over the slowest."""
        self.rejoin(worker)
        self._stepping[worker] = self[worker]
        own = self[worker].own_steps = self[worker].own_steps + 1
        return own - min(one.own_steps for one in self if one.is_awaited)

    def measure_anew(self) -> None:
        """Forgets what is known of the gradients that are held: parameters changed."""
        for one in self.held():
            if one.held is not None:
                one.held = one.held._replace(measured=None)

    def renumber(self, version: int) -> None:
        """Counts all that was sent as of a version: updates are counted anew."""
        for one in self:
            if one.pulled is not None:
                one.pulled = one.pulled._replace(version=version)

    def ledger(self, version: int, asking: tuple[int, ...]) -> Ledger:
        """Returns what the controller sees now.

        Args:
            version: Number of updates applied to the parameters.
            asking: Workers that have ended a local step, now.
        """
        queue = []
        for one in list(self._queue.values()):
            if one.held is not None or one.waiting_since_s is not None:
                queue.append(one)
            else:
                del self._queue[one.worker]
        queue.sort(key=_by_arrival)
        steps, speeds = {}, {}
        for one in self._stepping.values():
            if one.own_steps:
                steps[one.worker] = one.own_steps
            if one.steps_per_s is not None:
                speeds[one.worker] = one.steps_per_s
        held = [(one.worker, one.held) for one in queue if one.held is not None]
        return Ledger(
            clocks=dict(self._clocks),
            held=tuple(worker for worker, _ in held),
            waiting=tuple(o.worker for o in queue if o.waiting_since_s is not None),
            late=frozenset(w for w, push in held if push.pulled.version < version),
            asking=asking,
            steps=steps,
            speeds=speeds,
        )


def _by_arrival(one: WorkerProgress) -> int:
    return one.arrival


class Refusals:
    """Refuses gradients with NaN or infinity, and counts them."""

    def __init__(self) -> None:
        self.in_a_row = 0  # of all workers, since the last that was finite

    def find(
        self, message: Message, version: int, measured: GradientSums
    ) -> list[Message]:
        """Returns the answer to a push that is refused; none for one that is not.

        Args:
            message: Message of the push.
            version: Of the parameters now.
            measured: What is known of its gradient.
        """
        if measured.is_finite:
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
