"""Whether a vector can be trained on: the check before it touches the parameters."""

from __future__ import annotations

import numpy as np

from nfdt.rules.corrections import Vector


def is_finite(vector: Vector) -> bool:
    """Whether no element is NaN or infinite; at the speed of a sum."""
    # The sum of finite numbers may overflow: then each is looked at.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(vector.sum())) or bool(np.isfinite(vector).all())


def first_wrong(vector: Vector) -> int:
    """Returns the index of the first element that is not finite; there is one."""
    return int(np.flatnonzero(~np.isfinite(vector))[0])
