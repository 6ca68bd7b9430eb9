"""Which optimizer runs on a worker and which on the servers, where they differ."""

from __future__ import annotations

import weakref
from typing import Any

import keras
import numpy as np

from fdtcore.glue import binding
from nfdt import algorithms, resolution
from nfdt.glue import local_training
from nfdt.glue.monitor import Monitor
from nfdt.options import Options


class Apart:
    """What the options make of a user's optimizer.

    Args:
        options: The user's choices.
        num_workers: M.
    """

    def __init__(self, options: Options, num_workers: int):
        self._options, self._num_workers = options, num_workers
        self._workers: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def on_worker(self, optimizer: Any) -> Any:
        """Returns what makes a worker's own steps in place of the user's optimizer."""
        if not self._options.worker_optimizer:
            return optimizer
        if optimizer not in self._workers:
            own = keras.optimizers.get(self._options.worker_optimizer)
            own = own.from_config(own.get_config())  # one for each optimizer
            binding.leave_alone(own)
            self._workers[optimizer] = own
        return self._workers[optimizer]

    def on_servers(self, optimizer: Any) -> Any:
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

    def own_part(self, algorithm: Any, config: Any, params: Any) -> dict[str, Any]:
        """Returns what a worker does besides sending gradients."""
        num_workers = self._num_workers
        steps = self._options.local_steps
        if algorithm.sends == algorithms.ELASTIC:
            strength = algorithm.optimizer.strength(num_workers)
            return {"exchange": local_training.Elastic(strength), "local_steps": steps}
        controller = self._options.controller
        if controller.paces:
            monitor = Monitor() if controller.monitors else None
            return {
                "exchange": local_training.Delta(),
                "paces": True,
                "monitor": monitor,
            }
        if self._options.trains_locally:
            return {"exchange": local_training.Delta(), "local_steps": steps}
        rule = resolution.fit_to(algorithm, config, num_workers)
        if not rule.momentum:
            return {}
        return {
            "lookahead": local_training.Lookahead(rule.momentum, np.zeros_like(params))
        }
