"""One update of a shard: correct each gradient, merge them, step once; block by block.

A pure rule that made new vectors of the shard's size would spend its time in page
faults. Rules act on each coordinate alone, so they are applied to blocks that stay in
the cache, and their results are written in place. This is the one place that does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from nfdt.rules.corrections import Block, Correction, Push, Vector
from nfdt.rules.optimizers import Optimizer

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
        self.memory, self.arrays = correction.init(params, num_workers)

    def merged(
        self, params: Vector, group: Sequence[Late], *, adds_up: bool
    ) -> Iterator[tuple[slice, Vector]]:
        """Yields the mean, or the sum, of the corrected gradients, block by block."""
        divisor = 1 if adds_up else len(group)
        weights = [self._weigh(params, late) for late in group]
        for block in blocks(params.size):
            arrays = tuple(array[block] for array in self.arrays)
            total = None
            for late, weight in zip(group, weights, strict=True):
                gradient, new = self.correction.correct(
                    _block(params, late, block), arrays, weight
                )
                write(arrays, new)
                total = gradient if total is None else total + gradient
            assert total is not None  # a group is not empty
            yield block, total if divisor == 1 else total / divisor

    def _weigh(self, params: Vector, late: Late) -> Any:
        sums: Vector = np.zeros(0)
        if not self.correction.elementwise:
            parts = [
                self.correction.measure(_block(params, late, block))
                for block in blocks(params.size)
            ]
            sums = np.sum(parts, axis=0)
        weights, self.memory = self.correction.weigh(self.memory, sums, late.push)
        return weights


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
        self._memory, self._arrays = optimizer.init(params, num_workers)

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
        weights, self._memory = self.optimizer.weigh(self._memory, push)
        for block, gradient in self._corrected.merged(params, group, adds_up=adds_up):
            arrays = tuple(array[block] for array in self._arrays)
            change, new = self.optimizer.update(gradient, arrays, weights)
            write(arrays, new)
            params[block] += change

    def rewrite(self, params: Vector) -> None:
        """Nothing: parameters are held by the caller alone."""
        del params

    def state(self) -> Mapping[str, Any]:
        """Returns what another one needs to go on from here."""
        return {
            "correction": self._corrected.memory,
            "correction_arrays": self._corrected.arrays,
            "optimizer": self._memory,
            "optimizer_arrays": self._arrays,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state."""
        self._corrected.memory = restored(self._corrected.memory, state["correction"])
        self._memory = restored(self._memory, state["optimizer"])
        write(self._corrected.arrays, state["correction_arrays"])
        write(self._arrays, state["optimizer_arrays"])

    def adopt(self, user_state: Mapping[str, Any]) -> None:
        """Goes on from the state of a user's optimizer."""
        if self._arrays and "momentum" in user_state:
            write(self._arrays[:1], [user_state["momentum"]])


def blocks(size: int) -> Iterator[slice]:
    """Yields the ranges that a vector is worked through in."""
    for start in range(0, size, BLOCK_ELEMENTS):
        yield slice(start, min(start + BLOCK_ELEMENTS, size))


def write(places: Sequence[Vector], values: Sequence[Vector]) -> None:
    """Writes arrays in place."""
    for place, value in zip(places, values, strict=True):
        if value is not place:
            place[...] = value


def restored(memory: Any, values: Any) -> Any:
    """Gives back its type to a memory that was kept as a list."""
    if isinstance(memory, tuple):
        return type(memory)(*values) if hasattr(memory, "_fields") else tuple(values)
    return values


def _block(params: Vector, late: Late, block: slice) -> Block:
    pulled = None if late.pulled is None else late.pulled[block]
    return Block(late.gradient[block], params[block], pulled)
