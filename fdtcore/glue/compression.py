"""The part of optimizers in a compression of gradients, and what it refuses."""

from __future__ import annotations

from typing import Any

import keras

from fdtcore.compression import specification
from fdtcore.compression.specification import Specification
from fdtcore.glue import wrappers
from fdtcore.keras_types import Optimizer


def check(chosen: Specification, optimizer: Optimizer) -> None:
    """Refuses what a compression cannot train with.

    Raises:
        ValueError: The optimizer, or how it clips.
    """
    steps = wrappers.steps_of(optimizer)
    if chosen.kind == specification.DEEP_GRADIENT:
        others = [one for one in steps if not _is_sgd(one)]
        if others or len(steps) != 1:
            names = ", ".join(type(one).__name__ for one in others or steps)
            raise ValueError(
                "dgc is defined for one keras.optimizers.SGD, whose momentum it "
                f"takes over. Received: {names}. Write topk:{chosen.ratio:g}."
            )
    if not chosen.is_sparse:
        return
    for one in steps:
        if one.clipvalue:
            raise ValueError(
                "values cannot be clipped before they are compressed. Received: "
                f"clipvalue={one.clipvalue:g} of {one.name}. Use clipnorm or "
                "global_clipnorm, or compression powersgd."
            )
        if len(steps) > 1 and (one.clipnorm or one.global_clipnorm):
            raise ValueError(
                "with several optimizers none may clip before the compression. "
                f"Received: a clipnorm of {one.name}. Clip in one optimizer for all, "
                "or use compression powersgd."
            )


def clipping(chosen: Specification, optimizer: Optimizer) -> Any:
    """Returns the optimizer that clips, where that is done before the compression."""
    steps = wrappers.steps_of(optimizer)
    if not chosen.is_sparse:
        return None
    if len(steps) == 1 and (steps[0].clipnorm or steps[0].global_clipnorm):
        return steps[0]
    return None


def _is_sgd(optimizer: Optimizer) -> bool:
    sgd = keras.optimizers.SGD
    own = type(optimizer).update_step is sgd.update_step
    return isinstance(optimizer, sgd) and own
