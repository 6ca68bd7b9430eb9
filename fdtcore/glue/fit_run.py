"""A ``fit`` of which snapshots are taken: where it is in its data, and its going on.

Snapshots are taken, and given back, between two batches, where Keras's loop asks for
the next one: there it holds nothing of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from fdtcore.glue import (
    binding,
    callbacks,
    generator_state,
    indexed_data,
    keras_internals,
    marks,
    rehearsal,
)
from fdtcore.glue.data import PartAdapter, WrappedAdapter
from fdtcore.glue.keras_internals import GeneratorDataAdapter, PyDatasetAdapter
from fdtcore.glue.plain_values import unpack
from fdtcore.keras_types import Callback, DataAdapter, EpochIterator, Logs, Model
from fdtcore.snapshots.position import Position
from fdtcore.snapshots.tensor_file import Content

if TYPE_CHECKING:
    from fdtcore.glue.snapshots import Snapshots

TRAINING, VALIDATION = "T", "V"


def patch() -> None:
    """Wraps how Keras goes through an epoch."""
    keras_internals.ENUMERATE.wrap(_followed)
    keras_internals.BUILD_FROM_ITERATOR.wrap(_found)
    keras_internals.RESULTS_OR_LOGS.wrap(_of_steps_before)


def _followed(inner: Callable) -> Callable:
    def batches(self: EpochIterator) -> Any:
        run = binding.context().fit_run.now
        if run is None or self is not run.iterator:
            return inner(self)
        return run.batches(inner(self))

    return batches


def _found(inner: Callable) -> Callable:
    """Keras's ``fit`` calls it with the iterator of its epochs before any other."""

    def build(self: Model, iterator: Any = None, data_batch: Any = None) -> Any:
        run = binding.context().fit_run.now
        if run is not None and run.model is self and iterator is not None:
            run.look_at(iterator)
        return inner(self, iterator=iterator, data_batch=data_batch)

    return build


def _of_steps_before(inner: Callable) -> Callable:
    """Where a run goes on behind the last step of an epoch, no step gives logs."""

    def results(self: Model, logs: Logs) -> Any:
        run = binding.context().fit_run.now
        has_none = isinstance(logs, dict) and not logs
        if run is not None and run.model is self and has_none:
            logs = self.get_metrics_result()
        return inner(self, logs)

    return results


