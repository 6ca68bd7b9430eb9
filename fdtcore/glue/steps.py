"""One training or test step on this rank's part of a batch."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from keras.src.backend.tensorflow import trainer as tf_trainer

from fdtcore import output
from fdtcore.engine import Engine
from fdtcore.glue import (
    aggregation,
    batches,
    binding,
    metrics,
    optimizer,
    rehearsal,
    state,
)
from fdtcore.glue.step import NeedsCollective, Step, current, under_way

# Whether callbacks of the fit that runs read the logs of each batch.
whole_logs: list[bool] = [False]
# Samples of the last step on this rank, for values that a step returns as they are.
last_num_samples: list[tf.Variable] = []


@contextlib.contextmanager
def logs_of_all_ranks(wanted: bool) -> Iterator[None]:
    """Makes the logs of each step those of the whole batch while the block runs."""
    whole_logs.append(wanted)
    try:
        yield
    finally:
        whole_logs.pop()


def patch() -> None:
    """Makes bound models train and test on parts."""
    trainer = tf_trainer.TensorFlowTrainer
    for kind in ("train", "test"):
        name = f"make_{kind}_function"
        setattr(trainer, name, _maker(kind, getattr(trainer, name)))


def _maker(kind: str, inner: Callable) -> Callable:
    @functools.wraps(inner)
    def make(self: Any, force: bool = False) -> Any:
        engine = binding.engine_of_model(self)
        wrap = None if engine is None else engine.step_on(kind)
        if engine is None or wrap is None:
            return inner(self, force)
        existing = getattr(self, f"{kind}_function")
        if existing is not None and not force:
            return existing
        step = wrap(engine, self, getattr(self, f"{kind}_step"))
        # The collective cannot be compiled: only what lies inside the step is.
        with binding.replaced(self, "_jit_compile", False):
            function = step.function(self._make_function(step))
        setattr(self, f"{kind}_function", _announced(step, kind, function))

    return make


def _announced(step: TracedStep, kind: str, function: Callable) -> Callable:
    engine, model, count = step.engine, step.model, 0

    def call(iterator: Any) -> Any:
        nonlocal count
        count += 1
        if step.is_new:
            step.is_new = False
            iterator = step.rehearse(kind, iterator)
        if kind == "train" and model.built and not engine.has_agreed(model):
            state.agree(engine, model)  # outside fit, which has done it
        with engine.joining(f"{kind} step {count} of {model.name}"):
            try:
                logs = function(iterator)
            except tf.errors.OpError as error:
                # What the engine found out says more than what TensorFlow makes of it.
                raise (engine.finding or error) from None
        step.ran()
        if step.unchecked:
            state.check(engine, model)
            step.unchecked = False
        if kind == "train" and whole_logs[-1]:
            logs = model._get_metrics_result_or_logs(logs)
        return logs

    return call


class TracedStep:
    """Wraps a model's step; under XLA it communicates outside what is compiled.

    Args:
        engine: The engine.
        model: The model.
        step: Its ``train_step`` or ``test_step``.
    """

    def __init__(self, engine: Engine, model: Any, step: Callable):
        self.engine, self.model, self.step = engine, model, step
        self.compiled = bool(model.jit_compile)
        # Whether the ranks began alike is to be seen after the step.
        self.unchecked = False
        self.is_new = True  # no batch has been seen yet
        self.__name__ = getattr(step, "__name__", "step")

    def function(self, inner: Callable) -> Callable:
        """Returns what Keras's loop calls; ``inner`` is what Keras makes of this."""
        return inner

    def rehearse(self, kind: str, iterator: Any) -> Any:
        """Looks at what the first call takes; returns what it takes then."""
        del kind
        return iterator

    def ran(self) -> None:
        """Is told of each run, which may be of several steps."""

    def traced(self, data: Any) -> Callable:
        """Traces the step on a batch; returns what runs it."""
        if self.compiled:
            try:
                return self._xla(data)
            except NeedsCollective as error:
                self.compiled = False
                output.say(
                    self.engine.process,
                    f"{self.__name__} of {self.model.name} runs without XLA: {error} "
                    "needs all ranks in its middle. The numbers are the same.",
                )
        # One operation, which runs when its batch is there: taken apart, what does not
        # look at the batch would run where there is none.
        whole = {"_noinline": True}
        function = tf.function(
            self.step, autograph=False, experimental_attributes=whole
        )
        function.get_concrete_function(data)
        return lambda: function(data)

    def _xla(self, data: Any) -> Callable:
        """Compiles the gradients and leaves the step of the optimizer outside."""
        calls: list[Any] = []

        def gradients(data: Any) -> Any:
            with optimizer.recording() as recorded:
                logs = self.step(data)
            calls[:] = recorded
            if not _own(self.model, self.__name__) and calls:
                raise NeedsCollective("a train_step of your own")
            present = [[g for g in gs if g is not None] for _, gs, _ in calls]
            return logs, present

        function = tf.function(gradients, jit_compile=True, autograph=False)
        function.get_concrete_function(data)

        def call() -> Any:
            logs, present = function(data)
            for (applied, pattern, variables), found in zip(calls, present):
                values = iter(found)
                full = [None if g is None else next(values) for g in pattern]
                applied.apply(full, variables)
            return logs

        return call


class PartStep(TracedStep):
    """Wraps a model's step so that it trains on this rank's part of each batch."""

    def __init__(self, engine: Engine, model: Any, step: Callable):
        super().__init__(engine, model, _begun(step))
        self._kinds: dict[str, list[str]] = {}

    def rehearse(self, kind: str, iterator: Any) -> Any:
        """Finds out what the step's values are of parts."""
        self._kinds, iterator = rehearsal.on_first_batch(
            self.engine, self.model, kind, iterator
        )
        return iterator

    def __call__(self, data: Any) -> Any:
        num_samples = batches.count(data)
        remember(num_samples)
        data = batches.fill(data, num_samples)
        step = Step(self.engine, self.model, num_samples, self._kinds)
        if not self.model.built:
            self.unchecked = not state.build(self.model, data)
            with tf.init_scope():
                state.agree(self.engine, self.model)
        with under_way(step), aggregation.observed(self.model, step):
            if tf.executing_eagerly():
                before = _state(self.model)
                logs = self.step(data)
            else:
                call = self.traced(data)
                # Read after tracing, which builds the model, and before the step.
                before = _state(self.model)
                logs = call()
            _restore_if_empty(self.model, before, num_samples)
        return logs


def _begun(step: Callable) -> Callable:
    @functools.wraps(step)
    def run(data: Any) -> Any:
        if now := current():
            now.begin()
        return step(data)

    return run


def _own(model: Any, name: str) -> bool:
    # Keras's own step does nothing after ``apply`` that reads a trained variable.
    return getattr(type(model), name) is getattr(tf_trainer.TensorFlowTrainer, name)


def remember(num_samples: tf.Tensor) -> None:
    if not last_num_samples:
        with tf.init_scope():
            last_num_samples.append(tf.Variable(0, trainable=False, dtype=tf.int32))
    last_num_samples[0].assign(num_samples)


def _state(model: Any) -> list[tuple[Any, tf.Tensor]]:
    variables = metrics.variables(model) + metrics.moving_statistics(model)
    return [(v, tf.identity(v.value)) for v in variables]


def _restore_if_empty(model: Any, before: Any, num_samples: tf.Tensor) -> None:
    if not before:
        return

    def restore() -> None:
        for variable, value in before:
            variable.value.assign(value)

    tf.cond(num_samples > 0, lambda: None, restore)
