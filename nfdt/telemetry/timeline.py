"""The timeline of each worker, built from the pushes that the server saw.

Letters: N pushes of one worker. Pure arithmetic on arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, get_type_hints

import numpy as np
import numpy.typing as npt

from fdtcore.telemetry.rows import Times
from nfdt.protocol.events import Event

Table = npt.NDArray[np.void]  # one row a push; its columns are the fields of Event

_TYPES = {int: "i8", float: "f8"}
_DTYPE = [(name, _TYPES[kind]) for name, kind in get_type_hints(Event).items()]
_LONGEST_START = 0.1  # of the time from the first push to the last


class Spans(NamedTuple):
    """One worker's time: ``start <= pushed <= waited <= released <= next start``.

    From ``start_s`` on it computes; from ``pushed_s`` the server holds it back, as its
    controller wants; from ``waited_s`` data are on their way, until ``released_s``.
    """

    start_s: Times  # [N], as are the next
    pushed_s: Times
    waited_s: Times
    released_s: Times


class Timeline(NamedTuple):
    """A run; all times but ``origin_s`` count from there."""

    origin_s: float  # on the server's clock
    end_s: float
    table: Table  # by time
    workers: Mapping[int, Spans]


def build(events: Sequence[Event]) -> Timeline:
    """Returns the timeline of a run.

    A worker reports how long a computation took, and with the next push how long the
    exchange after it: two spans that end where the next begins. They are anchored at
    the arrival of the push, which is the time of its update, or that less the time
    held where several gradients make one update. What a worker says and what the
    server sees differ by the time on the wire, which goes to the exchanges; spans
    never overlap.

    Args:
        events: Those of the run's trace, in any order; at least one.
    """
    table = np.array(events, dtype=_DTYPE)
    table = table[np.argsort(table["time_s"], kind="stable")]
    arrived_s = _arrivals(table)
    begun_s = arrived_s - table["compute_s"]
    # A first batch may have begun long before, while data were read.
    longest_s = _LONGEST_START * (arrived_s.max() - arrived_s.min())
    origin_s = float(begun_s.min())
    if longest_s > 0:
        origin_s = max(origin_s, float(arrived_s.min() - longest_s))
    table["time_s"] -= origin_s
    arrived_s = arrived_s - origin_s
    workers = {
        int(worker): _spans(table[mine], arrived_s[mine])
        for worker in np.unique(table["worker"])
        for mine in [table["worker"] == worker]
    }
    end_s = max(float(spans.released_s[-1]) for spans in workers.values())
    return Timeline(origin_s, end_s, table, workers)


def _arrivals(table: Table) -> Times:
    """Returns when each push reached the server, [all pushes]."""
    updates = np.stack([table["group"], table["version"]])
    _, update, count = np.unique(
        updates, axis=1, return_inverse=True, return_counts=True
    )
    in_a_group = count[update.reshape(-1)] > 1
    wait_s = np.nan_to_num(table["wait_s"])
    return table["time_s"] - np.where(in_a_group, wait_s, 0.0)


def _spans(mine: Table, arrived_s: Times) -> Spans:
    pushed_s = np.maximum.accumulate(arrived_s)
    wait_s = np.nan_to_num(mine["wait_s"])
    exchange_s, follows = _exchanges(mine, wait_s)
    # With several groups, a computation of one spans the exchanges of the others.
    is_same = mine["group"][1:] == mine["group"][:-1]
    exchanged_s = np.minimum(pushed_s[:-1] + exchange_s[:-1], pushed_s[1:])
    before_s = np.where(is_same, pushed_s[:-1], exchanged_s)
    start_s = np.maximum(pushed_s - mine["compute_s"], np.append(0.0, before_s))
    next_s = np.append(start_s[1:], np.inf)
    released_s = np.minimum(pushed_s + exchange_s, next_s)
    # A worker is never idle: what is left between its spans is time on the wire.
    released_s[:-1] = np.where(follows[1:], next_s[:-1], released_s[:-1])
    waited_s = np.minimum(pushed_s + wait_s, released_s)
    return Spans(start_s, pushed_s, waited_s, released_s)


def _exchanges(mine: Table, wait_s: Times) -> tuple[Times, npt.NDArray[np.bool_]]:
    """Returns the time of the exchange after each push, and which follow the last one.

    The exchange is told by the next push to the group; after the last, by nobody, and
    at least what it was held. A refused push is missing from the clocks.
    """
    exchange_s = wait_s.copy()
    follows = mine["clock"] == 1
    for group in np.unique(mine["group"]):
        (rows,) = np.nonzero(mine["group"] == group)
        is_next = np.diff(mine["clock"][rows]) == 1
        follows[rows[1:]] = is_next
        told_s = mine["exchange_s"][rows[1:]]
        exchange_s[rows[:-1]] = np.where(is_next, told_s, exchange_s[rows[:-1]])
    return exchange_s, follows


def smooth(values: Times, window: int) -> Times:
    """Returns the running mean over ``window`` neighbours; what is NaN counts not.

    Near the ends the window is cut, so the first and last values are kept in.
    """
    known = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    index = np.arange(len(values))
    low = np.maximum(index - window // 2, 0)
    high = np.minimum(index + window // 2 + 1, len(values))
    count = counts[high] - counts[low]
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, (sums[high] - sums[low]) / count, np.nan)