class FitRun:
    """A ``fit`` under way: where it is in its data.

    Args:
        snapshots: Takes snapshots between its steps.
        model: The user's Keras model.
        given: The callbacks that the user gave to it.
        identity: What tells it from another one.
        number: Number of the fit, from 1.
        sources: Data of training and validation, as ``sources_of`` returns them.
        kept: The snapshot that it goes on from; None for one that begins.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        model: Model,
        given: list[Callback],
        identity: dict[str, str],
        number: int,
        sources: dict[str, Any],
        kept: Content | None,
    ):
        self._snapshots, self._kept = snapshots, kept
        self.model, self.callbacks = model, given
        self.identity, self.number = identity, number
        self.watch = EpochWatch(self)
        self.iterator: EpochIterator = None  # that of the training data
        # Whether the data come again in the same order; else an epoch begins anew.
        self.is_repeatable = True
        self.generators = generator_state.state()  # when the pass began
        self.epoch = 0  # Keras's number of the epoch under way
        self.step = 0  # its batches so far
        self._consumed = 0  # batches taken from the iterator in use
        # The iterators that Keras has made so far, used or not, in their order: a
        # letter for each, TRAINING or VALIDATION.
        self._made = ""
        self._in_use = 0  # how many were made with the one in use
        self._sources = sources
        self._validation: EpochIterator = None
        self._reading: Any = None  # the iterator in use
        self._again: Any = None  # stands for it in the first step, of what was taken
        # Of training data whose batches have numbers; and whether they go on at one.
        self._indexed: indexed_data.IndexedData | None = None
        self._is_at_place = False

    @property
    def may_be_kept(self) -> bool:
        """Whether the fit could go on from here: a model is built in the first step."""
        is_begun = self.step == 0 and self._consumed == 0
        return self.model.built and (self.is_repeatable or is_begun)

    @property
    def must_meet(self) -> bool:
        """Whether this may be the only place for long at which one can be taken."""
        return not self.is_repeatable and not self.step

    def place(self) -> Position:
        """Returns where it is."""
        return Position(self.number, self.epoch, self.step, 0)

    def where(self) -> str:
        """Returns what messages call the place."""
        return f"epoch {self.epoch + 1}, batch {self.step + 1} of fit {self.number}"

    def content(self, number: int) -> Content | None:
        """Returns what a snapshot of it holds."""
        return self._snapshots.content.of_fit(self, number)

    @property
    def is_made_again(self) -> bool:
        """Whether Python code makes what was trained again, and draws its numbers."""
        kinds = PyDatasetAdapter | GeneratorDataAdapter
        return isinstance(_adapter(self.iterator), kinds) and not self._is_at_place

    @property
    def hooks(self) -> dict[str, Any] | None:
        """What was called of training data that have hooks."""
        return self._indexed.hooks if self._indexed else None

    @property
    def data_states(self) -> dict[str, Any]:
        """States of the generators that go with the data, for JSON."""
        found = self._indexed.states(self._consumed) if self._indexed else {}
        return {"pass": self.generators, **found}

    def follow(self, adapter: DataAdapter, ranks_in_turn: int) -> None:
        """Follows the training data, where these have numbers.

        Args:
            adapter: Keras's, of data of this ``fit``, the training data first.
            ranks_in_turn: Batches of all ranks for one of this rank.
        """
        if self.iterator is None and isinstance(adapter, PyDatasetAdapter):
            kept = self._kept
            hooks = kept and unpack(kept.about.get("hooks"), kept.arrays)
            self._indexed = indexed_data.IndexedData(adapter, ranks_in_turn, hooks)

    @property
    def first_epoch(self) -> int | None:
        """The epoch to go on in; None where the fit begins."""
        return None if self._kept is None else self._kept.about["position"]["epoch"]

    def look_at(self, iterator: EpochIterator) -> None:
        """Notes the iterators of Keras, training's first."""
        if self.iterator is None:
            self.iterator = iterator
            self.is_repeatable = not keras_internals.is_unordered(
                keras_internals.batches_of_epoch(iterator)
            )
            if not self.is_repeatable:
                self._snapshots.say(
                    "a tf.data pipeline with deterministic=False has an order of its "
                    "own each time: snapshots are of the beginning of its epochs."
                )
            keras_internals.tell_passes(iterator, self._passed)
        elif iterator is keras_internals.validation_iterator(self.model):
            if iterator is not self._validation:
                self._validation = iterator
                keras_internals.tell_passes(iterator, self._validated)

    def position(self) -> dict[str, Any]:
        """Returns where the fit is, as a snapshot keeps it."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "consumed": self._consumed,
            "made": self._made,
            "in_use": self._in_use,
            "num_batches": keras_internals.num_batches(self.iterator),
        }

    def batches(self, inner: Iterator[Any]) -> Iterator[Any]:
        """Yields the steps of an epoch, and acts between them."""
        size, taken = self.model.steps_per_execution, 0
        self.step = 0
        if self._kept is not None:
            inner = self._from_there(self._kept, inner, size)
        for begin, end, iterator in inner:
            if iterator is not self._reading:
                self._reading, self._again = iterator, None
                self._consumed, self._in_use = 0, self._made.rindex(TRAINING) + 1
                self.generators = generator_state.state()
                if self._indexed is not None:
                    self._indexed.begin_pass()
            self._snapshots.at_step(self, taken)
            yield begin, end, self._again or iterator
            self._again, taken = None, size
            self._consumed += size
            self.step = end + 1
            if self._indexed is not None:
                self._indexed.forget(self._consumed)
        self._snapshots.at_step(self, taken)

    def _from_there(
        self, kept: Content, inner: Iterator[Any], size: int
    ) -> Iterator[Any]:
        """Yields the steps that are left of an epoch; takes over what was kept."""
        at = kept.about["position"]
        # The order of a pass may be drawn when its first batch is asked for.
        self.generators = self._snapshots.content.generators(kept.about)["pass"]
        generator_state.restore(self.generators)
        base = at["consumed"] - at["step"]  # batches of the pass before this epoch
        iterator = None
        keras_internals.set_epoch_position(self.iterator, at["num_batches"], base)
        self._is_at_place = self._indexed is not None and self._indexed.go_on(
            at["consumed"],
            self._snapshots.content.generators(kept.about),
            self.iterator.steps_per_epoch,
        )
        for begin, end, iterator in inner:
            seen = base + begin + size
            keras_internals.set_epoch_position(self.iterator, at["num_batches"], seen)
            if begin < at["step"]:
                continue
            if self._kept is not None:
                self._take_over(kept, iterator)
            yield begin, end, iterator
        if self._kept is not None:
            self._take_over(kept, iterator)

    def _take_over(self, kept: Content, iterator: Any) -> None:
        """Gives all what was kept, before the next batch."""
        self._kept, model = None, self.model
        if self.is_made_again:
            # What was skipped draws its numbers now, and not after those of the batches
            # that follow are drawn.
            first = rehearsal.taken(model, iterator)
            self._again = rehearsal.again(first, iterator) if first else None
        at = kept.about["position"]
        self._reading, self._consumed, self.step = iterator, at["consumed"], at["step"]
        self._in_use = at["in_use"]
        unmade = at["made"].count(VALIDATION) - self._made.count(VALIDATION)
        begin_anew(VALIDATION * unmade, self._sources)
        self._made += VALIDATION * unmade
        keras_internals.set_initial_epoch(model, self.watch.given_epoch)
        specification = marks.unmarked(iterator.element_spec)[1]
        self._snapshots.content.complete(model, kept.about, lambda: specification)
        self._snapshots.content.give_back(
            model, kept, self.callbacks, of_python=not self.is_made_again
        )
        self._snapshots.say(
            f"goes on in fit {self.number}, epoch {self.epoch + 1}, batch "
            f"{self.step + 1}.{self._snapshots.lost()}"
        )

    def _passed(self, data: Any) -> Any:
        """Begins a pass over the training data; the first one where it was."""
        if self._kept is None or self._made:
            self._made += TRAINING
            return data
        at = self._kept.about["position"]
        self._made = at["made"][: at["in_use"]]
        begin_anew(self._made[:-1], self._sources)
        if self._is_at_place or not at["consumed"]:
            return data
        adapter = self.iterator.data_adapter
        behind = (
            adapter.after(at["consumed"]) if isinstance(adapter, PartAdapter) else None
        )
        return data.skip(at["consumed"]) if behind is None else behind

    def _validated(self, data: Any) -> Any:
        """Begins a pass over the validation data."""
        self._made += VALIDATION
        return data


def begin_anew(made: str, sources: dict[str, Any]) -> None:
    """Begins passes over data sets as Keras has begun them.

    One that shuffles draws another order whenever an iterator is made.

    Args:
        made: A letter for each pass, ``TRAINING`` or ``VALIDATION``.
        sources: The data of both, as ``fit`` was given them.
    """
    for letter in made:
        if isinstance(sources[letter], tf.data.Dataset):
            iter(sources[letter])


def sources_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns the data of training and validation, by their letters.

    Args:
        arguments: Of a call of ``fit``, by name.
    """
    return {TRAINING: arguments["x"], VALIDATION: arguments["validation_data"]}


def _adapter(iterator: EpochIterator) -> Any:
    """Returns Keras's own adapter of the data of an epoch iterator."""
    found = iterator.data_adapter
    return found.inner if isinstance(found, WrappedAdapter) else found


class EpochWatch(keras.callbacks.Callback):
    """Tells a run its epochs; stands behind the user's callbacks."""

    def __init__(self, run: FitRun):
        super().__init__()
        self._run = run
        self.given_epoch: int | None = None  # what other callbacks had set

    def on_train_begin(self, logs: Logs = None) -> None:
        del logs
        self.given_epoch = keras_internals.initial_epoch(self.model)
        if self._run.first_epoch is not None:
            keras_internals.set_initial_epoch(self.model, self._run.first_epoch)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        del logs
        self._run.epoch = epoch


def append(arguments: dict[str, Any], watch: Callback) -> None:
    """Adds a callback behind those that a ``fit`` was given.

    Args:
        arguments: Of the call, by name; changed.
        watch: The callback.
    """
    given = arguments["callbacks"]
    if isinstance(given, keras.callbacks.CallbackList):
        given.append(watch)
        watch.set_model(given.model)
    else:
        arguments["callbacks"] = [*callbacks.listed(given), watch]
