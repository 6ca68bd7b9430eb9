"""The cluster that a real run has measured, computed from its times. Pure.

A worker's cycle is a step, which the trace tells, and an exchange. With latency L, for
b bytes of gradient and parameters together bandwidth B, update time u(b), and the two
messages' jitter J::

    exchange(b) = 2 L + b / B + u(b) + J E_1 + J E_2,   E_i exponential with mean 1

Two sizes tell L and B: the model's, as in the run itself, and one parameter, for which
b / B counts as none. u is measured by itself, at both sizes. All are taken in quiet
moments; what the mean of the run's exchanges has above that is jitter, so that the mean
is kept.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fdtcore.text_values import write_s
from nfdt.clusters.cluster import Cluster
from nfdt.clusters.machines import Link, Servers, WorkerGroup
from nfdt.clusters.step_times import Measured
from nfdt.protocol.events import Event, Use

# What the run and who evaluates it know each other by.
PROBE_NAME = "probe.json"  # file in the folder of the job
PROBE = -1  # index of the group of one parameter

_WARM_UP = 5  # pushes of each worker that do not count
_QUIET = 0.1  # the share of times that are shorter than in a quiet moment
_SAMPLES = 32  # step times in a file


class Costs(NamedTuple):
    """What was measured beside the steps, in quiet moments."""

    params_bytes: int  # of the parameters
    push_bytes: int  # of a gradient on its way
    returned_bytes: int  # of the parameters on their way back
    exchange_s: float  # of one parameter, its update included
    update_s: float  # of one parameter, on the server
    model_update_s: float  # of the model


def steady(events: Sequence[Event], num_workers: int) -> list[Event]:
    """Returns the pushes from the time on when all workers train, to when one ends.

    Args:
        events: Of one group of variables, in any order.
        num_workers: Number of workers, M.
    """
    pushes = sorted(e for e in events if e.use == Use.UPDATE)
    times_s: dict[int, list[float]] = defaultdict(list)
    for event in pushes:
        times_s[event.worker].append(event.time_s)
    if len(times_s) < num_workers or min(map(len, times_s.values())) <= _WARM_UP:
        return []
    begin_s = max(times[_WARM_UP - 1] for times in times_s.values())
    end_s = min(times[-1] for times in times_s.values())
    return [event for event in pushes if begin_s < event.time_s <= end_s]


def fewest_steps(events: Sequence[Event], num_workers: int) -> int:
    """Returns how often the worker with the fewest of these pushes has pushed."""
    counts = Counter(event.worker for event in events)
    return min(counts[worker] for worker in range(num_workers))


def calibrated(
    events: Sequence[Event], costs: Costs, num_workers: int, name: str
) -> Cluster:
    """Returns the cluster on which a simulated run is like the measured one.

    Args:
        events: Steady pushes to the model's variables; each worker has several.
        costs: Measurements outside of the steps.
        num_workers: Number of workers, M.
        name: Name of the cluster, for its file.
    """
    inside = _within_epochs(events)
    exchanges_s = [event.exchange_s for event in inside]
    on_the_way_s = max(0.0, quiet_s(exchanges_s) - costs.model_update_s)
    fixed_s = min(on_the_way_s, max(0.0, costs.exchange_s - costs.update_s))
    chance_s = statistics.mean(exchanges_s) - on_the_way_s - costs.model_update_s
    link = Link(
        _rounded(fixed_s / 2),
        _rate(costs.push_bytes + costs.returned_bytes, on_the_way_s - fixed_s),
        _rounded(max(0.0, chance_s) / 2),
    )
    servers = Servers(
        bytes_per_s=_rate(costs.params_bytes, costs.model_update_s - costs.update_s),
        overhead_s=_rounded(costs.update_s),
    )
    step = Measured(representatives([event.compute_s for event in inside]))
    return Cluster((WorkerGroup(num_workers, step, link),), servers, name=name)


def facts(events: Sequence[Event], costs: Costs, num_workers: int) -> list[str]:
    """Returns lines that say what was measured.

    Args:
        events: Steady pushes to the model's variables, as for :func:`calibrated`.
        costs: Measurements, as for :func:`calibrated`.
        num_workers: Number of workers, M.
    """
    inside = _within_epochs(events)
    step_s = statistics.mean(event.compute_s for event in inside)
    exchange_s = statistics.mean(event.exchange_s for event in inside)
    moved_mb = (costs.push_bytes + costs.returned_bytes) / 1e6
    moved = f"{moved_mb:.3g} MB there and back"
    workers = f"{num_workers} worker{'s at once' if num_workers > 1 else ''}"
    return [
        f"{len(inside)} steps of {workers}: mean {_shown(step_s)}.",
        f"Exchanges, {moved}: mean {_shown(exchange_s)},",
        f"of which the server's update takes {_shown(costs.model_update_s)}.",
    ]


def quiet_s(times_s: Sequence[float]) -> float:
    """Returns the time that something takes when nothing else is in its way."""
    return float(np.quantile(times_s, _QUIET))


def representatives(times_s: Sequence[float]) -> tuple[float, ...]:
    """Returns at most 32 times of the same distribution, with three digits.

    The times, by length, are cut into parts that differ by at most one; of each the
    mean is taken.

    Args:
        times_s: Times in seconds, in any order; at least one.
    """
    parts = np.array_split(np.sort(times_s), min(_SAMPLES, len(times_s)))
    return tuple(_rounded(float(part.mean())) for part in parts)


def _within_epochs(events: Sequence[Event]) -> list[Event]:
    """Leaves out first pushes of epochs: before them is what ends the last epoch."""
    epochs: dict[int, int] = {}
    found = []
    for event in events:
        if epochs.get(event.worker, event.epoch) == event.epoch:
            found.append(event)
        epochs[event.worker] = event.epoch
    return found


def _rate(num_bytes: float, time_s: float) -> float:
    """Returns bytes per second; infinity where no time is left for them."""
    return _rounded(num_bytes / time_s) if time_s > 0 else math.inf


def _shown(time_s: float) -> str:
    return write_s(_rounded(time_s))


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
