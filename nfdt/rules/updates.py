"""One update of a shard: correct each gradient, merge them, step once; block by block.

A pure rule that made new vectors of the shard's size would spend its time in page
faults. Rules act on each coordinate alone, so they are applied to blocks that stay in
the cache, and their results are written in place. This is the one place that does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from nfdt.rules.blocks import Lanes, SpareArrays
from nfdt.rules.corrections import Block, Correction, Push
from nfdt.rules.optimizers import Optimizer
from nfdt.rules.rule_state import Vector, arrays_of, cut, restored, write

_NO_SUMS: Vector = np.zeros(0)


def is_finite(vector: Vector) -> bool:
    """Whether no element is NaN or infinite; at the speed of a sum."""
    # The sum of finite numbers may overflow: then each is looked at.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(vector.sum())) or bool(np.isfinite(vector).all())


class GradientSums(NamedTuple):
    """What is known of a gradient once all of it has been looked at."""

    is_finite: bool
    sums: Vector  # of its correction, over the whole vector


class Late(NamedTuple):
    """A gradient that has arrived."""

    push: Push
    gradient: Vector  # [P]
    # [P]: the parameters it was computed at, in the type in which they were sent.
    pulled: Vector | None
    measured: GradientSums | None = None  # at the parameters now; None: not yet
    in_part: bool = False  # whether only what is not 0 was sent


class Update(Protocol):
    """Changes a shard's parameters by a group of gradients."""

    correction: Correction

    def measure(self, params: Vector, late: Late) -> GradientSums:
        """Looks at all of a gradient that has arrived, once."""

    def apply(
        self,
        params: Vector,
        group: Sequence[Late],
        learning_rate: float,
        *,
        adds_up: bool = False,
        copies: Sequence[Vector] = (),
    ) -> None:
        """Writes ``params``: by the group's mean, or by its sum where it adds up.

        Args:
            params: The parameters, [P].
            group: The gradients.
            learning_rate: Learning rate in force now.
            adds_up: Whether it is the sum.
            copies: Vectors that are to equal ``params`` afterwards, rounded where
                their type is narrower. The group's ``pulled`` may be among them.
        """

    def rewrite(self, params: Vector) -> None:
        """Takes over parameters that were not made here."""

    def state(self) -> Mapping[str, Any]:
        """Returns what another one needs to go on from here."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state."""

    def adopt(self, user_state: Mapping[str, Any]) -> None:
        """Goes on from the state of a user's optimizer.

        Args:
            user_state: ``"slots"``, path -> this shard's part of a variable of the
                optimizer; and ``"momentum"``, [P], where it is SGD and has one.
        """


class Corrected:
    """The correction half of an update: its state, and a group made one gradient.

    Of a gradient that was sent in part, what a correction keeps of each element changes
    where elements were sent: else a mean square would be of zeros.

    Args:
        correction: Correction that is applied to each late gradient.
        params: The shard, for its size and type.
        num_workers: Number of workers, M.
        lanes: Who visits the blocks.
    """

    def __init__(
        self, correction: Correction, params: Vector, num_workers: int, lanes: Lanes
    ):
        self.correction = correction
        self.state = correction.init(params, num_workers)
        self._lanes = lanes

    def measure(self, params: Vector, late: Late) -> GradientSums:
        """Looks at all of a gradient, once."""

        # Without delay a gradient is used as it is, whatever the correction.
        needs_sums = not self.correction.elementwise and late.push.staleness > 0

        def look(block: slice, compute: SpareArrays) -> GradientSums:
            part = _block(params, late, block)
            if not needs_sums:
                return GradientSums(is_finite(part.gradient), _NO_SUMS)
            # Of what is not finite, nobody is warned: it is refused.
            with np.errstate(over="ignore", invalid="ignore"):
                sums = self.correction.measure(part, compute)
            return GradientSums(
                math.isfinite(sums[0]) or is_finite(part.gradient), sums
            )

        found = self._lanes.visit(params.size, look)
        # By block, whoever has looked at it: sums depend on the order.
        sums = np.sum([one.sums for one in found], axis=0) if needs_sums else _NO_SUMS
        return GradientSums(all(one.is_finite for one in found), sums)

    def merging(
        self, params: Vector, group: Sequence[Late], *, adds_up: bool
    ) -> Callable[[slice, SpareArrays], Vector]:
        """Counts a group of gradients, and returns what makes one block of their mean.

        Args:
            params: The parameters, [P].
            group: The gradients.
            adds_up: Whether it is their sum instead.
        """
        divisor = 1 if adds_up else len(group)
        scalars = [self._scalars(params, late) for late in group]

        def merge(block: slice, compute: SpareArrays) -> Vector:
            state = cut(self.state, block)
            total: Vector | None = None
            num_kept = 0
            for index, (late, own) in enumerate(zip(group, scalars, strict=True)):
                compute.num_taken = num_kept
                part = _block(params, late, block)
                gradient, after = self.correction.correct(part, state, own, compute)
                sent = part.gradient != 0 if late.in_part else True
                write(arrays_of(state), arrays_of(after), sent)
                if total is None:  # it may be what has arrived: not to be written
                    total = gradient
                elif index == 1:
                    total = compute(np.add, total, gradient)
                else:
                    total += gradient
                if index < 2:
                    num_kept = compute.num_taken
            assert total is not None  # a group is not empty
            return total if divisor == 1 else compute(np.divide, total, divisor)

        return merge

    def _scalars(self, params: Vector, late: Late) -> Any:
        measured = late.measured
        if measured is None and not self.correction.elementwise:
            measured = self.measure(params, late)
        sums = _NO_SUMS if measured is None else measured.sums
        scalars, self.state = self.correction.scalars(self.state, sums, late.push)
        return scalars


