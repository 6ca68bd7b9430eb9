"""What is asked of the user's optimizers."""

from __future__ import annotations

from typing import Any

import keras


def path_of(variable: Any) -> str:
    """Returns a variable's path, as Keras's optimizers name theirs after it."""
    if isinstance(variable, keras.Variable):
        return str(variable.path)
    return str(variable.name).replace(":", "_")


def optimizers_of(model: Any) -> list[Any]:
    """Returns all optimizers that a model holds, in an order of its own."""
    found = [model.optimizer, *(vars(model)[name] for name in sorted(vars(model)))]
    kept = {id(o): o for o in found if isinstance(o, keras.optimizers.Optimizer)}
    return [steps_of(optimizer) for optimizer in kept.values()]


def steps_of(optimizer: Any) -> Any:
    """Returns the optimizer that takes the steps, under any loss scaling."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def has_stepped(optimizer: Any) -> bool:
    """Whether an optimizer has made a step, here or where it was saved."""
    return bool(optimizer.built and int(optimizer._iterations.numpy()))
