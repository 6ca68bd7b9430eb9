"""Pushes of runs that never were, in virtual time."""

import heapq
import math

import numpy as np

from nfdt.protocol.controllers import DynamicSynchronous
from nfdt.protocol.events import Event, Readings
from tests.nfdt.rules import server
from tests.nfdt.virtual_time import Workers

START_S = 5000.0  # clocks begin anywhere


def event(**fields):
    """Returns a push of which only some fields matter."""
    usual = dict(
        time_s=START_S,
        worker=0,
        group=0,
        clock=1,
        version=1,
        staleness=0,
        lead=0,
        wait_s=0.0,
        compute_s=0.0,
        exchange_s=0.0,
        loss=math.nan,
        epoch=0,
        number=-1,
    )
    return Event(**usual | fields)


def run(steps_s, num_pushes, *, lost=None, epoch_pushes=200, seed=0):
    """Returns the pushes of an asynchronous run.

    Args:
        steps_s: Mean time of a computation of each worker.
        num_pushes: Of all together.
        lost: Worker -> when it dies, from the start.
        epoch_pushes: Batches of an epoch.
        seed: Of step times and losses.
    """
    random = np.random.default_rng(seed)
    lost = lost or {}
    exchange_s, queue, events = 0.004, [], []
    pulled = dict.fromkeys(range(len(steps_s)), 0)
    clocks = dict.fromkeys(range(len(steps_s)), 0)
    for worker, step_s in enumerate(steps_s):
        compute_s = 2.0 + step_s * random.uniform(0.8, 1.2)  # the first one is traced
        heapq.heappush(queue, (compute_s, worker, compute_s, 0.0))
    while queue and len(events) < num_pushes:
        now_s, worker, compute_s, before_s = heapq.heappop(queue)
        if now_s > lost.get(worker, math.inf):
            continue
        version = len(events) + 1
        clocks[worker] += 1
        number = (version - 1) % epoch_pushes
        events.append(
            event(
                time_s=START_S + now_s,
                worker=worker,
                clock=clocks[worker],
                version=version,
                staleness=version - 1 - pulled[worker],
                lead=clocks[worker] - min(clocks.values()),
                wait_s=0.0,
                compute_s=compute_s,
                exchange_s=before_s,
                loss=2.3 / (1 + version / 150) * random.lognormal(0, 0.25),
                epoch=(version - 1) // epoch_pushes,
                number=number,
            )
        )
        pulled[worker] = version
        next_s = steps_s[worker] * random.gamma(30, 1 / 30)
        there_s = now_s + exchange_s + next_s
        heapq.heappush(queue, (there_s, worker, next_s, exchange_s))
    return events


def bulk_synchronous(steps_s, num_rounds):
    """Returns the pushes of a run whose workers wait for the slowest each step."""
    slowest_s = max(steps_s)
    return [
        event(
            time_s=START_S + (round_ + 1) * slowest_s,
            worker=worker,
            clock=round_ + 1,
            version=round_ + 1,
            wait_s=slowest_s - step_s,
            compute_s=step_s,
            exchange_s=slowest_s - step_s if round_ else 0.0,
            loss=1.0,
        )
        for round_ in range(num_rounds)
        for worker, step_s in enumerate(steps_s)
    ]


def dynamic(step_s=(1.0, 3.0), steps=12):
    """Returns events and happenings of workers under DSP."""
    made = server("asgd", np.zeros(1), len(step_s), DynamicSynchronous(2, 2))
    Workers(
        made,
        lambda worker: step_s[worker],
        steps,
        payload=lambda worker: Readings(1 / step_s[worker], 50.0).packed(),
    ).run()
    events, happenings = made.records.take()
    dated = [
        (about["kind"], {"time_s": time_s, **about}) for time_s, about in happenings
    ]
    for _, more in dated:
        del more["kind"]
    return events, dated
