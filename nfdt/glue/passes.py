"""Where the batches of each epoch lie in the passes over the data."""

from __future__ import annotations

from typing import NamedTuple


class Stretch(NamedTuple):
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

    def peek(self) -> Stretch:
        """Returns the next epoch's stretch without beginning it."""
        first = self._seen or 0
        left = None if self.num_batches is None else self.num_batches - first
        counts = [count for count in (self._steps, left) if count is not None]
        return Stretch(self._seen is None, first, min(counts, default=None))

    def begin(self) -> Stretch:
        """Begins an epoch."""
        stretch = self.peek()
        stop = None if stretch.length is None else stretch.first + stretch.length
        self._seen = None if stop == self.num_batches else stop
        return stretch

    def end(self) -> None:
        """Notes that the data have ended earlier than was known."""
        self._seen = None
