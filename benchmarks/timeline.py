"""Where the time of a step goes, read from a Horovod timeline."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

Interval = tuple[float, float]  # start and end in microseconds

# A record and at most one nested record; the file is unfinished JSON while it grows.
RECORD = re.compile(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)?\}")


class StepTime(NamedTuple):
    """Mean of one step as rank 0 saw it, in milliseconds; the parts add up."""

    step_ms: float
    allreduce_ms: float  # gradients being packed and exchanged
    waiting_ms: float  # rank 0 is ready, another rank is not yet
    compute_ms: float  # all the rest: forward, backward, update, input
    steps: int  # over how many steps the mean was taken


def step_time(text: str) -> StepTime:
    """Split the mean step into exchange, waiting and computation.

    What happens at the same time counts once: as exchange if gradients are being
    exchanged, else as waiting if rank 0 waits for a gradient of another rank. The
    first quarter of the steps (tracing, warm-up) is left out.

    Args:
        text: Content of the file that ``HOROVOD_TIMELINE`` named.

    Raises:
        ValueError: It holds fewer than four steps.
    """
    exchanges, waits, marks = _read(text)
    if len(marks) < 4:
        raise ValueError(
            f"A timeline must hold at least 4 steps. Received: {len(marks)}. "
            "Train for more steps."
        )
    marks = marks[len(marks) // 4 :]
    start, stop, steps = marks[0], marks[-1], len(marks) - 1
    exchange_us = _length(_merge(exchanges, start, stop))
    both_us = _length(_merge([*exchanges, *waits], start, stop))
    per_step = 1e3 * steps
    return StepTime(
        step_ms=(stop - start) / per_step,
        allreduce_ms=exchange_us / per_step,
        waiting_ms=(both_us - exchange_us) / per_step,
        compute_ms=(stop - start - both_us) / per_step,
        steps=steps,
    )


def _read(text: str) -> tuple[list[Interval], list[Interval], list[float]]:
    """Return exchange intervals, waiting intervals, and one time mark per step."""
    exchanges: list[Interval] = []
    waits: list[Interval] = []
    begins: dict[int, list[float]] = defaultdict(list)  # tensor -> exchange begins
    open_spans: dict[int, list[tuple[str, float]]] = defaultdict(list)
    ready: dict[int, float] = {}  # tensor -> when rank 0 was ready
    for event in map(json.loads, RECORD.findall(text)):
        tensor, at, name = event["pid"], event.get("ts", 0), event.get("name", "")
        if event["ph"] == "B":
            open_spans[tensor].append((name, at))
        elif event["ph"] == "X" and name == "0":
            ready[tensor] = at
        elif event["ph"] == "E" and open_spans[tensor]:
            name, began = open_spans[tensor].pop()
            if name == "NEGOTIATE_ALLREDUCE":
                waits.append((ready.pop(tensor, began), at))
            elif name == "ALLREDUCE":
                exchanges.append((began, at))
                begins[tensor].append(began)
    # A gradient is exchanged once a step; metrics and the like are less frequent.
    most = Counter({tensor: len(times) for tensor, times in begins.items()})
    marks = begins[most.most_common(1)[0][0]] if most else []
    return exchanges, waits, sorted(marks)


def _merge(
    intervals: Iterable[Interval], start: float, stop: float
) -> Sequence[Interval]:
    """Return the union of intervals within [start, stop], disjoint and in order."""
    union: list[Interval] = []
    for begin, end in sorted(intervals):
        begin, end = max(begin, start), min(end, stop)
        if begin >= end:
            continue
        if union and begin <= union[-1][1]:
            union[-1] = (union[-1][0], max(end, union[-1][1]))
        else:
            union.append((begin, end))
    return union


def _length(intervals: Iterable[Interval]) -> float:
    return sum(end - begin for begin, end in intervals)
