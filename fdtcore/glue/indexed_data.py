"""A ``PyDataset`` of a ``fit`` whose snapshots are taken: it goes on at any batch.

Its batches have numbers, so those before the place need not be made again. What they
have drawn from Python's and NumPy's generators is known by the states of these, noted
before each batch: data are read ahead, and the batch that is trained next has been made
a while ago. What ``on_epoch_begin`` and ``on_epoch_end`` have made of the data set is
made again, by calls with the numbers of then.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from fdtcore.glue import generator_state, keras_internals, readers
from fdtcore.glue.keras_internals import OrderedEnqueuer, PyDatasetAdapter
from fdtcore.keras_types import PyDataset

_BEGIN, _END = "b", "e"
# Far longer than a thread takes to begin.
_PATIENCE_S = 60.0


class IndexedData:
    """Makes the batches of an adapter of Keras's, and knows what each begins with.

    Args:
        adapter: Of the training data; changed, before it makes a data set.
        ranks_in_turn: Batches of all ranks for one of this rank.
        hooks: What :attr:`hooks` was in the fit that goes on; None in one that begins.
    """

    def __init__(
        self, adapter: PyDatasetAdapter, ranks_in_turn: int, hooks: Any = None
    ):
        self._adapter, self._ranks_in_turn = adapter, ranks_in_turn
        self._kept_hooks = hooks
        # The calls of ``on_epoch_begin`` and ``on_epoch_end`` so far, a letter for
        # each, and the states before those that drew, by the place of the letter.
        self.hooks: dict[str, Any] = {"called": "", "drawn": {}}
        self._lock = threading.Lock()
        self._pass = 0  # its number
        # Of the pass under way; None: it has not begun.
        self._order: dict[str, Any] | None = None
        self._before: dict[int, dict[str, Any]] = {}  # batch -> states before it
        self._going_on: dict[str, Any] | None = None  # what the pass begins with
        # Stands for a batch that was trained; Keras hands on a dictionary as it is.
        self.skipped: dict[str, Any] = {}
        self._data = adapter.py_dataset
        adapter.py_dataset = _Hooked(self._data, self)
        if adapter.enqueuer is None:
            keras_internals.make_batches(adapter, lambda inner: self._batches())
        else:
            _Enqueuer.follow(adapter.enqueuer, self)
            keras_internals.make_batches(
                adapter, lambda inner: (b for b in inner() if b is not self.skipped)
            )

    # --- Where it is -----------------------------------------------------------------

    def begin_pass(self) -> None:
        """Notes that what is read from now on is another pass."""
        with self._lock:
            self._pass += 1
            if self._adapter.enqueuer is None:  # which begins before its pass
                self._order = self._going_on = None
            self._before.clear()

    def states(self, taken: int) -> dict[str, Any]:
        """Returns what this pass goes on with, for JSON.

        Args:
            taken: Batches that this rank has trained of it.
        """
        first = taken * self._ranks_in_turn
        with self._lock:
            if self._going_on is not None:
                return {k: v for k, v in self._going_on.items() if k != "first"}
            # None: it is not made yet, and will be with the numbers that come then.
            order = self._order or {"epoch": self._epoch(), "state": None}
            return {
                "order": {**order, "state": generator_state.listed(order["state"])},
                "batch": generator_state.listed(self._before.get(first)),
            }

    def forget(self, taken: int) -> None:
        """Forgets what batches that are trained began with.

        Args:
            taken: Batches that this rank has trained of the pass.
        """
        first = taken * self._ranks_in_turn
        with self._lock:
            for batch in [b for b in self._before if b < first]:
                del self._before[batch]

    def go_on(
        self, taken: int, states: dict[str, Any], steps_per_epoch: int | None
    ) -> bool:
        """Lets the pass that comes begin at a batch, if it can.

        Args:
            taken: Batches that this rank has trained of it.
            states: What :meth:`states` has returned there.
            steps_per_epoch: What ``fit`` was given.
        """
        self._call_kept_hooks()
        adapter = self._adapter
        if adapter.enqueuer and adapter.num_batches is not None and steps_per_epoch:
            # Keras begins an order in each epoch, behind what it has read ahead.
            return False
        if "order" not in states:
            return False
        self._going_on = {**states, "first": taken * self._ranks_in_turn}
        return True

    # --- The hooks of the user's -----------------------------------------------------

    def _call_kept_hooks(self) -> None:
        """Calls what was called before the epoch in which the fit goes on."""
        if self._kept_hooks is None:
            return
        called = self._kept_hooks["called"]
        for letter in called[len(self.hooks["called"]) : called.rindex(_BEGIN)]:
            self.call(letter)

    def call(self, letter: str) -> None:
        """Calls a hook of the data set, with the numbers that it had."""
        place, kept = len(self.hooks["called"]), self._kept_hooks
        if kept is not None and place < len(kept["called"]):
            if place in kept["drawn"]:
                state = generator_state.unpacked(kept["drawn"][place])
                generator_state.restore_python(state)
        before = generator_state.of_python()
        _call(self._data, letter)
        self.hooks["called"] += letter
        if not generator_state.is_same(before, generator_state.of_python()):
            self.hooks["drawn"][place] = generator_state.packed(before)

    def _epoch(self) -> int:
        return max(0, self.hooks["called"].count(_BEGIN) - 1)

    # --- The batches -----------------------------------------------------------------

    def _batches(self) -> Iterator[Any]:
        """Yields those of a pass, as Keras does where one thread makes them."""
        adapter, this = self._adapter, self._pass
        first = 0
        order: Iterator[int] = iter(())
        for position in itertools.count():
            with readers.reading():
                if position == 0:
                    first, order = self._begun(this)
                index = next(order, None)
                if index is None:
                    return
                self._note(this, first + position)
                batch = keras_internals.standard_batch(adapter, self._data[index])
            yield batch

    def _begun(self, this: int) -> tuple[int, Iterator[int]]:
        """Returns the number of a pass's first batch, and the indices from there."""
        with self._lock:
            going_on, now = None, generator_state.of_python()
            if this == self._pass:
                going_on, self._going_on = self._going_on, None
            order = going_on["order"] if going_on else None
            if order is None or order["state"] is None:
                order = {"epoch": self._epoch(), "state": now}
            generator_state.restore_python(order["state"])
            if this == self._pass:
                self._order = order
            indices = self._ordered(order["epoch"])
            if going_on is None:
                return 0, iter(indices)
            if going_on["order"]["state"] is not None:
                generator_state.restore_python(going_on["batch"] or now)
            first = going_on["first"]
            return first, itertools.islice(indices, first, None)

    def _ordered(self, epoch: int) -> Iterable[int]:
        """Returns the indices of a pass in their order, which may be drawn."""
        num_batches = self._adapter.num_batches
        if num_batches is None:
            return itertools.count()
        order = list(range(num_batches))
        if self._adapter.shuffle:
            keras_internals.shuffle(self._adapter, order, epoch)
        return order

    def _note(self, this: int, batch: int) -> None:
        with self._lock:
            if this == self._pass:
                self._before[batch] = generator_state.of_python()

    # --- Where several threads or processes make them --------------------------------

    def begin_order(self) -> tuple[int, Iterable[int] | None]:
        """Notes what the order of a pass is drawn with.

        Returns:
            How many batches to pass over, and all indices in their order; None leaves
            the order to Keras.
        """
        with self._lock:
            now = generator_state.of_python()
            going_on, self._going_on = self._going_on, None
            if going_on is None:
                epoch = self.hooks["called"].count(_BEGIN)  # that of this one comes
                self._order = {"epoch": epoch, "state": now}
                return 0, None
            self._order = going_on["order"]
            generator_state.restore_python(going_on["order"]["state"])
            indices = self._ordered(going_on["order"]["epoch"])
            generator_state.restore_python(now)
            return going_on["first"], indices


