"""Trains once: real gradients, the real server, virtual time."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.papers.clients import Clients
from benchmarks.papers.objective import Score, objective
from benchmarks.papers.ranks import Ranks
from benchmarks.papers.runs import ALLREDUCE, Outcome, Run
from benchmarks.papers.served import Served
from benchmarks.papers.workers import Workers
from nfdt.protocol.events import Event, Use
from nfdt.simulation.simulator import Simulator
from nfdt.simulation.workers import Sent, Wanted


def train(run: Run) -> Outcome:
    """Trains as a run says. But for the seconds it takes, a function of the run."""
    started_s = time.perf_counter()
    goal = objective(run.work)
    workers = Workers(run, goal)
    make = Ranks if run.consistency == ALLREDUCE else Served
    job: Ranks | Served = make(run, goal, workers.first)
    scores: list[Score] = []

    def find(wanted: Wanted) -> Sent:
        if workers.steps * run.looks >= run.steps * (len(scores) + 1):
            scores.append(goal.score(job.params))
        return workers.find(wanted)

    _advance(job.machines, run.steps, workers, find)
    scores.append(goal.score(job.params))
    events = job.events()
    return Outcome(
        scores[-1].accuracy,
        _number(scores[-1].loss),
        workers.have_diverged,
        **_staleness(events),
        waiting=sum(e.wait_s for e in events) / (run.workers * job.machines.now_s),
        time_s=job.machines.now_s,
        seconds=time.perf_counter() - started_s,
        accuracies=tuple(score.accuracy for score in scores),
        losses=tuple(_number(score.loss) for score in scores),
        **job.shares._asdict(),
    )


def _advance(
    machines: Simulator | Clients | Ranks,
    num_steps: int,
    workers: Workers,
    find: Callable[[Wanted], Sent],
) -> None:
    """Lets workers compute until they have made their steps, or have diverged.

    Those that train copies of their own make an epoch of them: at its end all bring
    what they have not sent yet. The others are stopped in the middle of their steps.
    """
    if workers.are_paced:
        assert isinstance(machines, Simulator)
        steps = machines.epoch(0, num_steps)
    else:
        steps = machines.stream()
    with contextlib.suppress(StopIteration):  # the epoch is over
        wanted = next(steps)
        while not workers.have_diverged and (
            workers.are_paced or workers.steps < num_steps
        ):
            wanted = steps.send(find(wanted))  # the push before it has arrived


def _staleness(events: Sequence[Event]) -> dict[str, Any]:
    found = [event.staleness for event in events if event.use == Use.UPDATE]
    mean = float(np.mean(found)) if found else 0.0
    return {"mean_staleness": mean, "max_staleness": max(found, default=0)}


def _number(value: float) -> float | None:
    """Returns a number as JSON has it, which knows none that is not finite."""
    return value if math.isfinite(value) else None
