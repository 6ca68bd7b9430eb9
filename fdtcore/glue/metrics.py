"""Metric state summed over all ranks, and other state that each rank collects."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from keras import Variable, tree
from keras.backend import is_float_dtype

from fdtcore.engine import Collectives
from fdtcore.glue import aggregation, keras_internals
from fdtcore.keras_types import Model, Structure

# What a variable says of itself; "sum" is what it says where the user says nothing.
_SAID = {"mean": "mean", "only_first_replica": "first"}
EXTREME: dict[str, Callable[[Any], Any]] = {
    "max": functools.partial(np.max, axis=0),
    "min": functools.partial(np.min, axis=0),
}


def variables(model: Model) -> list[Any]:
    """Returns the variables of all metrics of ``model``, each once."""
    found = {id(v): v for metric in model.metrics for v in metric.variables}
    return list(found.values())


def moving_statistics(model: Model) -> list[Any]:
    """Returns what layers gather while they train: BatchNorm's averages and the like.

    Weights of layers that are frozen are not among them, nor seeds and counters.
    """
    found = {
        id(v): v
        for layer in keras_internals.layers_of(model)
        for v in keras_internals.own_state(layer)
        if isinstance(v, Variable) and is_float_dtype(v.dtype)
    }
    return list(found.values())


@contextlib.contextmanager
def of_all_ranks(collectives: Collectives, model: Model) -> Iterator[None]:
    """Gives metric state the value of the whole data while the block runs.

    Afterwards each rank goes on from its own. A ``result()`` may return a variable of
    the state itself: :func:`copied` keeps what it has inside the block.

    Args:
        collectives: Those of the ranks.
        model: Whose metrics they are.
    """
    state = variables(model)
    own = [v.numpy() for v in state]
    gather(collectives, model)
    try:
        yield
    finally:
        for variable, value in zip(state, own, strict=True):
            variable.assign(value)


def copied(results: Structure) -> Any:
    """Returns results of metrics as they are now, though their state will change."""
    return tree.map_structure(
        lambda leaf: tf.identity(leaf.value) if isinstance(leaf, Variable) else leaf,
        results,
    )


def rules(collectives: Collectives, model: Model) -> dict[int, str]:
    """Returns how the states of metrics on several ranks combine, by variables' ids.

    All ranks call it, and come to the same.

    Args:
        collectives: Those of the ranks.
        model: Whose metrics they are.
    """
    found = aggregation.rules(collectives, model)
    return {
        id(v): _SAID.get(v.aggregation) or found.get(id(v), "sum")
        for v in variables(model)
    }


def gather(collectives: Collectives, model: Model) -> None:
    """Gives metric state the value of the whole data.

    Each rank has counted the samples of its own, so states that add up are summed; a
    state whose variable says ``aggregation="mean"`` is averaged, and with
    ``"only_first_replica"`` rank 0's counts. Those of metrics that are not Keras's
    combine as the first batch has shown.

    Args:
        collectives: Those of the ranks.
        model: Whose metrics they are.
    """
    found = rules(collectives, model)
    of_rule: dict[str, list[Any]] = {}
    for variable in variables(model):
        of_rule.setdefault(found[id(variable)], []).append(variable)
    summed = of_rule.pop("sum", [])
    totals = collectives.sum([v.value for v in summed], "metric state")
    for variable, total in zip(summed, totals, strict=True):
        variable.assign(total)
    collectives.average(of_rule.pop("mean", []))
    collectives.broadcast(of_rule.pop("first", []))
    for rule, extremes in of_rule.items():
        brought = collectives.allgather([v.numpy() for v in extremes])
        for variable, values in zip(extremes, zip(*brought), strict=True):
            variable.assign(EXTREME[rule](values))
