"""``fit``, ``evaluate`` and the ``*_on_batch`` methods of a bound model."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf
from keras.src import tree
from keras.src.backend.tensorflow import trainer as tf_trainer

from fdtcore import evidence, threads
from fdtcore.engine import Engine
from fdtcore.glue import (
    batches,
    binding,
    callbacks,
    data,
    metrics,
    refusals,
    rehearsal,
    saving,
    state,
    steps,
)


def patch() -> None:
    """Wraps the methods of Keras's trainer that read data."""
    trainer = tf_trainer.TensorFlowTrainer
    trainer.fit = _reads_data(trainer.fit, "fit")
    trainer.evaluate = _reads_data(trainer.evaluate, "evaluate")
    trainer.predict = _in_replica(trainer.predict)
    for name in ("train_on_batch", "test_on_batch"):
        setattr(trainer, name, _takes_batch(getattr(trainer, name), name))
    trainer._get_metrics_result_or_logs = _of_all_ranks(
        trainer._get_metrics_result_or_logs
    )


def _reads_data(inner: Callable, name: str) -> Callable:
    signature = inspect.signature(inner)

    @functools.wraps(inner)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        engine = binding.engine_of_model(self)
        if engine is None:
            return inner(self, *args, **kwargs)
        call = signature.bind(self, *args, **kwargs)
        call.apply_defaults()
        refusals.check_strategy(engine.process, self._distribute_strategy)
        around = getattr(engine, name)
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
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not evidence.is_wanted() or not self.built:
            return fit(self, *args, **kwargs)
        before = state.digest(self.trainable_variables)
        result = fit(self, *args, **kwargs)
        if evidence.is_wanted() and state.digest(self.trainable_variables) != before:
            evidence.note_step(f"the steps of {self.name}")
        return result

    return method


def _in_one_thread(engine: Engine, name: str) -> AbstractContextManager[None]:
    if engine.in_parts and engine.process.size == 1:
        return contextlib.nullcontext()  # as Keras does it
    return threads.one_at_a_time(name)


def fit_in_parts(
    engine: Engine, model: Any, arguments: dict[str, Any], run: Callable[[], Any]
) -> Any:
    """Runs a ``fit`` in which every rank takes its part of each batch.

    Args:
        engine: The engine.
        model: The model.
        arguments: Of the call, by name; changed.
        run: Keras's own ``fit`` with them.
    """
    model._assert_compile_called("fit")  # it has no optimizer else
    given = arguments["callbacks"]
    refusals.check_stateful(engine, model)
    engine.prepare(model.optimizer)
    arguments["callbacks"] = callbacks.distributed(given, engine)
    with (
        _reading(engine, arguments),
        engine.fitting(arguments["callbacks"]),
        steps.logs_of_all_ranks(callbacks.read_batches(arguments["callbacks"])),
    ):
        return run()


def evaluate_in_parts(
    engine: Engine, model: Any, arguments: dict[str, Any], run: Callable[[], Any]
) -> Any:
    """Runs an ``evaluate`` in which every rank takes its part of each batch."""
    refusals.check_stateful(engine, model)
    engine.average(metrics.moving_statistics(model) if model.built else [])
    with _reading(engine, arguments):
        return run()


@contextlib.contextmanager
def _reading(engine: Engine, arguments: dict[str, Any]) -> Iterator[None]:
    if engine.process.rank:
        arguments["verbose"] = 0
    with data.splitting(engine.process, engine.batch):
        yield


def _in_replica(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def predict(self: Any, *args: Any, **kwargs: Any) -> Any:
        with data.adapting(None):
            return inner(self, *args, **kwargs)

    return predict


def _takes_batch(inner: Callable, name: str) -> Callable:
    signature = inspect.signature(inner)

    @functools.wraps(inner)
    def on_batch(self: Any, *args: Any, **kwargs: Any) -> Any:
        engine = binding.engine_of_model(self)
        if engine is None:
            return inner(self, *args, **kwargs)
        with _in_one_thread(engine, name):
            return own_part(engine, self, *args, **kwargs)

    def own_part(engine: Engine, self: Any, *args: Any, **kwargs: Any) -> Any:
        call = signature.bind(self, *args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        if not engine.in_parts:
            return engine.on_batch(
                self, name, given, lambda: inner(*call.args, **call.kwargs)
            )
        refusals.check_stateful(engine, self)
        names = [n for n in ("x", "y", "sample_weight") if given[n] is not None]
        whole = tree.map_structure(_tensor, [given[n] for n in names])
        own = batches.part(whole, engine.process)
        given.update(zip(names, own, strict=True))
        as_dict = given["return_dict"]
        given["return_dict"] = True
        logs = self._get_metrics_result_or_logs(inner(*call.args, **call.kwargs))
        return logs if as_dict else self._flatten_metrics_in_order(logs)

    return on_batch


def _tensor(leaf: Any) -> Any:
    kept = isinstance(leaf, tf.SparseTensor | tf.RaggedTensor)
    return leaf if kept else tf.convert_to_tensor(leaf)


def _of_all_ranks(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def result(self: Any, logs: Any) -> Any:
        engine = binding.engine_of_model(self)
        if engine is None or engine.process.size == 1:
            return inner(self, logs)
        if not engine.in_parts:
            return metrics.copied(inner(self, logs))
        with metrics.of_all_ranks(engine, self):
            values = inner(self, logs)
            if values is not logs or not isinstance(logs, dict):
                return metrics.copied(values)
            # A step of the user's own: what it names like a metric is the metric's.
            known = metrics.copied(self.get_metrics_result())
        mine = {k: v for k, v in logs.items() if k not in known}
        whole = {**known, **averaged(engine, self, mine)}
        return {k: whole[k] for k in logs}

    return result


def averaged(engine: Any, model: Any, logs: Any) -> Any:
    """Averages what a step returned as it is over the samples of the last batch.

    A sum over samples is summed.
    """
    if not logs:
        return logs
    count = steps.last_num_samples[0]
    share = engine.share(count.value())
    values = [
        tf.cast(value, tf.float32) * (1.0 if rehearsal.is_sum(model, name) else share)
        if share > 0
        else tf.zeros(tf.shape(value))
        for name, value in logs.items()
    ]
    return dict(zip(logs, engine.sum(values, "logs of a step"), strict=True))
