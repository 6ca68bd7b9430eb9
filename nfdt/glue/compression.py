"""The compression of a worker's gradients, and what it takes over from the optimizer.

A step that is taken on the server is too late to clip what was compressed, and has no
momentum to correct. So the norm is clipped here, and with ``dgc`` the momentum is here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fdtcore.compression import factory, sparsity, specification
from fdtcore.compression.layout import Layout
from fdtcore.compression.sparsity import TrainedSoFar
from fdtcore.compression.specification import Specification
from fdtcore.compression.top_k import SparseCompressor
from fdtcore.glue import compression
from fdtcore.keras_types import Optimizer
from nfdt import resolution
from nfdt.algorithms import Algorithm
from nfdt.protocol.gradients import WIRE_TYPES, Dense, Rows
from nfdt.rules.delay_compensation import square_sum

_NORMS = ("clipnorm", "global_clipnorm")


class GradientCompression:
    """What a worker does to the gradients of a group before and while it sends them.

    Args:
        chosen: The user's choice.
        optimizer: The user's optimizer.
        algorithm: Algorithm of the job.
        num_workers: Number of workers, M.
        layout: The variables.
        dtype: Type of the parameters, a key of ``gradients.WIRE_TYPES``.
        over: From epoch and number of a batch to how many epochs were over before it.

    Raises:
        ValueError: Gradients of this optimizer or type cannot be compressed so.
    """

    def __init__(
        self,
        chosen: Specification,
        optimizer: Optimizer,
        algorithm: Algorithm,
        num_workers: int,
        layout: Layout,
        dtype: str,
        over: Callable[[int, int], float],
    ):
        check(chosen, optimizer, dtype)
        self._chosen, self._layout, self._over = chosen, layout, over
        self._name = algorithm.name
        self._is_dgc = chosen.kind == specification.DEEP_GRADIENT
        self._has_momentum = self._is_dgc and resolution.runs_users(
            algorithm, num_workers
        )
        self._momentum = optimizer.momentum if self._has_momentum else 0.0
        self.compressor = factory.compressor(
            chosen,
            layout,
            momentum=self._momentum,
            nesterov=self._has_momentum and optimizer.nesterov,
            dtype=WIRE_TYPES[dtype].type,
        )
        self._limit, self._is_global = 0.0, False
        clips = compression.clipping(chosen, optimizer)
        if clips is not None:
            # Each gradient is a step of its own: of no sum is it a part.
            self._limit = clips.global_clipnorm or clips.clipnorm
            # What the server divides by comes before Keras's clipping.
            self._limit *= clips.loss_scale_factor or 1.0
            self._is_global = bool(clips.global_clipnorm)

    def served(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what the servers make the optimizer of: without what is done here.

        Args:
            config: The user's optimizer as Keras serialises it.
        """
        values = dict(config["config"])
        if self._limit:
            values |= dict.fromkeys(_NORMS)
        if self._has_momentum:
            values |= {"momentum": 0.0, "nesterov": False}
        return {**config, "config": values}

    def prepared(
        self, gradients: Sequence[Dense | Rows], epoch: int, number: int
    ) -> Sequence[Dense | Rows]:
        """Returns what is to be compressed.

        Args:
            gradients: One for each variable.
            epoch: Epoch of the batch; -1 for none.
            number: Of the batch in its epoch; -1 for none.

        Raises:
            ValueError: A warm-up of epochs, and the step is of no epoch.
        """
        if self._is_dgc and isinstance(self.compressor, SparseCompressor):
            steps = int(self.compressor.steps[0])
            progress = TrainedSoFar(steps, self._over(epoch, number))
            self.compressor.density = sparsity.density(self._chosen, progress)
        return self._clipped(gradients) if self._limit else gradients

    def _clipped(self, gradients: Sequence[Dense | Rows]) -> list[Dense | Rows]:
        layout = self._layout
        whole = np.zeros(layout.size, self.compressor.dtype)
        for gradient in gradients:
            gradient.add_to(whole)
        for start, stop in [(0, layout.size)] if self._is_global else layout.ranges:
            norm = math.sqrt(square_sum(whole[start:stop]))
            if self._limit < norm < math.inf:  # what is not finite is refused as it is
                whole[start:stop] *= self._limit / norm
        return [Dense(0, whole)]

    def lines(self) -> list[str]:
        """Says what is done elsewhere than the script's optimizer would do it."""
        lines = []
        if self._momentum:
            lines.append(
                f"wire: the momentum {self._momentum:g} of SGD acts on each worker "
                "before its gradients are compressed; the servers step without."
            )
        elif self._is_dgc and not self._has_momentum:
            lines.append(
                "wire: dgc corrects no momentum, as that of the optimizer is a part of "
                f"{self._name}."
            )
        if self._limit:
            lines.append("wire: workers clip gradients before they compress them.")
        return lines


def check(chosen: Specification, optimizer: Optimizer, dtype: str) -> None:
    """Refuses gradients that cannot be compressed so.

    Raises:
        ValueError: The optimizer, how it clips or accumulates, or the type.
    """
    compression.check(chosen, optimizer)
    topk = f"topk:{chosen.ratio:g}"
    if chosen.kind != specification.TOP_K and WIRE_TYPES[dtype].itemsize < 4:
        raise ValueError(
            f"{chosen.kind} keeps sums that need float32. Received: variables of "
            f"{dtype}. Use a policy of mixed precision, or wire topk:0.01."
        )
    steps = optimizer.gradient_accumulation_steps
    clips = compression.clipping(chosen, optimizer) is not None
    if steps and (chosen.kind == specification.DEEP_GRADIENT or clips):
        what = "clips" if clips else "has momentum on"
        other = "powersgd" if clips else topk
        raise ValueError(
            f"a worker {what} each gradient, before the server accumulates them. "
            f"Received: gradient_accumulation_steps={steps} of "
            f"{type(optimizer).__name__}. Leave it out, or use {other}."
        )