class BlockUpdate:
    """An update whose optimizer the server runs itself.

    Args:
        correction: What is done to each gradient.
        optimizer: What is done with their mean.
        params: The shard, for its size and type.
        num_workers: Number of workers, M.
        lanes: Who visits the blocks; None is one lane.
    """

    def __init__(
        self,
        correction: Correction,
        optimizer: Optimizer,
        params: Vector,
        num_workers: int,
        lanes: Lanes | None = None,
    ):
        self.correction, self.optimizer = correction, optimizer
        self._lanes = lanes or Lanes()
        self._corrected = Corrected(correction, params, num_workers, self._lanes)
        self._state = optimizer.init(params, num_workers)

    def measure(self, params: Vector, late: Late) -> GradientSums:
        """Looks at all of a gradient that has arrived, once."""
        return self._corrected.measure(params, late)

    def apply(
        self,
        params: Vector,
        group: Sequence[Late],
        learning_rate: float,
        *,
        adds_up: bool = False,
        copies: Sequence[Vector] = (),
    ) -> None:
        """Writes ``params``, and copies of them."""
        worst = max(late.push.staleness for late in group)
        push = Push(group[0].push.worker, worst, learning_rate)
        scalars, self._state = self.optimizer.scalars(self._state, push)
        merge = self._corrected.merging(params, group, adds_up=adds_up)

        def step(block: slice, compute: SpareArrays) -> None:
            state, now = cut(self._state, block), params[block]
            gradient = merge(block, compute)
            change, after = self.optimizer.update(gradient, state, scalars, compute)
            write(arrays_of(state), arrays_of(after))
            now += change
            for copy in copies:
                copy[block] = now

        self._lanes.visit(params.size, step)

    def rewrite(self, params: Vector) -> None:
        """Nothing: parameters are held by the caller alone."""
        del params

    def state(self) -> Mapping[str, Any]:
        """Returns what another one needs to go on from here."""
        return {
            "correction": self._corrected.state,
            "rule": self._state,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state."""
        self._corrected.state = restored(self._corrected.state, state["correction"])
        self._state = restored(self._state, state["rule"])

    def adopt(self, user_state: Mapping[str, Any]) -> None:
        """Goes on from the state of a user's optimizer."""
        arrays = arrays_of(self._state)
        if arrays and "momentum" in user_state:
            write(arrays[:1], [user_state["momentum"]])


def _block(params: Vector, late: Late, block: slice) -> Block:
    pulled = None
    if late.pulled is not None:
        # Widened: rules compute in the type of the parameters.
        pulled = late.pulled[block].astype(params.dtype, copy=False)
    return Block(late.gradient[block], params[block], pulled)
