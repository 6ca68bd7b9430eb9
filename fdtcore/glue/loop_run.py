"""Loops by hand over data sets: counted, passed over where they were over, gone on in.

The script runs again from its top, so loops that were over run again, with one batch
each: what a first step makes is made, names that a body gives exist, and counts are not
zero. Then all variables have the values that the loop had left. The one that was
interrupted begins with the batch before its place; then all variables take over the
snapshot's values.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Generator, Iterator
from typing import TYPE_CHECKING, Any

from fdtcore.glue import binding, generator_state, keras_internals
from fdtcore.keras_types import Dataset
from fdtcore.snapshots.position import Position
from fdtcore.snapshots.tensor_file import Content

if TYPE_CHECKING:
    from fdtcore.glue.snapshots import Snapshots

Begin = Callable[[Any], Iterator[Any]]
Batches = Generator[Any, None, None]


class LoopRun:
    """One loop of which snapshots are taken: one iteration over a data set.

    Args:
        snapshots: Takes snapshots between its steps.
        fit: Number of the ``fit`` that comes next.
        number: Of the loop since the last ``fit``, from 1.
        dataset: What is iterated.
        ended: State of the generators when the loop before has ended; None for the
            first.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        fit: int,
        number: int,
        dataset: Dataset,
        ended: dict[str, Any] | None,
    ):
        self._snapshots = snapshots
        self.fit, self.number = fit, number
        self.ended = ended
        self.num_batches = int(dataset.cardinality())
        self.is_repeatable = not keras_internals.is_unordered(dataset)
        self.step = 0  # batches that are trained
        self.has_begun = False
        self.is_over = False
        self.is_whole = True  # whether nothing else is iterated with it

    @property
    def may_be_kept(self) -> bool:
        """Whether the loop could go on from here."""
        return self.is_whole and (self.is_repeatable or self.is_over)

    @property
    def must_meet(self) -> bool:
        """Whether this may be the only place for long at which one can be taken."""
        return False  # one is taken of each end

    def place(self) -> Position:
        """Returns where it is."""
        return Position(self.fit, 0, self.step, 0, loop=self.number)

    def where(self) -> str:
        """Returns what messages call the place."""
        return f"batch {self.step + 1} of loop {self.number}"

    def described(self) -> dict[str, Any]:
        """Returns where it is, as a snapshot keeps it."""
        return {
            "number": self.number,
            "step": self.step,
            "is_over": self.is_over,
            "num_batches": self.num_batches,
        }

    def content(self, number: int) -> Content | None:
        """Returns what a snapshot of it holds."""
        return self._snapshots.content.of_loop(self, number)


