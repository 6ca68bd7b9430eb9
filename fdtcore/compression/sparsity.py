"""The part of all elements that is sent, while training warms up and after it."""

from __future__ import annotations

import math
from typing import NamedTuple

from fdtcore.compression.specification import Specification

_STAGES = 4  # of a warm-up in steps, or in less than one epoch


class TrainedSoFar(NamedTuple):
    """How far the training of a variable has come."""

    steps: int  # before this one
    epochs: float  # before this one; NaN outside of `fit`


def density(chosen: Specification, progress: TrainedSoFar) -> float:
    """Returns the part of each variable's elements that is sent in a step.

    In stage s of W, from 0, with the final ratio d ::

        d^((s + 1) / (W + 1))

    which for d = 0.001 and four stages is about 0.25, 0.063, 0.016, 0.004.

    Args:
        chosen: The user's choice.
        progress: How far training has come.

    Raises:
        ValueError: A warm-up of epochs, and the step is of no epoch.

    Source: Lin et al., 2018, arXiv:1712.01887, sec. 3.3; its authors' code for other
    ratios than 0.001.
    """
    if chosen.warmup_steps:
        stage = progress.steps * _STAGES // chosen.warmup_steps
        stages = _STAGES
    elif chosen.warmup_epochs:
        if math.isnan(progress.epochs):
            raise ValueError(
                "a warm-up of epochs needs a fit. Received: a step outside of one, "
                f"with dgc:{chosen.ratio:g} and a warm-up of {chosen.warmup_epochs:g} "
                f"epochs. Write it in steps: dgc:{chosen.ratio:g},warmup=500steps."
            )
        stages = math.ceil(chosen.warmup_epochs)
        stage = math.floor(progress.epochs * stages / chosen.warmup_epochs)
    else:
        return chosen.ratio
    return float(chosen.ratio ** (min(stage + 1, stages + 1) / (stages + 1)))
