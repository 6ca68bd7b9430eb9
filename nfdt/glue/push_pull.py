"""The push and pull of one step: what a worker sends, and the parameters it gets.

One call to the servers at a time, where two threads of a worker make some.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from fdtcore.engine import Collectives
from fdtcore.glue import indexed_slices, keras_internals, state, step
from fdtcore.glue.wrappers import steps_of
from fdtcore.keras_types import Gradient, Optimizer, Tensor, Variable
from nfdt.glue import learning_rates, optimizer_state, replicated_steps
from nfdt.glue.epochs import Epochs
from nfdt.glue.groups import VariableGroups
from nfdt.glue.optimizer_state import trained_by
from nfdt.glue.replicated_steps import ReplicatedSteps
from nfdt.glue.variable_group import VariableGroup, check_real, copied, dtype_of
from nfdt.options import Options
from nfdt.protocol.client import NotFinite
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.step_times import StopWatch
from nfdt.protocol.transport import Transport
from nfdt.rules.corrections import Vector

# For each variable whether its gradient is ``IndexedSlices``, and the tensors; where
# none is, nothing and the whole vector.
_Sent: TypeAlias = tuple[Sequence[bool], Sequence[Any]]


class PushPull:
    """Turns the gradients of this worker into exchanges with the servers.

    Args:
        collectives: Those of the workers.
        groups: The variables that this worker's optimizers train.
        epochs: This worker's count of epochs, and its leases.
        replicated_steps: Steps that all workers make.
        options: The user's options: local training and ``overlap`` are read.
    """

    def __init__(
        self,
        collectives: Collectives,
        groups: VariableGroups,
        epochs: Epochs,
        replicated_steps: ReplicatedSteps,
        options: Options,
    ):
        self._groups, self._epochs, self._options = groups, epochs, options
        self._replicated_steps = replicated_steps
        self._num_workers = collectives.process.size
        self.finding: Exception | None = None  # of a step that TensorFlow runs
        self.watch: StopWatch | None = None  # takes the times of pushes
        # TensorFlow keeps the order of what writes one variable, and of nothing else.
        self._order: Any = None
        self._loss = _Loss()

    def _in_order(self, call: Callable[[Any], list[Any]]) -> list[Any]:
        """Makes a call of Python that TensorFlow runs neither before nor beside others.

        Args:
            call: From a tensor that it must take to its operation or its tensors.
        """
        if self._order is None:
            with tf.init_scope():
                self._order = tf.Variable(0, trainable=False, dtype=tf.int64)
        found = call(self._order.assign_add(1, read_value=True))
        if not tf.executing_eagerly():
            with tf.control_dependencies([one for one in found if one is not None]):
                self._order.assign_add(1)
        return found

    def apply(
        self,
        optimizer: Optimizer,
        gradients: list[Gradient],
        variables: list[Variable] | None,
        inner: Callable[[Any, Any], Any],
    ) -> Any:
        """Pushes one gradient, and gives the variables what comes back.

        Args:
            optimizer: The optimizer that takes the step, under any loss scaling.
            gradients: A tensor, ``IndexedSlices`` or None for each variable.
            variables: The variables, or None for those it was built with.
            inner: The optimizer's own ``apply``, used to complain as Keras does.
        """
        trained = list(variables or keras_internals.descended(optimizer))
        pairs = [
            (g, v) for g, v in zip(gradients, trained, strict=True) if g is not None
        ]
        if not pairs:
            return inner(gradients, variables)
        try:
            check_real([v for _, v in pairs])
        except ValueError as error:
            self.finding = error
            raise
        if self._options.trains_locally:
            return self._apply_locally(optimizer, gradients, trained, inner)
        if not optimizer.built:
            with tf.init_scope():
                optimizer.build(trained)
        # Those that take a value in place of a gradient are nothing for a server.
        left = keras_internals.without_overwritten(optimizer, *zip(*pairs, strict=True))
        pairs = list(zip(*left, strict=True))
        own = [v for _, v in pairs]
        kinds, tensors = _sent([g for g, _ in pairs], dtype_of(own))
        mark, loss = _mark_and_loss()

        def exchange_(order: Tensor, *sent: Any) -> Any:
            del order
            mark, loss, rate, *values = sent
            about = {"mark": mark, "totals": loss, "rate": float(rate)}
            return self._push(optimizer, own, kinds, values, **about)

        sent = [mark, loss, learning_rates.computed(optimizer), *tensors]
        types = [tf.as_dtype(dtype_of(own)), tf.int64]
        vector, version = self._in_order(
            lambda n: tf.numpy_function(exchange_, [n, *sent], types)
        )
        # Taken apart by TensorFlow: value by value it would be Python's work.
        sizes = [int(np.prod(v.shape, dtype=int)) for v in own]
        parts = tf.split(tf.ensure_shape(vector, [sum(sizes)]), sizes)
        for variable, part in zip(own, parts, strict=True):
            value = tf.reshape(part, variable.shape)
            variable.assign(tf.cast(value, variable.dtype))
        version = tf.ensure_shape(version, [])
        count = keras_internals.call_count(optimizer)
        count.assign(tf.cast(version, count.dtype))
        return optimizer.iterations

    def batch_done(self, mark: tf.Tensor) -> None:
        """Notes that a batch has been trained on, when all before has been done.

        Args:
            mark: Its epoch and number, int64 [2].
        """

        def done(mark: Tensor, order: Tensor) -> Any:
            is_merged = not self._groups.have_own_steps
            if (epoch := int(mark[0])) >= 0 and (number := int(mark[1])) >= 0:
                self._epochs.done(epoch, number, is_merged=is_merged)
            return order

        self._in_order(lambda order: [tf.numpy_function(done, [mark, order], tf.int64)])

    def follow_wrapper(self, wrapper: Optimizer) -> None:
        """Makes an optimizer that has handed its step on count the workers' updates.

        Args:
            wrapper: Optimizer that holds others and has made a step.
        """
        self._groups.note_wrapper(wrapper)
        optimizer_state.follow(wrapper)
        is_kerass = type(wrapper).__module__.partition(".")[0] == "keras"
        options = self._options
        if not (is_kerass or options.trains_locally or options.overlap):
            self._check_left_alone(wrapper)

    def _check_left_alone(self, wrapper: Optimizer) -> None:
        """Looks whether a wrapper writes variables behind the optimizers it holds.

        The next answer of the servers would undo it. One worker brings it to them.

        Args:
            wrapper: An optimizer that has just handed its step on.
        """
        held = steps_of(wrapper)
        trained = [v for o in held for v in trained_by(o, keras_internals.descended(o))]

        def look(order: Tensor, *values: Any) -> Any:
            own = dict(zip(map(id, trained), values, strict=True))
            for group in self._groups.under(wrapper):
                here = [own[id(v)] for v in group.variables]
                if all(map(np.array_equal, here, group.values())):
                    continue
                if self._num_workers == 1:
                    group.vector.load(group.joined(here))
                    continue
                self.finding = _written(wrapper)
                raise self.finding
            return order

        values = [tf.convert_to_tensor(v) for v in trained]
        self._in_order(lambda n: [tf.numpy_function(look, [n, *values], tf.int64)])

    def _apply_locally(
        self,
        optimizer: Optimizer,
        gradients: list[Gradient],
        trained: list[Variable],
        inner: Callable,
    ) -> Any:
        """Makes a step of this worker's own, and exchanges parameters at times."""
        own = self._groups.placement.on_worker(optimizer)
        apply = inner if own is optimizer else own.apply
        moved = [
            v
            for g, v in zip(gradients, trained, strict=True)
            if g is not None and not state.is_overwritten(v)
        ]
        with tf.init_scope():  # with values that no step has changed yet
            for one in (optimizer, own):
                if not one.built:
                    one.build(trained)
            self._check_built(moved)
            self._groups.of(optimizer, moved).begin_steps()
        result = apply(gradients, trained)
        mark, loss = _mark_and_loss()

        def exchange_(order: Tensor, mark: Tensor, loss: Tensor, *values: Any) -> Any:
            del order
            return self._exchange(optimizer, moved, mark, loss, values)

        sent = [mark, loss, *[tf.convert_to_tensor(v) for v in moved]]
        types = [tf.as_dtype(v.dtype) for v in moved]
        # What the optimizer keeps is written as well before Python looks at it.
        with tf.control_dependencies([tf.convert_to_tensor(v) for v in own.variables]):
            new = self._in_order(lambda n: tf.py_function(exchange_, [n, *sent], types))
        for variable, value in zip(moved, new, strict=True):
            value.set_shape(variable.shape)
            variable.assign(value)
        return result

    def _check_built(self, variables: Sequence[Variable]) -> None:
        """Refuses variables that the step itself makes: what they begin with is sent.

        Raises:
            ValueError: A variable has no value before the step.
        """
        if all(map(state.initialized, variables)):
            return
        self.finding = ValueError(
            "a model must have values before the first of its local steps. Received: "
            "a model that is built inside a tf.function. Build it, or call it on a "
            "batch, before the loop."
        )
        raise self.finding

    def _exchange(
        self,
        optimizer: Optimizer,
        variables: Sequence[Variable],
        mark: Tensor,
        loss: Tensor,
        values: Sequence[Any],
    ) -> list[Any]:
        epoch, number = map(int, mark.numpy())
        group = self._groups.of(optimizer, variables)
        try:
            loss_of_batch = self._loss.of_batch(epoch, loss.numpy())
            about = {"epoch": epoch, "number": number, "loss": loss_of_batch}
            for_all = self._replicated_steps
            if self._num_workers == 1 or not for_all.has_step(epoch):
                return self._stepped(group, values, about)

            def stepped() -> bytes:
                return group.joined(self._stepped(group, values, about)).tobytes()

            found = np.frombuffer(for_all.step(stepped), group.vector.params.dtype)
            return list(group.split(found))
        except Exception as error:
            self.finding = error
            raise

    def _stepped(
        self, group: VariableGroup, values: Sequence[Any], about: dict[str, Any]
    ) -> list[Any]:
        """Returns what to go on from after a step of this worker's own."""
        try:
            new = group.step(values, **about)
        except NotFinite as error:
            self._groups.report(group, error)
            new = group.lose_steps()
        if new is not None or group.part.paces:
            # The server knows already.
            self._epochs.pushed(about["epoch"], about["number"])
        return list(values) if new is None else new

    def _push(
        self,
        optimizer: Optimizer,
        variables: Sequence[Variable],
        kinds: Sequence[bool],
        values: Sequence[Any],
        *,
        mark: Tensor,
        totals: Tensor,
        rate: float,
    ) -> tuple[Vector, np.int64]:
        with self.watch.of_push() if self.watch else nullcontext():
            return self._pushed(
                optimizer, variables, (kinds, values), mark, totals, rate
            )

    def _pushed(
        self,
        optimizer: Optimizer,
        variables: Sequence[Variable],
        gradient: _Sent,
        mark: Tensor,
        totals: Tensor,
        rate: float,
    ) -> tuple[Vector, np.int64]:
        epoch, number = map(int, mark)
        self._epochs.taken += epoch < 0  # else it was counted when it was given
        try:
            loss = self._loss.of_batch(epoch, totals)
            about = {"epoch": epoch, "number": number, "loss": loss, "rate": rate}
            if self._replicated_steps.has_step(epoch):
                group = self._push_for_all(optimizer, variables, gradient, about)
            else:
                group = self._groups.of(optimizer, variables)
                if self._options.overlap:
                    found = self._push_ahead(group, gradient, about)
                    return found, np.int64(group.vector.version)
                self._push_finite(group, gradient, about)
        except Exception as error:
            self.finding = error
            raise
        finally:
            self._epochs.pushed(epoch, number)
        # Copied: variables may go on using the memory that is returned.
        return copied(group.vector.params), np.int64(group.vector.version)

    def _push_for_all(
        self,
        optimizer: Optimizer,
        variables: Sequence[Variable],
        gradient: _Sent,
        about: dict[str, Any],
    ) -> VariableGroup:
        """Makes a step that all workers make; returns the group, with what it gave."""
        for_all = self._replicated_steps

        def push() -> VariableGroup:
            group = self._groups.of(optimizer, variables)
            if not group.is_as_pulled():
                group.bring()  # what the loop has set by hand
            self._push_finite(group, gradient, about)
            return group

        if self._num_workers == 1:
            return push()
        found = for_all.step(lambda: replicated_steps.packed(push().vector))
        group = self._groups.of(optimizer, variables)
        replicated_steps.unpacked(group.vector, found)
        return group

    def _push_ahead(
        self, group: VariableGroup, gradient: _Sent, about: dict[str, Any]
    ) -> Vector:
        try:
            return group.push_ahead(*gradient, **about)
        except NotFinite as error:  # of the push before, whose answer is due
            self._groups.report(group, error)
            return group.push_ahead(*gradient, **about)

    def _push_finite(
        self, group: VariableGroup, gradient: _Sent, about: dict[str, Any]
    ) -> None:
        try:
            group.push(*gradient, **about)
        except NotFinite as error:
            self._groups.report(group, error)


