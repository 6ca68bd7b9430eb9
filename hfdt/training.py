"""The synchronous strategy: one mean of all ranks' gradients per step."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import keras
import tensorflow as tf

from fdtcore import output
from fdtcore.glue import (
    fit,
    keras_internals,
    loops,
    metrics,
    state,
    step,
    steps,
    wrappers,
)
from fdtcore.glue import refusals as strategy_refusals
from fdtcore.glue.callbacks import listed
from fdtcore.glue.snapshots import Snapshots
from fdtcore.glue.state import InitialState
from fdtcore.keras_types import (
    Callback,
    Callbacks,
    Gradient,
    Model,
    Optimizer,
    Variable,
)
from hfdt import finite, rates, refusals
from hfdt.collectives import HorovodCollectives
from hfdt.compression import Compression, EpochCount
from hfdt.gradients import Reduction
from hfdt.options import Options
from hfdt.step_times import StepTimes, TimedStep
from hfdt.telemetry.recorder import Recorder


class SynchronousTraining:
    """Trains one model on all ranks, each on its part of every batch.

    Args:
        collectives: Those of the ranks.
        options: The user's options of HFDT, the same on every rank.
    """

    in_parts = True
    handed_on = None  # it stands outermost

    def __init__(self, collectives: HorovodCollectives, options: Options):
        self.options = options
        self.initial_state = InitialState(collectives, "hfdt")
        self.finding: Exception | None = None
        self.snapshots: Snapshots | None = None
        self._collectives = collectives
        self._times: StepTimes | None = None
        self.compression: Compression | None = None
        self.recorder: Recorder | None = None
        self.choose(options)
        # Places are never reused: when an optimizer is freed differs between ranks.
        self._places = itertools.count()
        self._order: weakref.WeakKeyDictionary[Optimizer, int] = (
            weakref.WeakKeyDictionary()
        )
        self._prepared: weakref.WeakSet[Optimizer] = weakref.WeakSet()

    def choose(self, options: Options) -> None:
        """Trains as the user chose, among the ranks that the collectives are now of."""
        self.options = options
        if options.stats and self._times is None and self._collectives.process.size > 1:
            self._times = StepTimes(self._collectives)
        chosen = options.stateful_compression
        if chosen is None:
            self.compression = None
        elif self.compression is None:
            self.compression = Compression(chosen, self._say)
        self._reduce = Reduction(
            self._collectives.communicator, options, self.compression
        )

    def record(self, recorder: Recorder) -> None:
        """Tells a recorder of what the ranks exchange from now on."""
        self.recorder = recorder
        self._collectives.observe(recorder.operation, of_work=True)
        self.choose(self.options)  # sums through what tells of them

    def fit(
        self, model: Model, arguments: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        """Runs Keras's ``fit``, each rank on its part of every batch."""

        def surrounded() -> Any:
            times = self._times.of_fit() if self._times else nullcontext()
            with self._fitting(arguments["callbacks"]), times:
                return run()

        keras_internals.check_compiled(model, "fit")  # it has no optimizer else
        self._check_stateful(model)
        self._prepare(model.optimizer)

        def in_parts() -> Any:
            return fit.fit_in_parts(
                self._collectives,
                arguments,
                surrounded,
                initial_state=self.initial_state,
                own_callbacks=self._callbacks(),
                batch=self.options.batch,
            )

        if self.snapshots is None:
            return in_parts()
        for optimizer in wrappers.within(model):
            self._prepare(optimizer)  # before it is given what was kept
        return self.snapshots.fit(model, arguments, in_parts)

    def evaluate(
        self, model: Model, arguments: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        """Runs Keras's ``evaluate``, each rank on its part of every batch."""
        self._check_stateful(model)
        return fit.evaluate_in_parts(
            self._collectives, model, arguments, run, batch=self.options.batch
        )

    def on_batch(
        self, model: Model, arguments: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        """Trains or tests on one batch, each rank on its part."""
        self._check_stateful(model)
        return fit.on_batch_in_parts(self._collectives.process, model, arguments, run)

    def iterate(
        self, dataset: tf.data.Dataset, inner: Callable[[Any], Any], line: int
    ) -> Any:
        """Iterates this rank's part of each batch."""
        return loops.iterate_parts(self._collectives.process, dataset, inner, line)

    def step_on(self, kind: str) -> Callable[[Model, Callable], steps.PartStep] | None:
        """Steps on parts; on one rank Keras's own."""
        if self._collectives.process.size == 1:
            return None
        part_step: Callable[..., steps.PartStep] = steps.PartStep
        if self._times and kind == "train":
            part_step = functools.partial(TimedStep, self._times)
        return functools.partial(
            part_step,
            self._collectives,
            self.initial_state,
            rehearses=self.options.batch == "global",
        )

    def settle(self, model: Model) -> None:
        """Averages what has drifted apart, before a model is saved."""
        self._collectives.average(metrics.moving_statistics(model))

    def apply(
        self,
        optimizer: Optimizer,
        gradients: list[Gradient],
        variables: list[Variable] | None,
        inner: Callable[[Any, Any], Any],
    ) -> Any:
        """Applies the mean gradient of all ranks.

        ::

            g = sum_r share_r * g_r,   sum_r share_r = 1

        Args:
            optimizer: The outermost optimizer, which holds any others.
            gradients: A tensor, ``IndexedSlices`` or None for each variable.
            variables: The variables, or None for those it was built with.
            inner: The optimizer's own ``apply``.

        Returns:
            What ``inner`` returns.
        """
        collectives = self._collectives
        if self.snapshots is not None:
            self.snapshots.note_step()
        if collectives.process.size == 1 and self.options.is_plain:
            return inner(gradients, variables)
        share = loops.weight_of_gradients(collectives, optimizer)
        trained = variables or keras_internals.descended(optimizer)
        with tf.init_scope():
            self._prepare(optimizer)
        if not optimizer.built:
            _build(optimizer, trained)
            with tf.init_scope():
                self._prepare(optimizer)  # what it has asked for only now
        if step.current() is None:  # else fit has done it before it traced
            self.initial_state.share_optimizer(optimizer, trained)
        if optimizer not in self._order:
            self._order[optimizer] = next(self._places)
        name = f"hfdt.gradients.{self._order[optimizer]}"
        call = f"{name}.{collectives.call_number()}"
        if self.recorder is not None:
            self.recorder.gradients(
                call,
                _num_bytes(gradients, trained),
                is_traced=not tf.executing_eagerly(),
            )
        reduced = self._reduce(optimizer, gradients, trained, share, call)
        if self.compression is not None:
            inner = self.compression.stepping(optimizer, reduced.compressed, inner)
        return finite.apply(
            reduced,
            trained,
            policy=finite.policy(self.options.nonfinite, optimizer),
            communicator=collectives.communicator,
            note=self._note,
            name=name,
            inner=inner,
        )

    def _note(self, finding: Exception) -> None:
        self.finding = finding

    def _say(self, text: str) -> None:
        output.say(self._collectives.process, text)

    def _check_stateful(self, model: Model) -> None:
        strategy_refusals.check_stateful(self._collectives.process, model, "hfdt")

    def _prepare(self, optimizer: Optimizer) -> None:
        """Gives an optimizer what the options ask for, before its first step."""
        process = self._collectives.process
        refusals.check_horovod(process, [optimizer])
        found = wrappers.steps_of(optimizer)
        for one in found:
            if one not in self._prepared:
                self._prepared.add(one)
                whose = f" of {one.name}" if len(found) > 1 else ""
                rates.prepare(one, self.options, process, whose=whose)

    def _callbacks(self) -> list[Callback]:
        """Callbacks that every ``fit`` runs with."""
        scale = self.options.scale(self._collectives.process.size)
        epochs = self.options.warmup_epochs
        own: list[Callback] = []
        if epochs and scale != 1:
            own.append(rates.WarmUp(scale, epochs))
        if self.compression is not None:
            own.append(EpochCount(self.compression))
        return own

    @contextlib.contextmanager
    def _fitting(self, callbacks: Callbacks) -> Iterator[None]:
        """Surrounds one ``fit``: leaves NaN to a callback that waits for it."""
        given = listed(callbacks)
        refusals.check_horovod(self._collectives.process, given)
        waits = any(isinstance(c, keras.callbacks.TerminateOnNaN) for c in given)
        finite.user_handles_nan.append(waits)
        try:
            yield
        finally:
            finite.user_handles_nan.pop()
        if self.compression is not None:
            for line in self.compression.lines():
                self._say(line)
        with self._collectives.joining("end of fit"):
            self._collectives.barrier()


def _num_bytes(gradients: list[Gradient], variables: list[Variable]) -> int:
    """Returns the size of gradients that are sent as they are, each element."""
    return sum(
        math.prod(v.shape) * tf.as_dtype(g.dtype).size
        for g, v in zip(gradients, variables, strict=True)
        if g is not None
    )


def _build(optimizer: Optimizer, trained: list[Variable]) -> None:
    """Makes an optimizer's variables where nothing stands between them and eager."""
    with tf.init_scope() if all(map(state.initialized, trained)) else nullcontext():
        optimizer.build(trained)
        optimizer.built = True
