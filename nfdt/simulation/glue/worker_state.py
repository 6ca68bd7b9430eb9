"""The state of each simulated worker: parameters, optimizers, momentum.

One process plays them all, so what a step has written into the model's variables is put
aside, and the next worker's is taken out.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fdtcore.engine import Collectives
from fdtcore.keras_types import Gradient, Optimizer, Variable
from nfdt.algorithms import Algorithm
from nfdt.glue.epochs import Epochs
from nfdt.glue.groups import VariableGroups
from nfdt.glue.local_training import (
    GradientTransform,
    LocalExchange,
    OptimizerPlacement,
    WorkerPart,
)
from nfdt.glue.push_pull import PushPull
from nfdt.glue.replicated_steps import ReplicatedSteps
from nfdt.glue.variable_group import VariableGroup
from nfdt.options import Options
from nfdt.rules.corrections import Vector
from nfdt.simulation.transport import VirtualTransport
from nfdt.simulation.workers import Sent, Wanted


class TransformOfEach:
    """The gradient transform of each worker, such as its momentum.

    Args:
        first: What each begins with.
        worker: Returns whose step is computed.
    """

    def __init__(self, first: GradientTransform, worker: Callable[[], int]):
        self._first, self._worker = first, worker
        self._found: dict[int, GradientTransform] = {}

    def ahead(self, gradient: Vector) -> Vector:
        """Returns what is sent for a gradient."""
        worker = self._worker()
        if worker not in self._found:
            self._found[worker] = copy.deepcopy(self._first)
        return self._found[worker].ahead(gradient)


class PlacementOfEach(OptimizerPlacement):
    """Which optimizer runs where, for all workers in one process.

    Args:
        options: The user's options, which all simulated workers have.
        num_workers: Number of workers, M.
        virtual: Says which simulated worker computes now.
    """

    def __init__(self, options: Options, num_workers: int, virtual: VirtualTransport):
        super().__init__(options, num_workers)
        self._virtual = virtual
        self.exchange: LocalExchange | None = None  # how own parameters meet the shared

    def worker_part(
        self, algorithm: Algorithm, config: Mapping[str, Any], params: Vector
    ) -> WorkerPart:
        """Returns what a worker does besides sending gradients."""
        part = super().worker_part(algorithm, config, params)
        self.exchange = part.exchange
        if part.transform is None:
            return part
        of_each = TransformOfEach(
            part.transform, lambda: self._virtual.current().worker
        )
        return dataclasses.replace(part, transform=of_each)


class _Shared:
    """The shared parameters, as an exchange sees them; see `nfdt.glue.local_training`.

    Args:
        params: As the worker pulled them.
        newest: Returns the newest.
    """

    def __init__(self, params: Vector, newest: Callable[[], Vector]):
        self.params, self._newest = params, newest
        self.pushed: Vector | None = None

    def pull(self) -> None:
        self.params = self._newest()

    def push_vector(self, vector: Vector) -> None:
        self.pushed = vector


class PushPullOfEach(PushPull):
    """Steps of workers that train parameters of their own.

    Args:
        collectives: Those of the one process, which is rank 0 of 1.
        groups: Those of all workers.
        epochs: Those of all workers.
        replicated_steps: Those of the one process; nobody else makes them.
        options: The user's options, which all simulated workers have.
        placement: Which optimizer runs where.
        virtual: Says which simulated worker computes now, and answers it.
    """

    def __init__(
        self,
        collectives: Collectives,
        groups: VariableGroups,
        epochs: Epochs,
        replicated_steps: ReplicatedSteps,
        options: Options,
        *,
        placement: PlacementOfEach,
        virtual: VirtualTransport,
    ):
        super().__init__(collectives, groups, epochs, replicated_steps, options)
        self._placement, self._virtual = placement, virtual
        virtual.submit = self._submitted
        self._own: dict[int, Vector] = {}  # worker -> its parameters; none: as pulled
        self._steps: dict[int, int] = {}  # worker -> steps since its last push
        self._slots: dict[int, list[np.ndarray]] = {}  # worker -> its optimizer's
        self._fresh: list[np.ndarray] | None = None  # of an optimizer without a step

    def _apply_locally(
        self,
        optimizer: Optimizer,
        gradients: list[Gradient],
        trained: list[Variable],
        inner: Callable,
    ) -> Any:
        own = self._placement.on_worker(optimizer)
        with tf.init_scope():
            if not own.built:
                own.build(trained)
            if self._fresh is None:
                self._fresh = _values(own)
        return super()._apply_locally(optimizer, gradients, trained, inner)

    def _stepped(
        self, group: VariableGroup, values: Sequence[Any], about: dict[str, Any]
    ) -> list[Any]:
        """Puts a worker's step aside; returns what the next one goes on from."""
        wanted = self._virtual.current()
        worker = wanted.worker
        own = self._placement.on_worker(group.optimizer)
        self._own[worker] = group.joined(values)
        self._slots[worker] = _values(own)
        self._steps[worker] = self._steps.get(worker, 0) + 1
        paces = self._options.controller.paces
        if paces or self._steps[worker] < self._options.local_steps:
            sent = Sent(None, about["loss"])
        else:
            sent = Sent(self._submitted(wanted), about["loss"])
        self._epochs.pushed(about["epoch"], about["number"])
        following = self._virtual.advance(sent)
        if following is None:  # all begin the next epoch with what is shared then
            self._own.clear()
            return list(values)
        assert self._fresh is not None
        found = self._slots.get(following.worker, self._fresh)
        for variable, value in zip(own.variables, found, strict=True):
            variable.assign(value)
        pulled = self._own.get(following.worker, following.params)
        assert pulled is not None  # only the very first step is at the first values
        return group.split(pulled)

    def _submitted(self, wanted: Wanted) -> Vector:
        """Returns what a worker pushes; it goes on from what its exchange says."""
        exchange = self._placement.exchange
        assert exchange is not None  # workers train parameters of their own
        worker, pulled = wanted.worker, wanted.params
        shared = _Shared(
            self._virtual.newest() if pulled is None else pulled, self._virtual.newest
        )
        before = shared.params
        kept = exchange.exchange(self._own.pop(worker), shared)
        self._steps[worker] = 0
        if kept is not before:  # else it goes on from what will come back
            self._own[worker] = kept
        assert shared.pushed is not None  # an exchange is a push
        return shared.pushed


def _values(optimizer: Optimizer) -> list[np.ndarray]:
    return [np.array(variable) for variable in optimizer.variables]
