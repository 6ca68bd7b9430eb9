"""Metric state of all ranks, and other state that each rank gathers alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from fdtcore.engine import Engine


def variables(model: Any) -> list[Any]:
    """Returns the variables of all metrics of ``model``, each once."""
    found = {id(v): v for metric in model.metrics for v in metric.variables}
    return list(found.values())


def moving_statistics(model: Any) -> list[Any]:
    """Returns what layers gather while they train: BatchNorm's averages and the like.

    Weights of layers that are frozen are not among them, nor seeds and counters.
    """
    from keras import Variable
    from keras.src.backend import is_float_dtype

    found = {
        id(v): v
        for layer in model._flatten_layers()
        for v in layer._non_trainable_variables
        if isinstance(v, Variable) and is_float_dtype(v.dtype)
    }
    return list(found.values())


@contextlib.contextmanager
def of_all_ranks(engine: Engine, state: Sequence[Any]) -> Iterator[None]:
    """Gives metric state the value of the whole data while the block runs.

    Each rank has counted the samples of its own parts, so states that add up are
    summed; a state whose variable says ``aggregation="mean"`` is averaged, and with
    ``"only_first_replica"`` rank 0's counts. Afterwards each rank goes on from its
    own.

    Args:
        engine: The engine.
        state: Variables of metrics.
    """
    own = [v.numpy() for v in state]
    gather(engine, state)
    try:
        yield
    finally:
        for variable, value in zip(state, own, strict=True):
            variable.assign(value)


def gather(engine: Engine, state: Sequence[Any]) -> None:
    """Gives metric state the value of the whole data."""
    summed = [v for v in state if v.aggregation not in ("mean", "only_first_replica")]
    averaged = [v for v in state if v.aggregation == "mean"]
    first = [v for v in state if v.aggregation == "only_first_replica"]
    for variable, total in zip(
        summed, engine.sum([v.value for v in summed], "metric state"), strict=True
    ):
        variable.assign(total)
    engine.average(averaged)
    engine.broadcast(first)
