"""The report of a run, from its trace: a picture, a page, a file for Perfetto."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdtcore.telemetry import html_page, report_files
from fdtcore.telemetry.report_files import Report
from fdtcore.telemetry.theme import Theme, check_matplotlib
from nfdt.protocol.events import Use
from nfdt.telemetry import figure, perfetto, timeline, worker_outcomes
from nfdt.telemetry.summary import Summary
from nfdt.telemetry.trace import Trace, read

_SHOWN = "Loss over time and updates, what the workers did, staleness, pushes."


def write(directory: str | Path, output: str | Path | None = None) -> Report:
    """Draws a run.

    Args:
        directory: Folder of the trace, or the path of its file.
        output: Where the files go; the folder of the trace if it is not given.

    Raises:
        ValueError: The trace is missing or empty, no file can be written, or
            matplotlib is not installed.
    """
    check_matplotlib()
    trace = read(directory)
    _check_not_empty(trace, directory)
    folder = report_files.folder(directory, output)
    summary = Summary()
    summary.add(trace.events)
    line = timeline.build(trace.events)
    title = headline(trace.facts)
    told = worker_outcomes.worth_words(trace.happenings)

    def draw(theme: Theme) -> bytes:
        return figure.draw(line, summary, trace.happenings, title, theme)

    def page(pictures: tuple[bytes, bytes]) -> str:
        return html_page.page(
            title,
            summary.lines(),
            pictures,
            worker_outcomes.table(trace, line.table, summary, line.origin_s),
            [
                (max(0.0, one["time_s"] - line.origin_s), worker_outcomes.in_words(one))
                for one in told
            ],
            shown=_SHOWN,
            facts=trace.facts,
        )

    events = perfetto.events(trace, line)
    return report_files.write(folder, summary.lines(), draw, page, trace.facts, events)


def headline(facts: Mapping[str, Any]) -> str:
    """Returns a title of a run: its algorithm, and how many trained and served."""
    parts = [str(facts.get("algorithm", "a run"))]
    if consistency := facts.get("consistency"):
        parts.append(str(consistency))
    for name in ("workers", "servers"):
        if count := facts.get(name):
            parts.append(f"{count} {name[:-1] if count == 1 else name}")
    return ", ".join(parts)


def _check_not_empty(trace: Trace, directory: str | Path) -> None:
    if not any(event.use == Use.UPDATE for event in trace.events):
        said = "".join(f"; {worker_outcomes.in_words(one)}" for one in trace.happenings)
        raise ValueError(
            f"a report needs at least one update. Received: none in {directory}{said}. "
            "The run ended before its first update: see its own messages."
        )
