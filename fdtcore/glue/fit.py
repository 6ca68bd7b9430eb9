"""``fit``, ``evaluate`` and the ``*_on_batch`` methods of a bound model."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf
from keras import tree

from fdtcore import evidence, threads
from fdtcore.engine import Collectives, Engine
from fdtcore.glue import (
    batches,
    binding,
    callbacks,
    data,
    keras_internals,
    marks,
    metrics,
    refusals,
    rehearsal,
    saving,
    state,
    steps,
)
from fdtcore.glue.state import InitialState
from fdtcore.glue.step import share_of_samples
from fdtcore.keras_types import Callback, Logs, Model, Tensor
from fdtcore.process import Process


def patch() -> None:
    """Wraps the methods of Keras's trainer that read data."""
    trainer = keras_internals.Trainer
    trainer.fit = _reads_data(trainer.fit, "fit")
    trainer.evaluate = _reads_data(trainer.evaluate, "evaluate")
    trainer.predict = _in_replica(trainer.predict)
    for name in ("train_on_batch", "test_on_batch"):
        setattr(trainer, name, _takes_batch(getattr(trainer, name), name))
    keras_internals.RESULTS_OR_LOGS.wrap(_of_all_ranks)


def _reads_data(inner: Callable, name: str) -> Callable:
    signature = inspect.signature(inner)

    @functools.wraps(inner)
    def method(self: Model, *args: Any, **kwargs: Any) -> Any:
        engine = binding.engine_of_model(self)
        if engine is None:
            return inner(self, *args, **kwargs)
        call = signature.bind(self, *args, **kwargs)
        call.apply_defaults()
        refusals.check_strategy(engine.process, self.distribute_strategy)
        around = getattr(engine.strategy, name)
        with _in_one_thread(engine, name):
            result = around(
                self, call.arguments, lambda: inner(*call.args, **call.kwargs)
            )
        together = saving.together()
        if together is not None and name == "fit":
            # What callbacks have written is there for all.
            with together.joining("end of fit"):
                saving.meet(together)
        return result

    return _looked_at(method) if name == "fit" else method


def _looked_at(fit: Callable) -> Callable:
    """Notes a ``fit`` that trains by assignments of its own, which nobody else sees."""

    @functools.wraps(fit)
    def method(self: Model, *args: Any, **kwargs: Any) -> Any:
        if not evidence.is_wanted() or not self.built:
            return fit(self, *args, **kwargs)
        before = state.digest(self.trainable_variables)
        result = fit(self, *args, **kwargs)
        if evidence.is_wanted() and state.digest(self.trainable_variables) != before:
            evidence.note_step(f"the steps of {self.name}")
        return result

    return method


def _in_one_thread(engine: Engine, name: str) -> AbstractContextManager[None]:
    if engine.strategy.in_parts and engine.process.size == 1:
        return contextlib.nullcontext()  # as Keras does it
    return threads.one_at_a_time(name)


def fit_in_parts(
    collectives: Collectives,
    arguments: dict[str, Any],
    run: Callable[[], Any],
    *,
    initial_state: InitialState,
    own_callbacks: Sequence[Callback],
    batch: str,
) -> Any:
    """Runs a ``fit`` in which every rank takes its part of each batch.

    Args:
        collectives: Those of the ranks.
        arguments: Of the call, by name; changed.
        run: Keras's own ``fit`` with them.
        initial_state: Gives all ranks what rank 0 begins with.
        own_callbacks: Callbacks of the framework.
        batch: ``"global"``: a rank takes its part of each batch; ``"per_worker"``:
            whole batches, dealt in turn.
    """
    arguments["callbacks"] = callbacks.distributed(
        arguments["callbacks"], collectives, initial_state, own_callbacks
    )
    with (
        _reading(collectives.process, arguments, batch),
        steps.logs_of_all_ranks(callbacks.read_batches(arguments["callbacks"])),
    ):
        return run()