def _written(wrapper: Optimizer) -> ValueError:
    return ValueError(
        "an optimizer that holds others must leave the variables to them. Received: "
        f"{type(wrapper).__name__}, which changes them after their step, where several "
        "workers do not see it. Train it with hfdt, or on one worker."
    )


def _sent(gradients: Sequence[Gradient], dtype: str) -> _Sent:
    kinds = [isinstance(gradient, tf.IndexedSlices) for gradient in gradients]
    if any(kinds):
        return kinds, [t for gradient in gradients for t in _tensors(gradient)]
    # Joined by TensorFlow: one by one they would be Python's work.
    flat = [tf.cast(tf.reshape(gradient, [-1]), dtype) for gradient in gradients]
    return [], [tf.concat(flat, 0)]


def _tensors(gradient: Gradient) -> list[tf.Tensor]:
    if isinstance(gradient, tf.IndexedSlices):
        once = indexed_slices.summed(gradient)
        return [once.values, once.indices]
    return [gradient]


_NO_MARK = (-1, -1)


def _mark_and_loss() -> tuple[Any, Any]:
    """The mark of the batch, and total and count of the loss that is tracked."""
    current = step.current()
    mark = getattr(current, "mark", None)
    model = getattr(current, "model", None)
    tracker = keras_internals.loss_tracker(model)
    loss = [tracker.total.value, tracker.count.value] if tracker else [math.nan] * 2
    loss = tf.stack([tf.cast(value, tf.float32) for value in loss])
    return tf.constant(_NO_MARK, tf.int64) if mark is None else mark, loss


