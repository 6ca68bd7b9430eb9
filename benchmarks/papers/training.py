"""Trains once: real gradients, the real server, virtual time."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.papers.clusters import cluster
from benchmarks.papers.contenders import CONTENDERS
from benchmarks.papers.objective import Objective, Score, objective
from benchmarks.papers.runs import Outcome, Run
from benchmarks.papers.workers import Workers, optimizer
from nfdt.consistency import parse
from nfdt.glue.shard_factory import maker
from nfdt.protocol.events import Event, Use
from nfdt.protocol.group_spec import GroupSpec
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.server import Service
from nfdt.rules.corrections import Vector
from nfdt.simulation.simulator import Simulator
from nfdt.simulation.workers import Sent, Wanted


def train(run: Run) -> Outcome:
    """Trains as a run says. But for the seconds it takes, a function of the run."""
    started_s = time.perf_counter()
    goal = objective(run.work)
    workers = Workers(run, goal)
    service = _service(run, goal, workers.first)
    machines = cluster(run, workers.first.nbytes)
    simulator = Simulator([service], machines, run.seed)
    scores: list[Score] = []

    def find(wanted: Wanted) -> Sent:
        if workers.steps * run.looks >= run.steps * (len(scores) + 1):
            scores.append(goal.score(service.groups[0].params))
        return workers.find(wanted)

    _advance(simulator, run.steps, workers, find)
    scores.append(goal.score(service.groups[0].params))
    events, _ = service.take_records()
    return Outcome(
        scores[-1].accuracy,
        _number(scores[-1].loss),
        workers.have_diverged,
        **_staleness(events),
        waiting=sum(e.wait_s for e in events) / (run.workers * simulator.now_s),
        time_s=simulator.now_s,
        seconds=time.perf_counter() - started_s,
        accuracies=tuple(score.accuracy for score in scores),
        losses=tuple(_number(score.loss) for score in scores),
    )


def _advance(
    simulator: Simulator,
    num_steps: int,
    workers: Workers,
    find: Callable[[Wanted], Sent],
) -> None:
    """Lets workers compute until they have made their steps, or have diverged.

    Those that train copies of their own make an epoch of them: at its end all bring
    what they have not sent yet. The others are stopped in the middle of their steps.
    """
    steps = simulator.epoch(0, num_steps) if workers.are_paced else simulator.stream()
    with contextlib.suppress(StopIteration):  # the epoch is over
        wanted = next(steps)
        while not workers.have_diverged and (
            workers.are_paced or workers.steps < num_steps
        ):
            wanted = steps.send(find(wanted))  # the push before it has arrived


def _service(run: Run, goal: Objective, first: Vector) -> Service:
    """Returns a server that a worker has opened."""
    algorithm = CONTENDERS[run.algorithm].algorithm
    make = maker(algorithm, parse(run.consistency), run.workers, 1)
    service = Service(run.workers, make)
    spec = GroupSpec(
        algorithm=algorithm.name,
        optimizer=optimizer(run),
        variables=tuple((str(i), tuple(s)) for i, s in enumerate(goal.shapes)),
        dtype="float32",
        wire="float32",
    )
    opening = Message(Kind.OPEN, 0, payload=spec.pack(first))
    service.handle(opening, 0.0)
    return service


def _staleness(events: Sequence[Event]) -> dict[str, Any]:
    found = [event.staleness for event in events if event.use == Use.UPDATE]
    mean = float(np.mean(found)) if found else 0.0
    return {"mean_staleness": mean, "max_staleness": max(found, default=0)}


def _number(value: float) -> float | None:
    """Returns a number as JSON has it, which knows none that is not finite."""
    return value if math.isfinite(value) else None
