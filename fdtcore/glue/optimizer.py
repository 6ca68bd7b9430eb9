"""``Optimizer.apply``: where every training path of Keras ends.

``fit``, a custom ``train_step``, ``apply_gradients`` and a loop written by hand all
call it, so an engine stands there, outermost: before clipping, weight decay and
moving averages, and outside ``LossScaleOptimizer``, which decides from the gradients
it is given whether to take the step. A class may have an ``apply`` of its own, so the
engine stands in front of each. Not the tape: gradient penalties and saliency maps take
gradients that are not for training.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf

from fdtcore import evidence
from fdtcore.glue import binding, calls, refusals, wrappers
from fdtcore.glue.keras_internals import BaseOptimizer, in_xla
from fdtcore.glue.step import NeedsCollective
from fdtcore.keras_types import Gradient, Optimizer, Variable


@contextlib.contextmanager
def recording() -> Iterator[list[tuple[Any, list[Any], Any]]]:
    """Keeps the gradients that are applied inside instead of applying them.

    Yields:
        The list that receives ``(optimizer, gradients, variables)`` of each call.
    """
    recorded: list[tuple[Any, list[Any], Any]] = []
    with binding.context().recorded.given(recorded):
        yield recorded


def apply(
    optimizer: Optimizer,
    gradients: Iterable[Gradient],
    variables: Iterable[Variable] | None,
    inner: Callable[[Any, Any, Any], Any],
    *,
    is_base: bool,
) -> Any:
    """Hands one call of ``optimizer.apply`` to the engine that owns it.

    Args:
        optimizer: Optimizer that takes the step.
        gradients: One for each variable.
        variables: The variables, or None for those it was built with.
        inner: Its class's own ``apply``.
        is_base: Whether that is Keras's, which takes the step itself.
    """
    context = binding.context()
    if context.stepping.now is not None:
        return inner(optimizer, gradients, variables)
    gradients = list(gradients)
    if variables is not None:
        variables = list(variables)
    engine = binding.engine_of_optimizer(optimizer)
    if engine is None:
        if gradients and not binding.is_left_alone(optimizer):
            evidence.note_step(f"steps of {type(optimizer).__name__}")
        return inner(optimizer, gradients, variables)
    recorded = context.recorded.now
    if recorded is not None:
        recorded.append((optimizer, gradients, variables))
        return None
    strategy = engine.strategy
    note = strategy.handed_on
    if note is not None and not is_base and wrappers.hands_on(optimizer):
        result = inner(optimizer, gradients, variables)  # which calls this once more
        note(optimizer)
        return result
    refusals.check_strategy(engine.process, tf.distribute.get_strategy())
    if engine.process.size > 1 and in_xla():
        raise NeedsCollective("a step of an optimizer")
    evidence.note_exchange()
    with (
        context.stepping.given(optimizer),
        calls.joined(engine.collectives, _label(optimizer)),
    ):
        return strategy.apply(
            optimizer, gradients, variables, functools.partial(inner, optimizer)
        )


def _label(optimizer: Optimizer) -> str:
    counts = binding.context().step_counts
    counts[optimizer] = counts.get(optimizer, 0) + 1
    return f"step {counts[optimizer]} of {type(optimizer).__name__}"


def patch() -> None:
    """Puts :func:`apply` in front of that of every class, of those to come as well."""
    base = BaseOptimizer

    def init_subclass(cls: type, **options: Any) -> None:
        super(base, cls).__init_subclass__(**options)
        _stand_in_front(cls)

    base.__init_subclass__ = classmethod(init_subclass)
    for cls in (base, *_subclasses(base)):
        _stand_in_front(cls)


def _subclasses(cls: type) -> Iterator[type]:
    one: type
    for one in cls.__subclasses__():
        yield one
        yield from _subclasses(one)


def _stand_in_front(cls: type[Optimizer]) -> None:
    inner = vars(cls).get("apply")
    if inspect.isfunction(inner) and not hasattr(inner, _IN_FRONT):
        is_base = cls is BaseOptimizer
        cls.apply = _in_front_of(inner, is_base=is_base)


_IN_FRONT = "_fdtcore_in_front"
_ARGUMENTS = ("grads", "trainable_variables")


def _in_front_of(inner: Callable, *, is_base: bool) -> Callable:
    # A class of a user's may call its arguments otherwise.
    parameters = list(inspect.signature(inner).parameters.values())[1:]
    own = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    first, second = (*own, *_ARGUMENTS[len(own) :])[:2]

    @functools.wraps(inner)
    def wrapper(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        given = dict(zip((first, second), args)) | kwargs
        if first not in given:
            return inner(self, *args, **kwargs)  # which complains

        def own_apply(
            self: Optimizer,
            gradients: Iterable[Gradient],
            variables: Iterable[Variable] | None,
        ) -> Any:
            return inner(self, gradients, variables, *args[2:], **given)

        gradients, variables = given.pop(first), given.pop(second, None)
        return apply(self, gradients, variables, own_apply, is_base=is_base)

    setattr(wrapper, _IN_FRONT, True)
    return wrapper