class _Enqueuer(OrderedEnqueuer):
    """Keras's reader in several threads or processes, which may begin at any batch."""

    @classmethod
    def follow(cls, enqueuer: OrderedEnqueuer, follower: IndexedData) -> None:
        """Makes an enqueuer of Keras's one of these."""
        without_end = vars(enqueuer).pop("indices", None)
        enqueuer.__class__ = cls
        enqueuer.follower, enqueuer.has_order = follower, threading.Event()
        enqueuer.num_skipped, enqueuer.replacement = 0, None
        if without_end is not None:
            enqueuer.indices = without_end

    @property
    def indices(self) -> Iterator[int]:
        return self._indices

    @indices.setter
    def indices(self, drawn: Iterator[int]) -> None:
        self._indices = drawn if self.replacement is None else self.replacement
        self.has_order.set()

    def start(self) -> None:
        if self.running:
            return
        self.num_skipped, order = self.follower.begin_order()
        self.replacement = order and itertools.islice(order, self.num_skipped, None)
        if self.py_dataset.num_batches is None:
            if self.replacement is not None:
                self.indices = self.replacement
            super().start()
            return
        self.has_order.clear()
        super().start()
        # Its thread draws the order: nobody else may draw before.
        self.has_order.wait(_PATIENCE_S)

    def get(self) -> Iterator[Any]:
        num_skipped, self.num_skipped = self.num_skipped, 0
        yield from itertools.repeat(self.follower.skipped, num_skipped)
        yield from super().get()


def _call(data: PyDataset, letter: str) -> None:
    (data.on_epoch_begin if letter == _BEGIN else data.on_epoch_end)()


def call_again(data: Any, hooks: dict[str, Any] | None) -> None:
    """Leaves a ``PyDataset`` as a fit that is over has left it.

    Args:
        data: What ``fit`` was given.
        hooks: What :attr:`IndexedData.hooks` was; None of other data.
    """
    if hooks is None:
        return
    for place, letter in enumerate(hooks["called"]):
        if place in hooks["drawn"]:
            state = generator_state.unpacked(hooks["drawn"][place])
            generator_state.restore_python(state)
        _call(data, letter)


class _Hooked:
    """A ``PyDataset`` whose hooks are called by what follows it."""

    def __init__(self, inner: PyDataset, follower: IndexedData):
        self._inner, self._follower = inner, follower

    def on_epoch_begin(self) -> None:
        self._follower.call(_BEGIN)

    def on_epoch_end(self) -> None:
        self._follower.call(_END)

    def __getitem__(self, index: int) -> Any:
        return self._inner[index]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
