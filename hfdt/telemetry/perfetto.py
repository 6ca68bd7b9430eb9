"""A run as trace events: what ui.perfetto.dev shows of it.

One process for each rank, in it a track of its steps and as many as gradients are on
their way at one time; a counter of the bytes sent; marks for what happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fdtcore.telemetry.perfetto import counter, instant, meta, span
from hfdt.telemetry.steps import RankSteps, StepTimeline

_PARTS = ("compute", "select", "wait for the last rank", "reduce")
_SHORTEST_US = 1.0


def events(
    line: StepTimeline, happenings: Sequence[tuple[float, str]]
) -> Iterator[dict[str, Any]]:
    """Yields the trace events, those of a track by time.

    Args:
        line: Timeline of the run.
        happenings: When what happened, from its origin.
    """
    for rank, steps in line.ranks.items():
        process = rank + 1  # 0 is an idle task to viewers
        lanes = 1 + max((e.lane for step in steps.exchanges for e in step), default=0)
        yield meta("process_name", 0, process=process, name=f"rank {rank}")
        yield meta("process_sort_index", 0, process=process, sort_index=rank)
        yield meta("thread_name", 0, process=process, name="steps")
        for lane in range(lanes):
            name = "gradients on their way"
            yield meta("thread_name", lane + 1, process=process, name=name)
        yield from _steps(process, steps)
        yield from _exchanges(process, steps)
        for at_s, sent in zip(steps.ended_s, steps.sent_bytes, strict=True):
            yield counter("sent", float(at_s), {"bytes": sent}, process=process)
    for time_s, words in happenings:
        yield instant(words, time_s, None)


def _steps(process: int, steps: RankSteps) -> Iterator[dict[str, Any]]:
    edges = np.maximum(np.stack(steps.edges).T, 0.0)
    for number, times_us in enumerate(np.round(edges * 1e6, 3).tolist(), start=1):
        about: Mapping[str, Any] = {
            "step": number,
            "sent_bytes": steps.sent_bytes[number - 1],
            "dense_bytes": steps.dense_bytes[number - 1],
        }
        for name, begun, ended in zip(_PARTS, times_us, times_us[1:], strict=False):
            if ended - begun >= _SHORTEST_US or name == "compute":
                yield span(
                    name, 0, begun, ended, about, process=process, category="step"
                )


def _exchanges(process: int, steps: RankSteps) -> Iterator[dict[str, Any]]:
    for number, found in enumerate(steps.exchanges, start=1):
        for one in found:
            begun_us, ended_us = (
                round(1e6 * max(0.0, time_s), 3)
                for time_s in (one.begun_s, one.ended_s)
            )
            about = {"step": number, "sent_bytes": one.sent_bytes}
            yield span(
                one.name,
                one.lane + 1,
                begun_us,
                ended_us,
                about,
                process=process,
                category="exchange",
            )
