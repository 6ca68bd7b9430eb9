"""The synchronous engine: one mean of all ranks' gradients per step."""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import keras
import tensorflow as tf

from fdtcore import options as option_fields
from fdtcore.control.control_line import ControlLine
from fdtcore.glue import calls, fit, loops, state, step, steps, wrappers
from fdtcore.glue.exchange import Exchange
from fdtcore.process import Process
from hfdt import finite, rates, refusals
from hfdt import gradients as reduction
from hfdt.collectives import HorovodCollectives
from hfdt.options import Options


class HorovodEngine(Exchange):
    """Trains one model on all ranks, each on its part of every batch.

    Args:
        process: This process.
        collectives: Operations among the ranks.
        options: The user's choices.
        line: Tells the other ranks what this one does, and how it fails.
    """

    in_parts = True
    innermost = False

    def __init__(
        self,
        process: Process,
        collectives: HorovodCollectives,
        options: Options,
        line: ControlLine,
    ):
        super().__init__(process, collectives, line, "hfdt")
        self.collectives: HorovodCollectives = collectives
        self.options = options
        self._reduce = reduction.Reduction(collectives, options)
        # Places are never reused: when an optimizer is freed differs between ranks.
        self._places = itertools.count()
        self._order: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._prepared: weakref.WeakSet[Any] = weakref.WeakSet()
        self._agreed: weakref.WeakSet[Any] = weakref.WeakSet()
        # What a step found out about itself while TensorFlow ran it.
        self.finding: Exception | None = None
        self._chosen = False

    def choose(self, options: Options) -> None:
        """Takes the choices of a call of ``distribute``.

        Raises:
            ValueError: Another call of it chose otherwise.
        """
        if self._chosen and options != self.options:
            raise ValueError(
                "one job trains with one set of options. Received: "
                f"{option_fields.difference(options, self.options)} in a second "
                "call of distribute. Pass the same options to both."
            )
        self._chosen = True
        self.options = options
        if options.process_sets:
            self._join(options.process_sets)
        self._reduce = reduction.Reduction(self.collectives, options)

    def _join(self, sets: Sequence[Sequence[int]]) -> None:
        """Trains from now on with the ranks of this one's process set only."""
        me = self.process
        self.collectives = self.collectives.among(sets)
        rank, size = self.collectives.rank, self.collectives.size
        self.process = Process(rank, size, me.local_rank, me.local_size, me.host)
        # Sets call each other's operations neither together nor in one order.
        self.tells = False

    @property
    def batch(self) -> str:
        """What the user's batch means: ``"global"`` or ``"per_worker"``."""
        return self.options.batch

    def share(self, num_samples: tf.Tensor) -> tf.Tensor:
        """This rank's share of the samples of the step, float32 scalar."""
        if self.process.size == 1:
            return tf.constant(1.0)
        name = f"hfdt.samples.{self.call()}"
        total = self.collectives.sum([num_samples], name)[0]
        return tf.cast(num_samples / tf.maximum(total, 1), tf.float32)

    def rows(self, tensors: Sequence[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Joins each tensor's rows over the ranks, by rank."""
        wire = f"hfdt.{name.replace(' ', '_')}.{self.call()}"
        with calls.joined(self, name):
            return self.collectives.allgather(tensors, wire)

    def prepare(self, optimizer: Any) -> None:
        """Gives an optimizer what the options ask for, before its first step."""
        refusals.check_horovod(self.process, [optimizer])
        found = wrappers.steps_of(optimizer)
        for one in found:
            if one not in self._prepared:
                self._prepared.add(one)
                whose = f" of {one.name}" if len(found) > 1 else ""
                rates.prepare(one, self.options, self.process, whose=whose)

    def callbacks(self) -> list[Any]:
        """Callbacks that every ``fit`` runs with."""
        scale = self.options.scale(self.process.size)
        epochs = self.options.warmup_epochs
        return [rates.WarmUp(scale, epochs)] if epochs and scale != 1 else []

    @contextlib.contextmanager
    def fitting(self, callbacks: Any) -> Iterator[None]:
        """Surrounds one ``fit``: leaves NaN to a callback that waits for it."""
        given = getattr(callbacks, "callbacks", callbacks)
        refusals.check_horovod(self.process, given)
        waits = any(isinstance(c, keras.callbacks.TerminateOnNaN) for c in given)
        finite.user_handles_nan.append(waits)
        try:
            yield
        finally:
            finite.user_handles_nan.pop()
        with self.joining("end of fit"):
            self.barrier()

    def fit(self, model: Any, arguments: dict[str, Any], run: Callable) -> Any:
        """Runs Keras's ``fit``, each rank on its part of every batch."""
        return fit.fit_in_parts(self, model, arguments, run)

    def evaluate(self, model: Any, arguments: dict[str, Any], run: Callable) -> Any:
        """Runs Keras's ``evaluate``, each rank on its part of every batch."""
        return fit.evaluate_in_parts(self, model, arguments, run)

    def iterate(self, dataset: Any, inner: Callable[[Any], Any], line: int) -> Any:
        """Iterates this rank's part of each batch."""
        return loops.iterate_parts(self, dataset, inner, line)

    def step_on(self, kind: str) -> Callable[..., Any] | None:
        """Steps on parts; on one rank Keras's own."""
        del kind
        return steps.PartStep if self.process.size > 1 else None

    def handed_on(self, optimizer: Any) -> None:
        """Nothing: it stands outermost."""
        del optimizer

    def agreed(self, owner: Any) -> None:
        """Notes that what a model or an optimizer holds is alike on all ranks."""
        if owner is not None:
            self._agreed.add(owner)

    def has_agreed(self, owner: Any) -> bool:
        """Whether what a model or an optimizer holds was made alike on all ranks."""
        return owner in self._agreed

    def apply(
        self,
        optimizer: Any,
        gradients: list[Any],
        variables: list[Any] | None,
        *,
        share: tf.Tensor,
        inner: Callable[[Any, Any], Any],
    ) -> Any:
        """Applies the mean gradient of all ranks.

        ::

            g = sum_r share_r * g_r,   sum_r share_r = 1

        Args:
            optimizer: The outermost optimizer.
            gradients: A tensor, ``IndexedSlices`` or None for each variable.
            variables: The variables, or None for those it was built with.
            share: This rank's share of the samples, float32 scalar.
            inner: The optimizer's own ``apply``.

        Returns:
            What ``inner`` returns.
        """
        if self.process.size == 1 and self.options == Options():
            return inner(gradients, variables)
        trained = variables or list(optimizer._trainable_variables)
        with tf.init_scope():
            self.prepare(optimizer)
        if not optimizer.built:
            _build(optimizer, trained)
            with tf.init_scope():
                self.prepare(optimizer)  # what it has asked for only now
        self._begin(optimizer, trained)
        policy = finite.policy(self.options.nonfinite, optimizer)
        if optimizer not in self._order:
            self._order[optimizer] = next(self._places)
        name = f"hfdt.{self._order[optimizer]}"
        result = self._reduce(
            optimizer, gradients, trained, share, f"{name}.{self.call()}"
        )
        return finite.apply(
            result, trained, policy=policy, engine=self, name=name, inner=inner
        )

    def _begin(self, optimizer: Any, trained: list[Any]) -> None:
        """Makes ranks begin alike, where ``fit`` could not do it before it traced."""
        if optimizer in self._agreed or step.current() is not None:
            return
        eager = tf.executing_eagerly()
        with tf.init_scope():
            self.agree(state.described(trained), f"variables of {optimizer.name}")
            if eager:
                self.agree_on_values(trained)
            # Variables made while TensorFlow traces have no value yet to agree on.
            held = [*trained, *state.of_optimizer(optimizer)]
            self.broadcast([v for v in held if state.initialized(v)])
            self.agreed(optimizer)


def _build(optimizer: Any, trained: list[Any]) -> None:
    """Makes an optimizer's variables where nothing stands between them and eager."""
    with tf.init_scope() if all(map(state.initialized, trained)) else nullcontext():
        optimizer.build(trained)
        optimizer.built = True
