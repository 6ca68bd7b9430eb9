"""Problems small enough to know everything about: gradients in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Quadratic:
    """``f(w) = sum(curvature * (w - optimum)^2) / 2``, one coordinate beside another.

    Args:
        curvature: [P], > 0.
        optimum: [P].
    """

    curvature: Vector
    optimum: Vector

    def loss(self, params: Vector) -> float:
        """Returns f(w)."""
        return float(np.sum(self.curvature * (params - self.optimum) ** 2) / 2)

    def gradient(self, params: Vector) -> Vector:
        """Returns ``curvature * (w - optimum)``, in the type of w."""
        return (self.curvature * (params - self.optimum)).astype(params.dtype)


def quadratic(size: int = 7, condition: float = 1.0) -> Quadratic:
    """Returns a quadratic with curvatures from ``1 / condition`` to 1."""
    curvature = np.geomspace(1 / condition, 1.0, size)
    return Quadratic(curvature, np.linspace(-1.0, 1.0, size))


@dataclass(frozen=True)
class Logistic:
    """Logistic regression with a penalty, of which the optimum is where it is stable.

    ``f(w) = mean(log(1 + exp(-y * x @ w))) + penalty * |w|^2 / 2``

    Args:
        inputs: [n, P].
        labels: [n], -1 or 1.
        penalty: > 0.
    """

    inputs: Vector
    labels: Vector
    penalty: float = 0.1

    def loss(self, params: Vector) -> float:
        """Returns f(w)."""
        margins = self.labels * (self.inputs @ params)
        penalty = self.penalty * float(params @ params) / 2
        return float(np.mean(np.logaddexp(0, -margins))) + penalty

    def gradient(self, params: Vector) -> Vector:
        """Returns the gradient of f, in the type of w."""
        margins = self.labels * (self.inputs @ params)
        pull = -self.labels / (1 + np.exp(margins))
        found = self.inputs.T @ pull / len(self.labels) + self.penalty * params
        return found.astype(params.dtype)


def logistic(seed: int = 0) -> Logistic:
    """Returns 20 points of 3 inputs in two overlapping classes."""
    generator = np.random.default_rng(seed)
    labels = np.repeat([-1.0, 1.0], 10)
    inputs = generator.normal(size=(20, 3)) + labels[:, None] / 2
    return Logistic(inputs, labels)
