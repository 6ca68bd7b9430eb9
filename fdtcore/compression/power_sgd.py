"""Matrices of low rank, by one step of a power iteration, with error feedback."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fdtcore.compression.compressor import Compressor, all_finite
from fdtcore.compression.exchange import Exchange
from fdtcore.compression.layout import Layout, Vector


class PowerSGD(Compressor):
    """Sends two thin matrices for each variable, which ranks can add up.

    A kernel is a matrix M with one column for each of its outputs. With e this rank's
    error, N ranks and Q of the step before::

        M = g + e,   P = orthogonal(sum_r M_r Q),   Q = sum_r M_r^T P
        applied = P Q^T,   e = M - applied / N

    A matrix that two thin ones are no smaller than is sent as it is.

    Args:
        layout: The variables.
        rank: Columns of the thin matrices.
        start_steps: Steps before the first that compresses; they leave no error.
        seed: Of the first Q, the same on all ranks.
        dtype: Type of gradients.

    Source: Vogels et al., "PowerSGD", 2019, arXiv:1905.13727, Algorithms 1 and 2.
    """

    def __init__(
        self,
        layout: Layout,
        rank: int,
        start_steps: int = 0,
        seed: int = 0,
        dtype: type[np.floating] = np.float32,
    ):
        super().__init__(layout, dtype)
        self.start_steps = start_steps
        self._matrices = [
            (math.prod(shape[:-1]), shape[-1]) if shape else (1, 1)
            for shape in layout.shapes
        ]
        self._ranks = [
            found if found * (rows + columns) < rows * columns else 0
            for rows, columns in self._matrices
            for found in [min(rank, rows, columns)]
        ]
        self._error = self.state["error"] = self._zeros()
        drawn = np.random.default_rng(seed).standard_normal(self._size_of_second())
        self._second = self.shared["second"] = drawn.astype(dtype)

    def _size_of_first(self) -> int:
        pairs = zip(self._matrices, self._ranks, strict=True)
        return sum(rows * (rank or columns) for (rows, columns), rank in pairs)

    def _size_of_second(self) -> int:
        pairs = zip(self._matrices, self._ranks, strict=True)
        return sum(columns * rank for (_, columns), rank in pairs)

    def message_bytes(self) -> int:
        """Returns how many bytes a rank brings to the next step, if it is not dense."""
        sent = self._size_of_first() + self._size_of_second()
        if self.steps[0] < self.start_steps:
            sent = self.layout.size
        return sent * np.dtype(self.dtype).itemsize

    def reduce(self, gradient: Vector, exchange: Exchange, *, dense: bool) -> Vector:
        """Returns what is now applied of the sum of the ranks' gradients."""
        del dense  # it is summed by the ranks' own operation anyhow
        if self.steps[0] < self.start_steps:
            total = exchange.sum(gradient)
            self.steps[0] += all_finite(total)
            return total
        with np.errstate(all="ignore"):  # what is not finite is looked at in the sum
            waiting = self._error + gradient
            inputs = self._split(self._second, [(c, r) for (_, c), r in self._pairs])
            own = [
                matrix @ second if rank else matrix
                for matrix, second, (_, rank) in zip(
                    self._of(waiting), inputs, self._pairs, strict=True
                )
            ]
            first = exchange.sum(_joined(own))
        if not all_finite(first):
            return np.full_like(gradient, np.nan)
        return self._second_half(waiting, first, exchange)

    def _second_half(
        self, waiting: Vector, first: Vector, exchange: Exchange
    ) -> Vector:
        shapes = [(rows, rank or columns) for (rows, columns), rank in self._pairs]
        bases = [
            np.linalg.qr(one)[0] if rank else one
            for one, (_, rank) in zip(
                self._split(first, shapes), self._pairs, strict=True
            )
        ]
        own = [
            matrix.T @ base if rank else matrix[:0]
            for matrix, base, (_, rank) in zip(
                self._of(waiting), bases, self._pairs, strict=True
            )
        ]
        second = exchange.sum(_joined(own)) if self._second.size else self._second
        total = np.empty_like(waiting)
        parts = self._split(second, [(c, r) for (_, c), r in self._pairs])
        for out, base, part, (_, rank) in zip(
            self._of(total), bases, parts, self._pairs, strict=True
        ):
            if rank:
                np.matmul(base, part.T, out=out)
            else:
                out[...] = base
        self._second[...] = second
        self.steps[0] += 1
        np.subtract(waiting, total / exchange.size, out=self._error)
        for error, (_, rank) in zip(self._of(self._error), self._pairs, strict=True):
            if not rank:
                error[...] = 0
        return total

    @property
    def _pairs(self) -> list[tuple[tuple[int, int], int]]:
        return list(zip(self._matrices, self._ranks, strict=True))

    def _of(self, vector: Vector) -> list[Vector]:
        """Returns the matrices that lie in a vector of all variables."""
        return self._split(vector, self._matrices)

    def _split(self, vector: Vector, shapes: Sequence[tuple[int, int]]) -> list[Vector]:
        found, start = [], 0
        for shape in shapes:
            stop = start + math.prod(shape)
            found.append(vector[start:stop].reshape(shape))
            start = stop
        return found


def _joined(matrices: Sequence[Vector]) -> Vector:
    return np.concatenate([one.reshape(-1) for one in matrices])
