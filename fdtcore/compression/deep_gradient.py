"""Deep Gradient Compression: the largest elements of an accumulated momentum."""

from __future__ import annotations

import numpy as np

from fdtcore.compression.exchange import Message
from fdtcore.compression.layout import Layout, Vector, blocks
from fdtcore.compression.top_k import SparseCompressor


class DeepGradient(SparseCompressor):
    """Accumulates the optimizer's momentum and sends its largest elements.

    With m the momentum, u the velocity and v what waits to be sent::

        u = m u + g,   v = v + u                    (Nesterov: v = v + m u + g)
        sent = v on S,   v = 0 on S,   u = 0 on S

    The last is left out where all elements are sent, and in variables that go whole:
    there a velocity is never stale, and the rule is SGD with momentum. Clipping comes
    before, the step is taken after without a momentum of the optimizer's own.

    Args:
        layout: The variables.
        density: Part of each variable's elements that is sent, at least one of each.
        momentum: m of the user's SGD, in [0, 1).
        nesterov: Whether its momentum is Nesterov's.
        dtype: Type of gradients.

    Source: Lin et al., "Deep Gradient Compression", 2018, arXiv:1712.01887, sec. 3.
    """

    def __init__(
        self,
        layout: Layout,
        density: float,
        momentum: float,
        *,
        nesterov: bool = False,
        dtype: type[np.floating] = np.float32,
    ):
        super().__init__(layout, density, dtype)
        self._momentum, self._nesterov = np.dtype(dtype).type(momentum), nesterov
        self._velocity = self.state["velocity"] = self._zeros()
        self._unsent = self.state["unsent"] = self._zeros()

    def _velocity_after(self, gradient: Vector, part: slice) -> Vector:
        velocity: Vector = self._velocity[part] * self._momentum
        velocity += gradient[part]
        return velocity

    def _unsent_after(self, gradient: Vector, velocity: Vector, part: slice) -> Vector:
        if not self._nesterov:
            return self._unsent[part] + velocity
        unsent: Vector = velocity * self._momentum
        unsent += gradient[part]
        unsent += self._unsent[part]
        return unsent

    def _waiting(self, gradient: Vector, part: slice) -> Vector:
        velocity = self._velocity_after(gradient, part)
        return self._unsent_after(gradient, velocity, part)

    def commit(self, gradient: Vector, message: Message) -> None:
        """Keeps velocity and what was not sent."""
        for block in blocks(0, gradient.size):
            velocity = self._velocity_after(gradient, block)
            self._unsent[block] = self._unsent_after(gradient, velocity, block)
            self._velocity[block] = velocity
        self._clear(self._unsent, message)
        if self.count(message) < gradient.size:
            self._velocity[message[0]] = 0
