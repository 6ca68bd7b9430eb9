"""Joint calls: calls that every rank makes, reported to the others while they run.

What TensorFlow has traced runs without Python. So a ``tf.function`` in which an
operation of all ranks was traced counts as one such call each time it runs, and what
the strategy finds out inside is raised in place of TensorFlow's error.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from fdtcore import output
from fdtcore.engine import Collectives
from fdtcore.glue import binding, keras_internals
from fdtcore.glue.step import NeedsCollective
from fdtcore.keras_types import TensorFlowFunction


class Communicates(Exception):
    """What was to be computed by one rank alone wanted to communicate."""


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Refuses operations of all ranks while the block runs.

    Raises:
        Communicates: A joint operation was called.
    """
    with binding.context().is_computing_alone.given(True):
        yield


@contextlib.contextmanager
def joined(collectives: Collectives, label: str) -> Iterator[None]:
    """Surrounds an operation of all ranks, which runs now or is traced.

    Args:
        collectives: Those of the ranks.
        label: What it is called in messages.
    """
    context = binding.context()
    if context.is_computing_alone.now:
        raise Communicates(label)
    with contextlib.ExitStack() as stack:
        if tf.executing_eagerly():
            stack.enter_context(collectives.joining(label))
        elif (running := context.running.now) and running[0] not in context.joint:
            function, until_end = running
            context.joint[function] = collectives
            until_end.enter_context(collectives.joining(_label(function)))
        yield


def is_running() -> bool:
    """Whether a ``tf.function`` is being traced or run."""
    return binding.context().running.now is not None


def patch() -> None:
    """Wraps the call of every ``tf.function``."""
    function = keras_internals.Function
    function.__call__ = _told(function.__call__)


def _told(inner: Callable) -> Callable:
    @functools.wraps(inner)
    def call(self: TensorFlowFunction, *args: Any, **kwargs: Any) -> Any:
        context = binding.context()
        self = context.uncompiled.get(self, self)
        try:
            with _run(self):
                return inner(self, *args, **kwargs)
        except NeedsCollective:
            if not keras_internals.is_compiled(self):
                raise
            replacement = _without_xla(self)
        except tf.errors.OpError:
            bound = binding.current()
            finding = bound.engine.strategy.finding if bound else None
            if finding and self in context.joint:
                raise finding.with_traceback(None) from None
            raise
        return replacement(*args, **kwargs)

    return call


@contextlib.contextmanager
def _run(function: TensorFlowFunction) -> Iterator[None]:
    context = binding.context()
    if context.running.now or not tf.executing_eagerly():
        yield  # part of the run of another
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(context.running.given((function, stack)))
        if function in context.joint:
            stack.enter_context(context.joint[function].joining(_label(function)))
        yield


def _label(function: TensorFlowFunction) -> str:
    runs = binding.context().run_counts
    runs[function] = runs.get(function, 0) + 1
    return f"run {runs[function]} of tf.function {_name(function)}"


def _without_xla(function: TensorFlowFunction) -> Any:
    bound = binding.current()
    assert bound is not None  # it has patched the call
    output.say(
        bound.engine.process,
        f"tf.function {_name(function)} runs without XLA: it needs all ranks in its "
        "middle. The numbers are the same.",
    )
    replacement = keras_internals.uncompiled(function)
    bound.context.uncompiled[function] = replacement
    return replacement


def _name(function: TensorFlowFunction) -> str:
    return getattr(function.python_function, "__name__", "of a callable object")
