"""Keras's loop over the steps of an epoch, for a worker that takes some of them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from keras.src.backend.tensorflow import trainer as tf_trainer
from keras.src.trainers import epoch_iterator

from nfdt.glue.batch_iterator import Batches
from nfdt.glue.leased_data import LeasedAdapter, unmarked

_patched: list[bool] = []


def patch() -> None:
    """Makes epochs over leased batches last until none is left; once."""
    if _patched:
        return
    _patched.append(True)
    plain, traced = epoch_iterator.EpochIterator, tf_trainer.TFEpochIterator
    plain._enumerate_iterator = _for_leased(plain._enumerate_iterator, _steps)
    traced.catch_stop_iteration = _for_leased(traced.catch_stop_iteration, _caught)
    plain.num_batches = property(_for_leased(plain.num_batches.fget, _num_batches))
    trainer = tf_trainer.TensorFlowTrainer
    trainer._maybe_symbolic_build = _peeking(trainer._maybe_symbolic_build)
    trainer._get_metrics_result_or_logs = _also_without_steps(
        trainer._get_metrics_result_or_logs
    )


def _for_leased(inner: Callable, own: Callable) -> Callable:
    @functools.wraps(inner)
    def method(self: Any, *args: Any) -> Any:
        leased = isinstance(self.data_adapter, LeasedAdapter)
        return (own if leased else inner)(self, *args)

    return method


def _num_batches(self: Any) -> int | None:
    found: int | None = self.data_adapter.whole_num_batches
    return found


def _steps(self: Any) -> Iterator[tuple[int, int, Any]]:
    """Yields steps for as long as the data last, numbered as in the whole job.

    A batch is taken before its step: where none is left, there is none.
    """
    adapter, count = self.data_adapter, self.steps_per_execution
    adapter.begins()
    adapter.on_epoch_begin()
    iterator = iter(self._get_iterator())
    _, adapter.batch_spec = unmarked(iterator.element_spec)
    batches = Batches(adapter.numbered(), iterator)
    while batches.take():
        first = batches.number
        yield first, first + count - 1, batches.execution(count)


@contextlib.contextmanager
def _caught(self: Any) -> Iterator[None]:
    yield
    self.tf_sync()
    self.data_adapter.on_epoch_end()
    self.data_adapter.over()


def _also_without_steps(inner: Callable) -> Callable:
    """A worker that got no batch of an epoch has the metrics of those that did."""

    @functools.wraps(inner)
    def result(self: Any, logs: Any) -> Any:
        return self.get_metrics_result() if logs == {} else inner(self, logs)

    return result


def _peeking(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def build(self: Any, iterator: Any = None, data_batch: Any = None) -> Any:
        adapter = getattr(iterator, "data_adapter", None)
        # Without a strategy Keras builds in the step, and takes no batch for it.
        if self.built or self._distribute_strategy is None:
            return inner(self, iterator, data_batch)
        if not isinstance(adapter, LeasedAdapter):
            return inner(self, iterator, data_batch)
        with adapter.epochs.peeking():
            _, batch = unmarked(next(iter(iterator._get_iterator())))
        return inner(self, None, batch)

    return build
