"""Local training: what a worker computes and sends in place of plain gradients.

A worker with parameters of its own, x, trains them for some steps with an optimizer of
its own and then exchanges them with the shared ones, w; :class:`Lookahead` sends its
gradients with its momentum in them.

Which optimizer runs on a worker and which on the servers, where they differ.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np

from fdtcore.glue import binding
from fdtcore.keras_types import Optimizer
from nfdt import algorithms, resolution
from nfdt.algorithms import Algorithm
from nfdt.glue.monitor import ResourceMonitor
from nfdt.options import Options
from nfdt.protocol.client import ShardedVector
from nfdt.protocol.gradients import Dense
from nfdt.rules.corrections import Vector
from nfdt.rules.optimizers import Elastic


class Shared(Protocol):
    """The parameters on the servers."""

    @property
    def params(self) -> Vector:
        """As pulled last, [P]."""

    def pull(self) -> None:
        """Takes the newest into ``params``."""

    def push_vector(self, vector: Vector) -> None:
        """Sends a vector as a gradient; takes what is answered into ``params``."""


class OnServers:
    """The shared parameters of a group of variables.

    Args:
        vector: Their values on the servers.
        about: What is said of a push.
    """

    def __init__(self, vector: ShardedVector, about: Mapping[str, Any]):
        self._vector, self._about = vector, about

    @property
    def params(self) -> Vector:
        """As pulled last, [P]."""
        return self._vector.params

    def pull(self) -> None:
        """Takes the newest into ``params``."""
        self._vector.pull()

    def push_vector(self, vector: Vector) -> None:
        """Sends a vector as a gradient; takes what is answered into ``params``."""
        self._vector.push([Dense(0, vector)], **self._about)


class GradientTransform(Protocol):
    """What is done to a gradient before it is sent."""

    def ahead(self, gradient: Vector) -> Vector:
        """Returns what is sent for a gradient."""


class LocalExchange(Protocol):
    """How a worker's own parameters meet the shared ones."""

    def exchange(self, own: Vector, shared: Shared) -> Vector:
        """Returns the parameters to go on from."""


class Lookahead:
    """Momentum on the worker, ahead of the shared parameters by one step.

    ::

        v = mu * v + g;   sent: g + mu * v

    Args:
        momentum: Momentum mu, in [0, 1).
        params: For size and type, [P].

    Source: Hakimi, Barkai, Gabel, Schuster, "Taming Momentum in a Distributed
    Asynchronous Environment", 2019, arXiv:1907.11612, DANA-Slim.
    """

    def __init__(self, momentum: float, params: Vector):
        self._momentum = momentum
        self._velocity: Vector = np.zeros_like(params)

    def ahead(self, gradient: Vector) -> Vector:
        """Returns what is sent for a gradient."""
        self._velocity *= self._momentum
        self._velocity += gradient
        return gradient + self._momentum * self._velocity


@dataclass(frozen=True)
class Delta:
    """Sends the way that the worker's optimizer went; goes on from what comes back.

    ::

        sent: w - x;   x = w'

    w is what was pulled last, w' what is shared after the update. The server's
    optimizer takes the way for a gradient: with rate 1 it goes all of it.
    """

    def exchange(self, own: Vector, shared: Shared) -> Vector:
        """Returns the parameters to go on from."""
        shared.push_vector(shared.params - own)
        return shared.params


@dataclass(frozen=True)
class ElasticExchange:
    """Draws the worker's and the shared parameters to each other.

    ::

        e = alpha * (x - w);   x = x - e;   w = w + e

    Args:
        strength: alpha, the same as the server's.

    Source: Zhang, Choromanska, LeCun, "Deep learning with Elastic Averaging SGD",
    NeurIPS 2015, arXiv:1412.6651, asynchronous EASGD.
    """

    strength: float

    def exchange(self, own: Vector, shared: Shared) -> Vector:
        """Returns the parameters to go on from."""
        shared.pull()
        way = shared.params - own
        kept = own + self.strength * way
        shared.push_vector(way)
        return kept


@dataclass(frozen=True)
class WorkerPart:
    """What a worker does besides sending gradients.

    Args:
        transform: What is done to gradients before they are sent, if anything.
        exchange: How the worker's own parameters meet the shared ones, if it has any.
        local_steps: Steps between two exchanges.
        paces: Whether the server says when to exchange, in place of a number.
        monitor: What the server is told of this worker then, if anything.
    """

    transform: GradientTransform | None = None
    exchange: LocalExchange | None = None
    local_steps: int = 1
    paces: bool = False
    monitor: ResourceMonitor | None = None


class OptimizerPlacement:
    """Which optimizer runs on a worker and which on the servers, by the options.

    Args:
        options: The user's options: algorithm, local steps and the optimizers named.
        num_workers: Number of workers, M.
    """

    def __init__(self, options: Options, num_workers: int):
        self._options, self._num_workers = options, num_workers
        self._workers: weakref.WeakKeyDictionary[Optimizer, Optimizer] = (
            weakref.WeakKeyDictionary()
        )

    def on_worker(self, optimizer: Optimizer) -> Optimizer:
        """Returns what makes a worker's own steps in place of the user's optimizer."""
        if not self._options.worker_optimizer:
            return optimizer
        if optimizer not in self._workers:
            own = keras.optimizers.get(self._options.worker_optimizer)
            own = own.from_config(own.get_config())  # one for each optimizer
            binding.leave_alone(own)
            self._workers[optimizer] = own
        return self._workers[optimizer]

    def on_servers(self, optimizer: Optimizer) -> Optimizer:
        """Returns what the servers run in place of the user's optimizer."""
        options = self._options
        elastic = algorithms.find(options.algorithm).sends == algorithms.ELASTIC
        if options.server_optimizer:
            own = keras.optimizers.get(options.server_optimizer)
            # Keras numbers names, and not the same on all workers.
            return own.from_config({**own.get_config(), "name": "server_optimizer"})
        if elastic or options.worker_optimizer or not options.trains_locally:
            return optimizer
        return keras.optimizers.SGD(1.0, name="server_optimizer")

    def worker_part(
        self, algorithm: Algorithm, config: Mapping[str, Any], params: Vector
    ) -> WorkerPart:
        """Returns what a worker does besides sending gradients.

        Args:
            algorithm: Algorithm of the job.
            config: The optimizer as the servers make it.
            params: For size and type, [P].
        """
        num_workers = self._num_workers
        steps = self._options.local_steps
        if algorithm.sends == algorithms.ELASTIC:
            assert isinstance(algorithm.optimizer, Elastic)
            strength = algorithm.optimizer.strength(num_workers)
            return WorkerPart(exchange=ElasticExchange(strength), local_steps=steps)
        controller = self._options.controller
        if controller.paces:
            monitor = ResourceMonitor() if controller.monitors else None
            return WorkerPart(exchange=Delta(), paces=True, monitor=monitor)
        if self._options.trains_locally:
            return WorkerPart(exchange=Delta(), local_steps=steps)
        rule = resolution.fit_to(algorithm, config, num_workers)
        if not rule.momentum:
            return WorkerPart()
        return WorkerPart(transform=Lookahead(rule.momentum, params))