class Loops:
    """The loops of a process.

    Args:
        snapshots: Takes snapshots of them.
        pending: Numbers of the ``fit`` and the loop that the job goes on in; None
            where it is in none.
        ends: The same of loops whose end is kept.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        pending: tuple[int, int] | None,
        ends: Collection[tuple[int, int]],
    ):
        self._snapshots, self._pending, self._ends = snapshots, pending, ends
        self._kept: Content | None = None
        self._number = 0  # loops since the last fit
        self._ended: dict[str, Any] | None = None
        self.now: LoopRun | None = None

    def begin_fit(self, fit: int) -> None:
        """Notes that a ``fit`` begins.

        Raises:
            ValueError: The job was in a loop before that one.
        """
        if self.now is not None:
            self.now.is_whole = False  # one that a body runs is counted by itself
        elif self._pending is not None and fit >= self._pending[0]:
            raise ValueError(
                "a snapshot must be of this program. Received: it is of loop "
                f"{self._pending[1]} before fit {fit} there, and {self._number} loops "
                "came before it here. Run what was interrupted, or begin anew in "
                "another folder."
            )
        self._number, self._ended = 0, None

    def iterate(self, dataset: Dataset, begin: Begin) -> Iterator[Any]:
        """Iterates a data set in a loop that trains.

        Args:
            dataset: What the loop is over.
            begin: From a data set to its iterator.
        """
        if binding.context().fit_run.now is not None:
            return begin(dataset)  # a part of a step, or a callback
        if self.now is not None:
            if not self.now.has_begun:
                self.now.is_whole = False
                self._snapshots.say(
                    "a loop over several data sets at once is not kept in snapshots: "
                    "after an interruption it runs again from its beginning."
                )
            return begin(dataset)
        fit = self._snapshots.next_fit
        self._number += 1
        at = (fit, self._number)
        run = LoopRun(self._snapshots, fit, self._number, dataset, self._ended)
        if at == self._pending:
            batches = self._again(run, dataset, begin)
        elif not self._is_behind(at):
            batches = self._from(run, begin(dataset))
        elif at in self._ends:
            batches = self._passed(begin(dataset.take(1)), at)
        elif self._pending is not None:
            batches = self._undone(begin(dataset.take(1)), at)
        else:
            batches = _all(begin(dataset))  # exact, and slow
        return _Iteration(self, run, batches)

    def _is_behind(self, at: tuple[int, int]) -> bool:
        """Whether what was kept last is of a later time than a loop."""
        if self._pending is not None:
            return at < self._pending
        return at[0] <= self._snapshots.begun_fits

    def _content(self) -> Content:
        """Returns the snapshot that the job goes on from; all ranks call it."""
        if self._kept is None:
            self._kept = self._snapshots.receive_loop()
        return self._kept

    def _passed(self, iterator: Iterator[Any], at: tuple[int, int]) -> Batches:
        """Yields one batch, and leaves what the loop has left."""
        end = self._snapshots.receive_end(*at)
        self._snapshots.say(
            "loops by hand that were over run with one batch each, and leave what they "
            "left. What their bodies keep in variables of Python is not kept."
        )
        try:
            yield from iterator
        finally:
            self._snapshots.content.give_back_loop(end)

    def _undone(self, iterator: Iterator[Any], at: tuple[int, int]) -> Batches:
        """Yields one batch, and undoes what was trained on it."""
        kept = self._content()
        self._snapshots.say(
            f"the end of loop {at[1]} is not kept: what the script does behind it, it "
            "does with later values."
        )
        try:
            yield from iterator
        finally:
            self._snapshots.content.undo(kept)
            if self._pending == (at[0], at[1] + 1):
                # The program may make the data of the next one from them.
                generator_state.restore(
                    self._snapshots.content.generators(kept.about)["ended"]
                )

    def _again(self, run: LoopRun, dataset: Dataset, begin: Begin) -> Batches:
        """Yields the batches from that before the place on."""
        kept = self._content()
        at = kept.about["loop"]
        if at["num_batches"] != run.num_batches:
            raise ValueError(
                f"a snapshot must be of this program. Received: loop {run.number} has "
                f"{at['num_batches']} batches there, {run.num_batches} here. Run what "
                "was interrupted, or begin anew in another folder."
            )
        # One iterator only: each draws another order of a data set that shuffles.
        left = dataset.take(1) if at["is_over"] else dataset.skip(at["step"] - 1)
        iterator = begin(left)
        try:
            yield from _first(iterator, run.number)
        except GeneratorExit:  # the body has left the loop
            self._snapshots.content.undo(kept)
            raise
        finally:
            self._pending = self._kept = None
        self._snapshots.content.give_back_loop(kept)
        run.step = at["step"]
        self._snapshots.say(
            f"goes on in loop {run.number}, batch {run.step + 1}."
            f"{self._snapshots.lost()}"
        )
        yield from self._steps(run, iterator)

    def _from(self, run: LoopRun, iterator: Iterator[Any]) -> Batches:
        if not run.is_repeatable:
            self._snapshots.say(
                "a tf.data pipeline with deterministic=False has an order of its own "
                "each time: snapshots are of the end of its loops."
            )
        yield from self._steps(run, iterator)

    def _steps(self, run: LoopRun, iterator: Iterator[Any]) -> Batches:
        with self._snapshots.stepping():
            for batch in iterator:
                yield batch
                run.step += 1
                self._snapshots.at_step(run, 1)
            run.is_over = True
            self._snapshots.keep_loop(run)

    def end(self, run: LoopRun) -> None:
        """Notes that a loop is over, however it came to that."""
        if self.now is run:
            self.now = None
            self._ended = generator_state.state()

    def start(self, run: LoopRun) -> None:
        """Notes that a loop begins."""
        self.now = run


def _all(iterator: Iterator[Any]) -> Batches:
    yield from iterator


def _first(iterator: Iterator[Any], number: int) -> Batches:
    for batch in iterator:
        yield batch
        return
    raise ValueError(
        f"a snapshot must be of this program. Received: loop {number} has fewer "
        "batches here than there. Run what was interrupted, or begin anew in another "
        "folder."
    )


class _Iteration:
    """What a ``for`` statement iterates; tells when it is left, also unused.

    Args:
        loops: That are told.
        run: The loop.
        batches: Yields its batches.
    """

    def __init__(self, loops: Loops, run: LoopRun, batches: Batches):
        self._loops, self._run, self._batches = loops, run, batches
        loops.start(run)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self._run.has_begun = True
        try:
            return next(self._batches)
        except StopIteration:
            self._loops.end(self._run)
            raise

    def __del__(self) -> None:
        if sys.is_finalizing():
            return
        self._batches.close()
        self._loops.end(self._run)
