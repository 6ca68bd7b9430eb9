"""One training or test step on this rank's part of a batch."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from fdtcore import output
from fdtcore.engine import Collectives, Engine, WrappedStep
from fdtcore.glue import (
    aggregation,
    batches,
    binding,
    keras_internals,
    marks,
    metrics,
    optimizer,
    rehearsal,
    state,
)
from fdtcore.glue.state import InitialState
from fdtcore.glue.step import (
    NeedsCollective,
    PartCollectives,
    SharedStep,
    shared,
    under_way,
)
from fdtcore.keras_types import Model, Structure, TensorFlowIterator


@contextlib.contextmanager
def logs_of_all_ranks(wanted: bool) -> Iterator[None]:
    """Makes the logs of each step those of the whole batch while the block runs."""
    with binding.context().has_whole_logs.given(wanted):
        yield


def patch() -> None:
    """Makes bound models train and test on parts."""
    trainer = keras_internals.Trainer
    for kind in ("train", "test"):
        name = f"make_{kind}_function"
        setattr(trainer, name, _maker(kind, getattr(trainer, name)))


def _maker(kind: str, inner: Callable) -> Callable:
    @functools.wraps(inner)
    def make(self: Model, force: bool = False) -> Any:
        engine = binding.engine_of_model(self)
        wrap = None if engine is None else engine.strategy.step_on(kind)
        if engine is None or wrap is None:
            return inner(self, force)
        existing = getattr(self, f"{kind}_function")
        if existing is not None and not force:
            return existing
        step = wrap(self, getattr(self, f"{kind}_step"))
        # The collective cannot be compiled: only what lies inside the step is.
        compiled, self.jit_compile = self.jit_compile, False
        try:
            function = step.function(keras_internals.make_function(self, step))
        finally:
            self.jit_compile = compiled
        function = _announced(engine, self, step, kind, function)
        setattr(self, f"{kind}_function", function)

    return make


def _announced(
    engine: Engine, model: Model, step: WrappedStep, kind: str, function: Callable
) -> Callable:
    count = 0

    def call(iterator: TensorFlowIterator) -> Any:
        nonlocal count
        count += 1
        iterator = step.before(kind, iterator)
        with engine.collectives.joining(f"{kind} step {count} of {model.name}"):
            try:
                logs = function(iterator)
            except tf.errors.OpError as error:
                # What the step found out says more than what TensorFlow makes of it.
                raise (engine.strategy.finding or error) from None
        step.after()
        if kind == "train" and binding.context().has_whole_logs.now:
            logs = keras_internals.results_or_logs(model, logs)
        return logs

    return call


class TracedStep:
    """Wraps a model's step; under XLA it communicates outside what is compiled.

    Args:
        collectives: Those of the ranks.
        model: The user's Keras model.
        step: Its ``train_step`` or ``test_step``.
    """

    def __init__(self, collectives: Collectives, model: Model, step: Callable):
        self._collectives, self.model, self.step = collectives, model, step
        self.compiled = bool(model.jit_compile)
        self.__name__ = getattr(step, "__name__", "step")

    def function(self, inner: Callable) -> Callable:
        """Returns what Keras's loop calls; ``inner`` is what Keras makes of this."""
        return inner

    def before(self, kind: str, iterator: TensorFlowIterator) -> Any:
        """Returns the iterator that a call takes, as it is."""
        del kind
        return iterator

    def after(self) -> None:
        """Is told of the end of each call, which may be of several steps."""

    def traced(self, data: Structure) -> Callable:
        """Traces the step on a batch; returns what runs it."""
        if self.compiled:
            try:
                return self._xla(data)
            except NeedsCollective as error:
                self.compiled = False
                output.say(
                    self._collectives.process,
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

    def _xla(self, data: Structure) -> Callable:
        """Compiles the gradients and leaves the step of the optimizer outside."""
        calls: list[Any] = []

        def gradients(data: Structure) -> Any:
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
    """Wraps a model's step so that it trains on this rank's part of each batch.

    Args:
        collectives: Those of the ranks, which share each batch.
        initial_state: Gives all ranks what rank 0 begins with.
        model: The user's Keras model.
        step: Its ``train_step`` or ``test_step``.
        rehearses: Whether the first batch is tried before it trains.
    """

    _collectives: PartCollectives

    def __init__(
        self,
        collectives: PartCollectives,
        initial_state: InitialState,
        model: Model,
        step: Callable,
        *,
        rehearses: bool,
    ):
        super().__init__(collectives, model, _begun(step))
        self._initial_state, self._rehearses = initial_state, rehearses
        self._kinds: dict[str, list[str]] = {}
        self._is_unchecked = False  # whether ranks began alike, to be seen afterwards

    def before(self, kind: str, iterator: TensorFlowIterator) -> Any:
        """Finds out, before the first call, what the step's values are of parts."""
        if self._rehearses:
            self._rehearses = False
            self._kinds, iterator = rehearsal.on_first_batch(
                self._collectives, self.model, kind, iterator
            )
        is_outside_fit = self.model not in self._initial_state
        if kind == "train" and self.model.built and is_outside_fit:
            self._initial_state.share(self.model)
        return iterator

    def after(self) -> None:
        """Refuses weights that differ, where ranks could not begin alike before."""
        if self._is_unchecked:
            state.check(self._collectives, self.model)
            self._is_unchecked = False

    def __call__(self, data: Structure) -> Any:
        total, data = marks.unmarked(data)
        num_samples = batches.count(data)
        remember(num_samples)
        data = batches.fill(data, num_samples)
        step = SharedStep(
            self._collectives, self.model, num_samples, total, self._kinds
        )
        if not self.model.built:
            self._is_unchecked = not state.build(self.model, data)
            with tf.init_scope():
                self._initial_state.share(self.model)
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
    def run(data: Structure) -> Any:
        if now := shared():
            now.begin()
        return step(data)

    return run


def _own(model: Model, name: str) -> bool:
    # Keras's own step does nothing after ``apply`` that reads a trained variable.
    return getattr(type(model), name) is getattr(keras_internals.Trainer, name)


def remember(num_samples: tf.Tensor) -> None:
    context = binding.context()
    if context.step_samples is None:
        with tf.init_scope():
            context.step_samples = tf.Variable(0, trainable=False, dtype=tf.int32)
    context.step_samples.assign(num_samples)


def _state(model: Model) -> list[tuple[Any, tf.Tensor]]:
    variables = metrics.variables(model) + metrics.moving_statistics(model)
    return [(v, tf.identity(v.value)) for v in variables]


def _restore_if_empty(
    model: Model, before: list[tuple[Any, tf.Tensor]], num_samples: tf.Tensor
) -> None:
    if not before:
        return

    def restore() -> None:
        for variable, value in before:
            variable.value.assign(value)

    tf.cond(num_samples > 0, lambda: None, restore)
