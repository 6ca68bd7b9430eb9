"""Keras's loop over the steps of an epoch, for a worker that takes some of them.

One training step of a worker on a batch of its own.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from fdtcore.glue import aggregation, batches, keras_internals, state
from fdtcore.glue.step import Step, under_way
from fdtcore.glue.steps import TracedStep
from fdtcore.keras_types import EpochIterator, Logs, Model, Structure
from nfdt.glue.batch_iterator import Batches, Execution
from nfdt.glue.collectives import WorkerCollectives
from nfdt.glue.epochs import Epochs
from nfdt.glue.layer_state import LayerState
from nfdt.glue.leased_data import LeasedAdapter, unmarked


@functools.cache
def patch() -> None:
    """Makes epochs over leased batches last until none is left; once."""
    plain, traced = keras_internals.EpochIterator, keras_internals.TFEpochIterator
    keras_internals.ENUMERATE.wrap(lambda inner: _for_leased(inner, _steps))
    traced.catch_stop_iteration = _for_leased(traced.catch_stop_iteration, _caught)
    plain.num_batches = property(_for_leased(plain.num_batches.fget, _num_batches))
    keras_internals.BUILD_FROM_ITERATOR.wrap(_peeking)
    keras_internals.RESULTS_OR_LOGS.wrap(_also_without_steps)


def _for_leased(inner: Callable, own: Callable) -> Callable:
    @functools.wraps(inner)
    def method(self: EpochIterator, *args: Any) -> Any:
        leased = isinstance(self.data_adapter, LeasedAdapter)
        return (own if leased else inner)(self, *args)

    return method


def _num_batches(self: EpochIterator) -> int | None:
    found: int | None = self.data_adapter.whole_num_batches
    return found


def _steps(self: EpochIterator) -> Iterator[tuple[int, int, Any]]:
    """Yields steps for as long as the data last, numbered as in the whole job.

    A batch is taken before its step: where none is left, there is none.
    """
    adapter, count = self.data_adapter, self.steps_per_execution
    adapter.begins()
    adapter.on_epoch_begin()
    while True:
        iterator = iter(keras_internals.batches_of_epoch(self))
        _, adapter.batch_spec = unmarked(iterator.element_spec)
        batches = Batches(adapter.numbered(), iterator)
        while batches.take():
            first = batches.number
            yield first, first + count - 1, batches.execution(count)
        if not adapter.goes_on():
            return


@contextlib.contextmanager
def _caught(self: EpochIterator) -> Iterator[None]:
    yield
    self.tf_sync()
    self.data_adapter.on_epoch_end()
    self.data_adapter.over()


def _also_without_steps(inner: Callable) -> Callable:
    """A worker that got no batch of an epoch has the metrics of those that did."""

    @functools.wraps(inner)
    def result(self: Model, logs: Logs) -> Any:
        return self.get_metrics_result() if logs == {} else inner(self, logs)

    return result


def _peeking(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def build(
        self: Model, iterator: EpochIterator = None, data_batch: Structure = None
    ) -> Any:
        adapter = getattr(iterator, "data_adapter", None)
        # Without a strategy Keras builds in the step, and takes no batch for it.
        if self.built or not keras_internals.has_strategy(self):
            return inner(self, iterator, data_batch)
        if not isinstance(adapter, LeasedAdapter):
            return inner(self, iterator, data_batch)
        with adapter.epochs.peeking():
            first = next(iter(keras_internals.batches_of_epoch(iterator)))
            _, batch = unmarked(first)
        return inner(self, None, batch)

    return build


class MarkedStep(Step):
    """A step on a batch that is marked.

    Args:
        collectives: Those of the workers.
        model: The user's Keras model.
        num_samples: Samples of the batch, scalar int32 tensor.
        mark: Epoch and number of the batch, int64 [2].
    """

    def __init__(
        self,
        collectives: WorkerCollectives,
        model: Model,
        num_samples: tf.Tensor,
        mark: tf.Tensor,
    ):
        super().__init__(collectives, model, num_samples)
        self.mark = mark


class LeasedStep(TracedStep):
    """Wraps a model's step: takes the mark off the batch, and says when it is done.

    Args:
        collectives: Those of the workers.
        epochs: This worker's count of epochs, and its leases.
        layer_state: Looks at what the first steps of an epoch do.
        batch_done: Is told the mark of each batch that was trained on.
        model: The user's Keras model.
        step: The model's ``train_step``, as Keras or the user defines it.
    """

    _collectives: WorkerCollectives

    def __init__(
        self,
        collectives: WorkerCollectives,
        epochs: Epochs,
        layer_state: LayerState,
        batch_done: Callable[[tf.Tensor], None],
        model: Model,
        step: Callable,
    ):
        super().__init__(collectives, model, step)
        self._epochs, self._layer_state = epochs, layer_state
        self._batch_done = batch_done

    def function(self, inner: Callable) -> Callable:
        """Returns the function of a training step, which Keras's loop calls.

        Args:
            inner: Keras's own, for batches that nobody has taken yet.
        """
        step = keras_internals.without_optionals(self.model, self)

        def on_taken(batch: Structure) -> Any:
            return step(batch.get_value())

        if not self.model.run_eagerly:
            on_taken = tf.function(on_taken, autograph=False)

        def run(batches: Execution | EpochIterator) -> Any:
            if not isinstance(batches, Execution):
                return inner(batches)
            for batch in batches:
                logs = on_taken(batch)
            return logs

        return run

    def __call__(self, data: Structure) -> Any:
        mark, batch = unmarked(data)
        count = batches.count(batch)
        step = MarkedStep(self._collectives, self.model, count, mark)
        with under_way(step), aggregation.observed(self.model, step):
            if tf.executing_eagerly():
                logs = self.step(batch)
            else:
                # In the trace its variables would have no value that can be read.
                if not self.model.built:
                    state.build(self.model, batch)
                run = self.traced(batch)
                self._layer_state.see(self.model)  # if tracing has built it
                logs = run()
            self._batch_done(mark)
        return logs

    def after(self) -> None:
        """Looks at what the first steps of an epoch have done."""
        taken, at_once = self._epochs.taken, self.model.steps_per_execution
        self._layer_state.stepped(self.model, lambda: min(taken, at_once))
