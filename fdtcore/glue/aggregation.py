"""The reduction of a custom metric's state, inferred from its first updates.

Keras's own metrics keep totals and counts, which are summed over the ranks. A metric
of a script's own may keep a maximum. What its variables are is seen where a batch is
updated in two parts A and B: with s0 the state that the metric begins with, s(A) and
s(B) the states after one of them, s(A, B) that after both, the rule is the one for
which ::

    s(A, B) = combined(s(A), s(B))

As long as several rules do so (nothing was counted yet), the next batch is looked at
as well. That is a part of the traced step, behind a condition, and each rank does it
with its own samples; what they have seen is put together when the state is gathered.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from keras import Metric, tree

from fdtcore import output
from fdtcore.engine import Collectives
from fdtcore.glue import batches, binding, keras_internals
from fdtcore.glue.step import Step
from fdtcore.keras_types import Model, Structure, Tensor, Variable
from fdtcore.process import Process

# The first one that fits counts where nothing has told them apart.
RULES = ("sum", "mean", "max", "min")
_CLOSE = 1e-3


@contextlib.contextmanager
def observed(model: Model, step: Step) -> Iterator[None]:
    """Looks at the updates of metrics that are not Keras's while the block runs."""
    with contextlib.ExitStack() as stack:
        for metric in _own(model) if step.collectives.process.size > 1 else ():
            update = functools.partial(_updated, metric, metric.update_state, step)
            stack.enter_context(binding.replaced(metric, "update_state", update))
        yield


def _own(model: Model) -> list[Metric]:
    """Metrics of the user's own; those given to ``compile`` may not be built yet."""
    found = [*model.metrics, *keras_internals.compiled_metrics(model)]
    own = {id(m): m for m in found if isinstance(m, Metric) and not _is_of_keras(m)}
    return list(own.values())


def _is_of_keras(metric: Metric) -> bool:
    return type(metric).__module__.partition(".")[0] == "keras"


def _updated(
    metric: Metric, update: Callable, step: Step, *args: Any, **kwargs: Any
) -> Any:
    with contextlib.suppress(Exception):
        # What cannot be updated in parts keeps the rule that Keras gives it; whatever
        # is wrong with the metric, its update of the whole says.
        _look(metric, update, step.num_samples, (args, kwargs))
    return update(*args, **kwargs)


def _look(metric: Metric, update: Callable, count: tf.Tensor, given: Structure) -> None:
    fits = _fits_of(metric)
    is_open = tf.reduce_any(tf.reduce_sum(tf.cast(fits, tf.int32), 1) > 1)

    def look() -> None:
        before = _state(metric)
        # Unequal parts, or the sum of two means would be twice the mean of both.
        first = (count + 2) // 3
        a, b = _rows(given, count, 0, first), _rows(given, count, first, count)
        try:
            orders = ((), (a,), (b,), (a, b), (b, a))
            states = [_after(metric, update, parts) for parts in orders]
        finally:
            for variable, value in zip(metric.variables, before, strict=True):
                variable.value.assign(value)
        share = tf.cast(first / count, tf.float64)
        found = [_which(*values, share=share) for values in zip(*states, strict=True)]
        fits.assign(fits & tf.stack(found))

    tf.cond(is_open & (count > 1), look, lambda: None)


def _fits_of(metric: Metric) -> tf.Variable:
    fits = binding.context().metric_fits
    if metric not in fits:
        with tf.init_scope():
            shape = (len(metric.variables), len(RULES))
            fits[metric] = tf.Variable(np.ones(shape, bool), trainable=False)
    return fits[metric]


def _state(metric: Metric) -> list[tf.Tensor]:
    return [tf.identity(v.value) for v in metric.variables]


def _after(
    metric: Metric, update: Callable, parts: Sequence[Structure]
) -> list[tf.Tensor]:
    metric.reset_state()
    for args, kwargs in parts:
        update(*args, **kwargs)
    return _state(metric)


def _rows(given: Structure, count: tf.Tensor, start: Tensor, stop: Tensor) -> Any:
    """Cuts what has a row for each sample; anything else stays whole."""

    def cut(leaf: Tensor) -> Any:
        if not isinstance(leaf, tf.Tensor) or not leaf.shape.rank:
            return leaf
        size = tf.shape(leaf)[0]
        is_batch = size == count
        return batches.rows(
            leaf, tf.where(is_batch, start, 0), tf.where(is_batch, stop, size)
        )

    return tree.map_structure(cut, given)


def _which(
    begin: Tensor,
    a: Tensor,
    b: Tensor,
    both: Tensor,
    turned: Tensor,
    *,
    share: tf.Tensor,
) -> tf.Tensor:
    """Whether each rule explains one variable, bool [4].

    Args:
        begin: Its value before any update.
        a: After the first part.
        b: After the second part.
        both: After both.
        turned: After both, the second one first.
        share: The first part's share of the samples.
    """
    begin, a, b, both, turned = (
        tf.cast(value, tf.float64) for value in (begin, a, b, both, turned)
    )
    expected = (
        a + b - begin,
        share * a + (1 - share) * b,
        tf.maximum(a, b),
        tf.minimum(a, b),
    )
    scale = tf.maximum(tf.abs(both), tf.maximum(tf.abs(a), tf.abs(b)))

    def explains(one: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
        return tf.reduce_all((seen == one) | (tf.abs(seen - one) <= _CLOSE * scale))

    return tf.stack([explains(one, both) & explains(one, turned) for one in expected])


def rules(collectives: Collectives, model: Model) -> dict[int, str]:
    """Returns how variables of a model's metrics combine, where it was looked at.

    All ranks call it, and come to the same.

    Args:
        collectives: Those of the ranks.
        model: The user's Keras model.

    Returns:
        The rule for each variable, by its id.
    """
    is_shared = collectives.process.size > 1
    decided = binding.context().metric_rules
    own = [m for m in _own(model) if m.variables] if is_shared else []
    # A rank that has had no batch joins as well: it has nothing to say against any.
    open_ones = [m for m in own if m not in decided]
    misfits = [tf.cast(~_fits_of(m).value(), tf.int32) for m in open_ones]
    totals = collectives.sum(misfits, "rules of metrics") if open_ones else []
    found = {id(v): r for m in own for v, r in zip(m.variables, decided.get(m, ()))}
    for metric, total in zip(open_ones, totals, strict=True):
        fits = np.asarray(total) == 0
        _fits_of(metric).assign(fits)
        fitting = [[r for r, fit in zip(RULES, row) if fit] for row in fits]
        chosen = [(*names, "sum")[0] for names in fitting]
        for variable, names in zip(metric.variables, fitting, strict=True):
            if not names:
                _say(collectives.process, metric, variable)
        if all(len(names) < 2 for names in fitting):
            decided[metric] = chosen
        found |= {id(v): r for v, r in zip(metric.variables, chosen, strict=True)}
    return found


def _say(process: Process, metric: Metric, variable: Variable) -> None:
    output.say(
        process,
        f"metric {metric.name!r}: its variable {variable.name!r} combines two "
        "parts of a batch by neither sum, mean, maximum nor minimum, so its value "
        "refers to parts of batches. Keep sums in the variables, and compute "
        "the rest in result().",
    )
