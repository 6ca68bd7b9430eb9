"""What a simulated worker is asked for, and what it answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import NamedTuple

from nfdt.rules.corrections import Vector


class Wanted(NamedTuple):
    """A worker has computed for long enough: what it has found is wanted now."""

    worker: int  # who computes
    epoch: int
    number: int  # of the batch; -1 where it has none
    params: Vector | None  # [P], as pulled, not to be written; None: the first
    submits: bool  # the way since its last push is wanted, and no step


class Sent(NamedTuple):
    """What a worker has found."""

    vector: Vector | None  # [P], given away; None: a step of its own, nothing to push
    loss: float = math.nan
    rate: float = math.nan  # the learning rate, where it has changed


Steps = Generator[Wanted, Sent, None]
NO_BATCH = -1


def drive(steps: Steps, find: Callable[[Wanted], Sent]) -> None:
    """Runs steps to their end.

    Args:
        steps: Of :meth:`Driver.epoch`.
        find: From what is wanted to what is sent.
    """
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(find(wanted))
    except StopIteration:
        pass
