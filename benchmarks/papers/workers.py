"""What the workers of a run compute, all in this process."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.papers.batches import batches
from benchmarks.papers.contenders import CONTENDERS
from benchmarks.papers.objective import Objective
from benchmarks.papers.runs import ALLREDUCE, Run
from nfdt import resolution
from nfdt.consistency import parse
from nfdt.glue.local_training import Lookahead
from nfdt.rules.corrections import Vector
from nfdt.simulation.workers import Sent, Wanted


class Workers:
    """What the workers of a run find.

    Args:
        run: The run.
        goal: What is trained.
    """

    def __init__(self, run: Run, goal: Objective):
        self.first = goal.first(run.seed)
        self.steps = 0  # of all together
        self.have_diverged = False
        self._run, self._goal = run, goal
        self._batches = batches(goal.work, goal.data, run.seed)
        contender = CONTENDERS[run.algorithm]
        self._scale = 1 - contender.momentum
        rule = resolution.fit_to(contender.algorithm, optimizer(run), run.workers)
        self.are_paced = run.consistency != ALLREDUCE and parse(run.consistency).paces
        self._own: dict[int, Vector] = {}  # worker -> its, between pushes
        self._ahead = [
            Lookahead(rule.momentum, self.first) if rule.momentum else None
            for _ in range(run.workers)
        ]

    def find(self, wanted: Wanted) -> Sent:
        """Returns what a worker has found: a gradient, or the way of its own SGD.

        Where the controller says when that is sent, nothing to send before.
        """
        worker, run = wanted.worker, self._run
        params = self.first if wanted.params is None else wanted.params
        rate = self._scale * run.rate_at(self.steps)
        if wanted.submits:
            return Sent(params - self._own.pop(worker), rate=rate)
        if not run.worker_rate:
            vector, loss = self._gradient(params)
            ahead = self._ahead[worker]
            return Sent(ahead.ahead(vector) if ahead else vector, loss, rate)
        own = self._own.pop(worker, params)
        for _ in range(run.own_steps):
            gradient, loss = self._gradient(own)
            own = own - np.float32(run.worker_rate) * gradient
        if not self.are_paced:
            return Sent(params - own, loss, rate)
        self._own[worker] = own
        return Sent(None, loss)

    def _gradient(self, params: Vector) -> tuple[Vector, float]:
        loss, gradient = self._goal.gradient(params, *next(self._batches))
        self.steps += 1
        self.have_diverged |= not math.isfinite(loss)
        return gradient, loss


def optimizer(run: Run) -> dict[str, Any]:
    """Returns the user's optimizer as Keras serialises it."""
    momentum = CONTENDERS[run.algorithm].momentum
    config = {"learning_rate": run.rate, "momentum": momentum}
    return {"class_name": "SGD", "config": config}
