"""A worker's epochs: the current one, and the batches that it leases.

Where the batches of each epoch lie in the passes over the data.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import NamedTuple

from nfdt.protocol.epoch_id import EpochId
from nfdt.protocol.leases import MERGE
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.transport import Transport


class Epochs:
    """Leases batches from server 0, and counts epochs as all workers do.

    Args:
        transport: The way to the servers.
        worker: Index of this worker, 0 .. M - 1.
        num_workers: Number of workers, M.
    """

    def __init__(self, transport: Transport, worker: int, num_workers: int):
        self.worker, self.num_workers = worker, num_workers
        self.is_peeking = False  # Keras only looks at a batch
        self.is_stopped = False  # the whole fit has ended early
        self.taken = 0  # batches that this worker has taken in this epoch
        self._must_merge = False  # what it has stepped on, to learn if all is done
        self.ending = -1  # the epoch whose end the workers meet for; -1: none
        self._transport = transport
        self.fit = 0  # fits so far, this one included
        self._skipped = 0  # passes over the data that an earlier run has made
        self._epoch = -1  # in the fit; counted by passes over the data
        self._before = 0  # epochs of earlier fits
        self._length = 0  # batches of the epoch, where they are leased
        self._in_hand: list[tuple[int, int]] = []  # leased, and neither pushed nor done

    @property
    def current(self) -> int:
        """The epoch, as :class:`EpochId` packs it."""
        return EpochId(self.fit, max(self._epoch, 0)).pack()

    def begin_fit(self) -> None:
        """Begins to count anew: every worker is at the beginning of the same fit."""
        self._before += self._epoch + 1
        self.fit, self._epoch, self.is_stopped = self.fit + 1, -1, False

    def skip(self, num_epochs: int) -> None:
        """Begins a fit behind epochs that an earlier run has finished."""
        self._epoch += num_epochs
        self._skipped = num_epochs

    def turns(self) -> int:
        """Returns how many epochs of data to draw: those that were skipped, and one."""
        skipped, self._skipped = self._skipped, 0
        return 1 + skipped

    def begin(self) -> int:
        """Begins an epoch; returns it as :class:`EpochId` packs it."""
        self._epoch += 1
        self.taken = 0
        return self.current

    def leases(self, epoch: int, num_batches: int) -> Iterator[int]:
        """Yields the numbers of the batches that this worker is given."""
        self._length = num_batches
        while True:
            ask = Message(Kind.LEASE, self.worker, epoch=epoch, parts=num_batches)
            answer = self._transport.call_all({0: ask}, {})[0]
            if answer.number < 0:
                self._must_merge = answer.number == MERGE
                self.is_stopped = self.is_stopped or bool(answer.parts)
                return
            self._in_hand.append((epoch, answer.number))
            self.taken += 1
            yield answer.number

    def over(self, epoch: int, number: int) -> float:
        """Returns how many epochs of all fits were over before a batch.

        Args:
            epoch: Epoch of the batch, as :class:`EpochId` packs it; < 0: of none.
            number: Of the batch; < 0: it has none, as in a stream, whose epochs are
                counted whole.

        Returns:
            NaN for a batch of no epoch.
        """
        if epoch < 0:
            return math.nan
        part = max(number, 0) / self._length if self._length else 0.0
        return self._before + EpochId.unpack(epoch).epoch + part

    def pushed(self, epoch: int, number: int) -> None:
        """Notes that a batch has been pushed, which the server sees by itself."""
        with contextlib.suppress(ValueError):
            self._in_hand.remove((epoch, number))

    def done(self, epoch: int, number: int, *, is_merged: bool = True) -> None:
        """Tells that a batch was trained on, if its push has not told.

        Args:
            epoch: Epoch of the batch.
            number: Of the batch; -1: all steps of this worker's own are merged.
            is_merged: Whether no steps of this worker's own are to be merged yet.
        """
        if number < 0 or (epoch, number) in self._in_hand:
            self.pushed(epoch, number)
            about = {"epoch": epoch, "number": number, "parts": int(not is_merged)}
            self._transport.post(0, Message(Kind.DONE, self.worker, **about))

    def take_merge(self) -> bool:
        """Whether steps are to be merged before the epoch may be over; asked once."""
        found, self._must_merge = self._must_merge, False
        return found

    def stop(self) -> None:
        """Ends this fit on all workers."""
        self._transport.post(0, Message(Kind.STOP, self.worker, epoch=self.current))

    @contextlib.contextmanager
    def meeting(self) -> Iterator[None]:
        """Makes meetings inside those of the end of the epoch that is over."""
        self.ending = self.current
        try:
            yield
        finally:
            self.ending = -1

    @contextlib.contextmanager
    def peeking(self) -> Iterator[None]:
        """Hands out batches that count for nothing while the block runs."""
        self.is_peeking = True
        try:
            yield
        finally:
            self.is_peeking = False


class EpochSpan(NamedTuple):
    """The batches of one epoch."""

    is_new_pass: bool  # whether the data are begun anew
    first: int  # index in the pass of the epoch's first batch
    length: int | None  # batches of the epoch; None: until the data end


class Passes:
    """Goes on within a pass where the user counts the steps of an epoch.

    An epoch ends with the pass at the latest, and the next one begins a new pass.

    Args:
        num_batches: Batches of a pass, None where it is not known.
        steps_per_epoch: Batches of an epoch where the user says so.
    """

    def __init__(self, num_batches: int | None, steps_per_epoch: int | None):
        self.num_batches, self._steps = num_batches, steps_per_epoch
        self._seen: int | None = None  # batches of the pass so far; None: none is begun

    def peek(self) -> EpochSpan:
        """Returns the next epoch's span, without beginning it."""
        first = self._seen or 0
        left = None if self.num_batches is None else self.num_batches - first
        counts = [count for count in (self._steps, left) if count is not None]
        return EpochSpan(self._seen is None, first, min(counts, default=None))

    def begin(self) -> EpochSpan:
        """Begins an epoch."""
        span = self.peek()
        stop = None if span.length is None else span.first + span.length
        self._seen = None if stop == self.num_batches else stop
        return span

    def end(self) -> None:
        """Notes that the data have ended earlier than was known."""
        self._seen = None
