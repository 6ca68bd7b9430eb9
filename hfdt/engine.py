"""The synchronous engine: one mean of all ranks' gradients per step."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fdtcore.control import ControlLine
from fdtcore.glue import calls, state, step
from fdtcore.process import Process
from hfdt import finite, rates, refusals
from hfdt import gradients as reduction
from hfdt.collectives import Collectives
from hfdt.options import Options


class HorovodEngine:
    """Trains one model on all ranks, each on its part of every batch.

    Args:
        process: This process.
        collectives: Operations among the ranks.
        options: The user's choices.
        line: Tells the other ranks what this one does, and how it fails.
    """

    def __init__(
        self,
        process: Process,
        collectives: Collectives,
        options: Options,
        line: ControlLine,
    ):
        self.process = process
        self.options = options
        self.collectives = collectives
        self.line = line
        self._reduce = reduction.Reduction(collectives, options)
        # Places are never reused: when an optimizer is freed differs between ranks.
        self._places = itertools.count()
        self._order: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._calls: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._prepared: weakref.WeakSet[Any] = weakref.WeakSet()
        self._agreed: weakref.WeakSet[Any] = weakref.WeakSet()
        # What a step found out about itself while TensorFlow ran it.
        self.finding: Exception | None = None
        self._is_joining = False
        self._chosen = False
        self._tells = True

    def choose(self, options: Options) -> None:
        """Takes the choices of a call of ``distribute``.

        Raises:
            ValueError: Another call of it chose otherwise.
        """
        if self._chosen and options != self.options:
            raise ValueError(
                "one job trains with one set of options. Received: "
                f"{options.beside(self.options)} in a second call of distribute. Pass "
                "the same options to both."
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
        self._tells = False

    @property
    def batch(self) -> str:
        """What the user's batch means: ``"global"`` or ``"per_worker"``."""
        return self.options.batch

    def agree(self, text: str, what: str) -> None:
        """Raises ValueError where ``text``, which describes ``what``, differs."""
        digest = hashlib.sha256(text.encode()).digest()
        with calls.joined(self, f"comparison of {what}"):
            digests = self.collectives.allgather_bytes(digest, "hfdt.agree")
            if len(set(digests)) == 1:
                return
            texts = self.collectives.allgather_bytes(text.encode(), "hfdt.texts")
        raise ValueError(_difference([t.decode() for t in texts], what))

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Gives every variable rank 0's value."""
        if self.process.size == 1 or not variables:
            return
        arrays = [np.asarray(v.numpy()) for v in variables]
        own = b"".join(a.tobytes() for a in arrays)
        with calls.joined(self, "broadcast of variables"):
            data = self.collectives.broadcast_bytes(own, "hfdt.variables")
        start = 0
        for variable, array in zip(variables, arrays, strict=True):
            stop = start + array.nbytes
            if data[start:stop] != array.tobytes():
                value = np.frombuffer(data[start:stop], array.dtype)
                variable.assign(value.reshape(array.shape))
            start = stop

    def broadcast_text(self, text: str) -> str:
        """Returns rank 0's text."""
        return self.broadcast_bytes(text.encode()).decode()

    def broadcast_bytes(self, data: bytes) -> bytes:
        """Returns rank 0's bytes."""
        with calls.joined(self, "broadcast of rank 0's state"):
            return self.collectives.broadcast_bytes(data, "hfdt.bytes")

    def allgather_text(self, text: str) -> list[str]:
        """Returns every rank's text."""
        with calls.joined(self, "exchange of state"):
            texts = self.collectives.allgather_bytes(text.encode(), "hfdt.alltext")
        return [t.decode() for t in texts]

    def share(self, num_samples: tf.Tensor) -> tf.Tensor:
        """This rank's share of the samples of the step, float32 scalar."""
        if self.process.size == 1:
            return tf.constant(1.0)
        name = f"hfdt.samples.{self._call()}"
        total = self.collectives.sum([num_samples], name)[0]
        return tf.cast(num_samples / tf.maximum(total, 1), tf.float32)

    def sum(self, tensors: Sequence[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Sums each tensor over the ranks."""
        wire = f"hfdt.{name.replace(' ', '_')}.{self._call()}"
        with calls.joined(self, name):
            return self.collectives.sum(tensors, wire)

    def average(self, variables: Sequence[Any]) -> None:
        """Gives every variable the mean over the ranks."""
        if self.process.size == 1 or not variables:
            return
        sums = self.sum([tf.identity(v.value) for v in variables], "average")
        for variable, total in zip(variables, sums, strict=True):
            variable.assign(total / self.process.size)

    def barrier(self) -> None:
        """Returns when every rank has arrived."""
        self.sum([tf.constant(0)], "barrier")

    @contextlib.contextmanager
    def joining(self, label: str) -> Iterator[None]:
        """Surrounds a call that the others have to join; inner ones are part of it."""
        if self._is_joining or not self._tells:
            yield
            return
        self._is_joining = True
        self.line.enter(label)
        try:
            yield
        finally:
            self._is_joining = False
            self.line.leave()

    def prepare(self, optimizer: Any) -> None:
        """Gives an optimizer what the options ask for, before its first step."""
        if optimizer is not None and optimizer not in self._prepared:
            self._prepared.add(optimizer)
            refusals.check_horovod(self.process, [optimizer])
            rates.prepare(optimizer, self.options, self.process)

    def callbacks(self) -> list[Any]:
        """Callbacks that every ``fit`` runs with."""
        scale, epochs = (
            self.options.scale(self.process.size),
            self.options.warmup_epochs,
        )
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
        _build(optimizer, trained)
        self._begin(optimizer, trained)
        policy = finite.policy(self.options.nonfinite, optimizer)
        if optimizer not in self._order:
            self._order[optimizer] = next(self._places)
        name = f"hfdt.{self._order[optimizer]}"
        result = self._reduce(
            optimizer, gradients, trained, share, f"{name}.{self._call()}"
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
                self._refuse_different(trained)
            # Variables made while TensorFlow traces have no value yet to agree on.
            held = [*trained, *optimizer.variables]
            self.broadcast([v for v in held if state.initialized(v)])
            self.agreed(optimizer)

    def _refuse_different(self, trained: list[Any]) -> None:
        """An eager step has already used the values: too late to make them alike."""
        digest = hashlib.sha256()
        for variable in trained:
            digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
        digests = self.collectives.allgather_bytes(digest.digest(), "hfdt.digest")
        if len(set(digests)) == 1:
            return
        raise ValueError(
            "an eager loop must begin with the same weights on every rank. Received: "
            "a model that was not built when it was distributed, so each rank drew "
            "its own. Build it first (model.build(input_shape), or call it on a "
            "batch), then call hfdt.distribute."
        )

    def _call(self) -> int:
        """Numbers the operations of one graph, so that their names differ."""
        if tf.executing_eagerly():
            return 0
        graph = tf.compat.v1.get_default_graph()
        self._calls[graph] = self._calls.get(graph, -1) + 1
        return self._calls[graph]


def _build(optimizer: Any, trained: list[Any]) -> None:
    """Makes an optimizer's variables where nothing stands between them and eager."""
    if optimizer.built:
        return
    with tf.init_scope() if all(map(state.initialized, trained)) else nullcontext():
        optimizer.build(trained)
        optimizer.built = True


def _difference(texts: list[str], what: str) -> str:
    first = texts[0].splitlines()
    other = next(r for r, text in enumerate(texts) if text != texts[0])
    lines = texts[other].splitlines()
    for i in range(max(len(first), len(lines))):
        mine = first[i] if i < len(first) else "nothing"
        theirs = lines[i] if i < len(lines) else "nothing"
        if mine != theirs:
            break
    return (
        f"{what} must be the same on every rank. Received: variable {i} is "
        f"{mine!r} on rank 0 and {theirs!r} on rank {other}. Build the model from the "
        "same code and the same arguments everywhere."
    )
