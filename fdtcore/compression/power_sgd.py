"""Matrices of low rank, by one step of a power iteration, with error feedback."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fdtcore.compression.compressor import Sender, all_finite
from fdtcore.compression.exchange import Alone, Exchange, Message
from fdtcore.compression.layout import Layout, Vector


class PowerSGD(Sender):
    """Sends two thin matrices for each variable, which ranks can add up.

    A kernel is a matrix M with one column for each of its outputs. With e this rank's
    error, N ranks and Q of the step before::

        M = g + e,   P = orthogonal(sum_r M_r Q),   Q = sum_r M_r^T P
        applied = P Q^T,   e = M - applied / N

    A matrix that two thin ones are no smaller than is sent as it is. Where only one
    side compresses, N is 1, and P and Q are the message.

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
        self._factors = Factors(layout, rank)
        self._error = self.state["error"] = self._zeros()
        drawn = np.random.default_rng(seed).standard_normal(self._factors.second_size)
        self._second = self.shared["second"] = drawn.astype(dtype)

    @property
    def sends_whole(self) -> bool:
        """Whether it is one of the first steps."""
        return bool(self.steps[0] < self.start_steps)

    def message_bytes(self) -> int:
        """Returns how many bytes a rank brings to the next step, if it is not dense."""
        sent = self._factors.first_size + self._factors.second_size
        if self.sends_whole:
            sent = self.layout.size
        return sent * np.dtype(self.dtype).itemsize

    def encode(self, gradient: Vector) -> Message:
        """Returns P of all variables and Q of all; P also has what is sent as it is."""
        first, second = self._iterated(self._error + gradient, Alone())
        return first, second

    def add(self, message: Message, total: Vector) -> None:
        """Adds P Q^T of each variable."""
        total += self._applied(message)

    def commit(self, gradient: Vector, message: Message) -> None:
        """Keeps what the matrices leave out, and Q for the next step."""
        self._keep(self._error + gradient, self._applied(message), message[1])

    def reduce(self, gradient: Vector, exchange: Exchange, *, dense: bool) -> Vector:
        """Returns what is now applied of the sum of the ranks' gradients."""
        del dense  # it is summed by the ranks' own operation anyhow
        if self.sends_whole:
            total = exchange.sum(gradient)
            self.steps[0] += all_finite(total)
            return total
        with np.errstate(all="ignore"):  # what is not finite is looked at in the sum
            waiting = self._error + gradient
        first, second = self._iterated(waiting, exchange)
        if not all_finite(first):
            return np.full_like(gradient, np.nan)
        total = self._applied((first, second))
        self._keep(waiting, total / exchange.size, second)
        self.steps[0] += 1
        return total

    def _iterated(self, waiting: Vector, exchange: Exchange) -> tuple[Vector, Vector]:
        """Returns P and Q of the sum; where P is not finite, Q is of no meaning."""
        factors = self._factors
        with np.errstate(all="ignore"):
            inputs = factors.seconds(self._second)
            own = [
                matrix @ second if rank else matrix
                for matrix, second, rank in zip(
                    factors.of(waiting), inputs, factors.ranks, strict=True
                )
            ]
            first = exchange.sum(_joined(own))
        bases = [
            _orthogonal(one) if rank else one
            for one, rank in zip(factors.firsts(first), factors.ranks, strict=True)
        ]
        first = _joined(bases)
        if exchange.size > 1 and not all_finite(first):
            return first, self._second
        with np.errstate(all="ignore"):
            own = [
                matrix.T @ base if rank else matrix[:0]
                for matrix, base, rank in zip(
                    factors.of(waiting), bases, factors.ranks, strict=True
                )
            ]
        second = exchange.sum(_joined(own)) if self._second.size else self._second
        return first, second

    def _applied(self, message: Message) -> Vector:
        out = self._zeros()
        self._factors.write(message, out)
        return out

    def _keep(self, waiting: Vector, applied: Vector, second: Vector) -> None:
        self._second[...] = second
        np.subtract(waiting, applied, out=self._error)
        factors = self._factors
        for error, rank in zip(factors.of(self._error), factors.ranks, strict=True):
            if not rank:
                error[...] = 0


class Factors:
    """The thin matrices that stand for variables.

    Args:
        layout: The variables.
        rank: Columns of the thin matrices, at most.
    """

    def __init__(self, layout: Layout, rank: int):
        self._matrices = [
            (math.prod(shape[:-1]), shape[-1]) if shape else (1, 1)
            for shape in layout.shapes
        ]
        whole = layout.whole or (False,) * len(layout.shapes)
        # Of each variable; 0: it is sent as it is.
        self.ranks = [
            found if found * (rows + columns) < rows * columns and not is_whole else 0
            for (rows, columns), is_whole in zip(self._matrices, whole, strict=True)
            for found in [min(rank, rows, columns)]
        ]
        pairs = list(zip(self._matrices, self.ranks, strict=True))
        self._firsts = [(rows, found or columns) for (rows, columns), found in pairs]
        self._seconds = [(columns, found) for (_, columns), found in pairs]

    @property
    def first_size(self) -> int:
        """Number of elements of P of all variables."""
        return sum(map(math.prod, self._firsts))

    @property
    def second_size(self) -> int:
        """Number of elements of Q of all variables."""
        return sum(map(math.prod, self._seconds))

    def of(self, vector: Vector) -> list[Vector]:
        """Returns the matrices that lie in a vector of all variables."""
        return _split(vector, self._matrices)

    def firsts(self, first: Vector) -> list[Vector]:
        """Returns each variable's P."""
        return _split(first, self._firsts)

    def seconds(self, second: Vector) -> list[Vector]:
        """Returns each variable's Q."""
        return _split(second, self._seconds)

    def write(self, message: Message, out: Vector) -> None:
        """Writes what P and Q stand for into a vector of all variables, [n]."""
        first, second = message
        with np.errstate(all="ignore"):  # what is not finite is told by it
            for matrix, left, right, rank in zip(
                *(self.of(out), self.firsts(first), self.seconds(second), self.ranks),
                strict=True,
            ):
                if rank:
                    np.matmul(left, right.T, out=matrix)
                else:
                    matrix[...] = left


def _orthogonal(matrix: Vector) -> Vector:
    if not all_finite(matrix.reshape(-1)):
        return np.full_like(matrix, np.nan)
    found: Vector = np.linalg.qr(matrix)[0]
    return found


def _split(vector: Vector, shapes: Sequence[tuple[int, int]]) -> list[Vector]:
    found, start = [], 0
    for shape in shapes:
        stop = start + math.prod(shape)
        found.append(vector[start:stop].reshape(shape))
        start = stop
    return found


def _joined(matrices: Sequence[Vector]) -> Vector:
    return np.concatenate([one.reshape(-1) for one in matrices])