class _Loss:
    """The loss of each batch, from the running totals that Keras keeps."""

    def __init__(self) -> None:
        self._epoch, self._total, self._count = -1, 0.0, 0.0

    def of_batch(self, epoch: int, totals: Tensor) -> float:
        """Returns what was added since the last batch; NaN where nothing is known."""
        total, count = map(float, totals)
        before = (self._total, self._count) if epoch == self._epoch else (0.0, 0.0)
        self._epoch, self._total, self._count = epoch, total, count
        samples = count - before[1]
        return (total - before[0]) / samples if samples > 0 else math.nan


class InTurn:
    """A transport whose answers are not mixed up; see :class:`Transport`.

    A push waits in a thread of its own where computing overlaps it. Leases are asked
    for in another one at any time, and have a channel of their own.

    Args:
        inner: Transport to forward to.
    """

    def __init__(self, inner: Transport):
        self.inner, self.num_servers = inner, inner.num_servers
        self._lock = threading.Lock()

    def post(self, server: int, message: Message) -> None:
        """Sends a message that is not answered."""
        self.inner.post(server, message)

    def call_all(
        self, messages: Mapping[int, Message], into: Mapping[int, Any]
    ) -> dict[int, Message]:
        """Sends one message to each server and returns their answers."""
        if all(message.kind is Kind.LEASE for message in messages.values()):
            return self.inner.call_all(messages, into)
        with self._lock:
            return self.inner.call_all(messages, into)
