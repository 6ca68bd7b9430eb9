"""One update of a shard: correct each gradient, merge them, step once; block by block.

A pure rule that made new vectors of the shard's size would spend its time in page
faults. Rules act on each coordinate alone, so they are applied to blocks that stay in
the cache, and their results are written in place. This is the one place that does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from nfdt.rules.corrections import Block, Correction, Push
from nfdt.rules.optimizers import Optimizer
from nfdt.rules.rule_state import Vector, arrays_of, cut, restored, write

BLOCK_ELEMENTS = 32_768


class Late(NamedTuple):
    """A gradient that has arrived."""

    push: Push
    gradient: Vector  # [P]
    pulled: Vector | None  # [P]: the parameters it was computed at


class Update(Protocol):
    """Changes a shard's parameters by a group of gradients."""

    correction: Correction

    def apply(
        self,
        params: Vector,
        group: Sequence[Late],
        learning_rate: float,
        *,
        adds_up: bool = False,
    ) -> None:
        """Writes ``params``: by the group's mean, or by its sum where it adds up."""

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

    Args:
        correction: Correction that is applied to each late gradient.
        params: The shard, for its size and type.
        num_workers: Number of workers, M.
    """

    def __init__(self, correction: Correction, params: Vector, num_workers: int):
        self.correction = correction
        self.state = correction.init(params, num_workers)

    def merged(
        self, params: Vector, group: Sequence[Late], *, adds_up: bool
    ) -> Iterator[tuple[slice, Vector]]:
        """Yields the mean, or the sum, of the corrected gradients, block by block."""
        divisor = 1 if adds_up else len(group)
        scalars = [self._scalars(params, late) for late in group]
        for block in blocks(params.size):
            state = cut(self.state, block)
            total = None
            for late, own in zip(group, scalars, strict=True):
                gradient, after = self.correction.correct(
                    _block(params, late, block), state, own
                )
                write(arrays_of(state), arrays_of(after))
                total = gradient if total is None else total + gradient
            assert total is not None  # a group is not empty
            yield block, total if divisor == 1 else total / divisor

    def _scalars(self, params: Vector, late: Late) -> Any:
        sums: Vector = np.zeros(0)
        if not self.correction.elementwise:
            parts = [
                self.correction.measure(_block(params, late, block))
                for block in blocks(params.size)
            ]
            sums = np.sum(parts, axis=0)
        scalars, self.state = self.correction.scalars(self.state, sums, late.push)
        return scalars


class BlockUpdate:
    """An update whose optimizer the server runs itself.

    Args:
        correction: What is done to each gradient.
        optimizer: What is done with their mean.
        params: The shard, for its size and type.
        num_workers: Number of workers, M.
    """

    def __init__(
        self,
        correction: Correction,
        optimizer: Optimizer,
        params: Vector,
        num_workers: int,
    ):
        self.correction, self.optimizer = correction, optimizer
        self._corrected = Corrected(correction, params, num_workers)
        self._state = optimizer.init(params, num_workers)

    def apply(
        self,
        params: Vector,
        group: Sequence[Late],
        learning_rate: float,
        *,
        adds_up: bool = False,
    ) -> None:
        """Writes ``params``."""
        worst = max(late.push.staleness for late in group)
        push = Push(group[0].push.worker, worst, learning_rate)
        scalars, self._state = self.optimizer.scalars(self._state, push)
        for block, gradient in self._corrected.merged(params, group, adds_up=adds_up):
            state = cut(self._state, block)
            change, after = self.optimizer.update(gradient, state, scalars)
            write(arrays_of(state), arrays_of(after))
            params[block] += change

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


def blocks(size: int) -> Iterator[slice]:
    """Yields the ranges that a vector is worked through in."""
    for start in range(0, size, BLOCK_ELEMENTS):
        yield slice(start, min(start + BLOCK_ELEMENTS, size))


def _block(params: Vector, late: Late, block: slice) -> Block:
    pulled = None if late.pulled is None else late.pulled[block]
    return Block(late.gradient[block], params[block], pulled)