def evaluate_in_parts(
    collectives: Collectives,
    model: Model,
    arguments: dict[str, Any],
    run: Callable[[], Any],
    *,
    batch: str,
) -> Any:
    """Runs an ``evaluate`` in which every rank takes its part of each batch.

    Args:
        collectives: Those of the ranks.
        model: The user's Keras model.
        arguments: Of the call, by name; changed.
        run: Keras's own ``evaluate`` with them.
        batch: How a batch is divided, as for :func:`fit_in_parts`.
    """
    collectives.average(metrics.moving_statistics(model) if model.built else [])
    with _reading(collectives.process, arguments, batch):
        return run()


@contextlib.contextmanager
def _reading(process: Process, arguments: dict[str, Any], batch: str) -> Iterator[None]:
    if process.rank:
        arguments["verbose"] = 0
    with data.splitting(process, batch):
        yield


def _in_replica(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def predict(self: Model, *args: Any, **kwargs: Any) -> Any:
        with data.adapting(None):
            return inner(self, *args, **kwargs)

    return predict


def _takes_batch(inner: Callable, name: str) -> Callable:
    signature = inspect.signature(inner)

    @functools.wraps(inner)
    def on_batch(self: Model, *args: Any, **kwargs: Any) -> Any:
        engine = binding.engine_of_model(self)
        if engine is None:
            return inner(self, *args, **kwargs)
        with _in_one_thread(engine, name):
            call = signature.bind(self, *args, **kwargs)
            call.apply_defaults()
            return engine.strategy.on_batch(
                self, call.arguments, lambda: inner(*call.args, **call.kwargs)
            )

    return on_batch


def on_batch_in_parts(
    process: Process, model: Model, arguments: dict[str, Any], run: Callable[[], Any]
) -> Any:
    """Trains or tests on one batch, of which every rank takes its part.

    Args:
        process: This process: its rank, the number of ranks, its host.
        model: The user's Keras model.
        arguments: Of the call, by name; changed.
        run: Keras's own method with them.
    """
    names = [n for n in ("x", "y", "sample_weight") if arguments[n] is not None]
    whole = tree.map_structure(_tensor, [arguments[n] for n in names])
    own = batches.part(whole, process)
    arguments.update(zip(names, own, strict=True))
    if process.size > 1:
        arguments["x"] = marks.marked(batches.count(whole), arguments["x"])
    as_dict = arguments["return_dict"]
    arguments["return_dict"] = True
    logs = keras_internals.results_or_logs(model, run())
    return logs if as_dict else keras_internals.in_order(model, logs)


def _tensor(leaf: Tensor) -> Any:
    kept = isinstance(leaf, tf.SparseTensor | tf.RaggedTensor)
    return leaf if kept else tf.convert_to_tensor(leaf)


def _of_all_ranks(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def result(self: Model, logs: Logs) -> Any:
        engine = binding.engine_of_model(self)
        if engine is None or engine.process.size == 1:
            return inner(self, logs)
        if not engine.strategy.in_parts:
            return metrics.copied(inner(self, logs))
        with metrics.of_all_ranks(engine.collectives, self):
            values = inner(self, logs)
            if values is not logs or not isinstance(logs, dict):
                return metrics.copied(values)
            # A step of the user's own: what it names like a metric is the metric's.
            known = metrics.copied(self.get_metrics_result())
        mine = {k: v for k, v in logs.items() if k not in known}
        whole = {**known, **averaged(engine.collectives, self, mine)}
        return {k: whole[k] for k in logs}

    return result


def averaged(collectives: Collectives, model: Model, logs: Logs) -> Logs:
    """Averages what a step returned as it is over the samples of the last batch.

    A sum over samples is summed.
    """
    if not logs:
        return logs
    count = binding.context().step_samples
    share = share_of_samples(collectives, count.value())
    values = [
        tf.cast(value, tf.float32) * (1.0 if rehearsal.is_sum(model, name) else share)
        if share > 0
        else tf.zeros(tf.shape(value))
        for name, value in logs.items()
    ]
    return dict(zip(logs, collectives.sum(values, "logs of a step"), strict=True))
