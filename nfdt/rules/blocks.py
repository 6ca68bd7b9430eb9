"""The blocks that a vector is worked through in, and the arrays that this takes.

A pass over a vector of 100 MB costs what its way from memory costs; a pass over a block
that is in the cache already costs a tenth. So all passes of one visit are made over one
block before the next. What they write lies on cache lines of its own: a vector register
that is stored across two lines takes twice as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from nfdt.rules import subnormals
from nfdt.rules.rule_state import Vector

BLOCK_ELEMENTS = 32_768
# A lane that has less to do is done before another thread is awake.
LANE_ELEMENTS = 8 * BLOCK_ELEMENTS
_LINE_BYTES = 64  # of a cache line, and of the widest register

_Found = TypeVar("_Found")


def empty(size: int, dtype: npt.DTypeLike) -> Vector:
    """Returns a vector that begins with a cache line."""
    dtype = np.dtype(dtype)
    return _on_lines(np.empty, size * dtype.itemsize).view(dtype)


def empty_like(vector: Vector) -> Vector:
    """Returns a vector of the same size and type that begins with a cache line."""
    return empty(vector.size, vector.dtype)


def zeros_like(vector: Vector) -> Vector:
    """Returns zeros of the same size and type that begin with a cache line."""
    return _on_lines(np.zeros, vector.nbytes).view(vector.dtype)


def _on_lines(make: Callable[..., Any], size_bytes: int) -> npt.NDArray[np.uint8]:
    raw: npt.NDArray[np.uint8] = make(size_bytes + _LINE_BYTES, np.uint8)
    start = -raw.ctypes.data % _LINE_BYTES
    return raw[start : start + size_bytes]


class Compute(Protocol):
    """Applies an operation of NumPy, and chooses where the result lies."""

    def __call__(self, operation: np.ufunc, /, *operands: Any) -> Vector:
        """Returns the result: an array that the rule may go on to write."""


def anew(operation: np.ufunc, /, *operands: Any) -> Vector:
    """Returns the result of an operation as a new array."""
    result: Vector = operation(*operands)
    return result


class SpareArrays:
    """Writes results into arrays that are free again with the next block.

    What a rule makes of blocks of a type is of that type.
    """

    def __init__(self) -> None:
        self._arrays: list[Vector] = []
        self.num_taken = 0  # of the arrays; those from there on are free

    def __call__(self, operation: np.ufunc, /, *operands: Any) -> Vector:
        """Returns the result of an operation; see :class:`Compute`."""
        like = operands[0] if isinstance(operands[0], np.ndarray) else operands[1]
        if like.dtype.kind != "f":  # bfloat16 and a number make something wider
            return anew(operation, *operands)
        result: Vector = operation(*operands, out=self._next(like))
        return result

    def _next(self, like: Vector) -> Vector:
        if self.num_taken == len(self._arrays):
            self._arrays.append(empty_like(like))
        array = self._arrays[self.num_taken]
        if array.size < like.size or array.dtype != like.dtype:
            array = self._arrays[self.num_taken] = empty_like(like)
        self.num_taken += 1
        return array if array.size == like.size else array[: like.size]


class Lanes:
    """Visits all blocks of vectors, in one lane or in several at once.

    Args:
        number: Lanes, at most.
        each: Calls a function for each of some values and returns what it returned, in
            their order, as ``map`` does; that of a pool of threads does so at once.
    """

    def __init__(self, number: int = 1, each: Callable[..., Iterable[Any]] = map):
        self._computes = [SpareArrays() for _ in range(number)]
        self._each = each

    def visit(
        self, size: int, work: Callable[[slice, SpareArrays], _Found]
    ) -> list[_Found]:
        """Calls a function for each block; returns what it returned, by block.

        Args:
            size: Elements of the vectors.
            work: Takes a block, and what computes for it; results are its own until
                it returns. What it does to one block is nothing to another.
        """
        number = max(1, min(len(self._computes), size // LANE_ELEMENTS))
        found = list(blocks(size))
        ends = [len(found) * lane // number for lane in range(number + 1)]

        def walk(lane: int) -> list[_Found]:
            compute, results = self._computes[lane], []
            with subnormals.flushed():
                for block in found[ends[lane] : ends[lane + 1]]:
                    compute.num_taken = 0
                    results.append(work(block, compute))
            return results

        each = map if number == 1 else self._each
        return [one for results in each(walk, range(number)) for one in results]


def blocks(size: int) -> Iterable[slice]:
    """Yields the ranges that a vector is worked through in."""
    for start in range(0, size, BLOCK_ELEMENTS):
        yield slice(start, min(start + BLOCK_ELEMENTS, size))
