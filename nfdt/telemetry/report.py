"""The report of a run, from its trace: a picture, a page, a file for Perfetto."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nfdt.protocol.events import Use
from nfdt.telemetry import figure, html_page, perfetto, timeline, worker_outcomes
from nfdt.telemetry.summary import Summary
from nfdt.telemetry.trace import Trace, check_directory, read

PICTURE, PAGE = "report.png", "report.html"


class Report(NamedTuple):
    """What was written, and the lines that a run ends with."""

    picture: Path
    page: Path
    perfetto: Path
    lines: list[str]


def write(directory: str | Path, output: str | Path | None = None) -> Report:
    """Draws a run.

    Args:
        directory: Folder of the trace, or the path of its file.
        output: Where the files go; the folder of the trace if it is not given.

    Raises:
        ValueError: The trace is missing or empty, no file can be written, or
            matplotlib is not installed.
    """
    figure.check_matplotlib()
    trace = read(directory)
    _check_not_empty(trace, directory)
    source = Path(directory)
    folder = Path(output or (source if source.is_dir() else source.parent))
    check_directory(folder)
    summary = Summary()
    summary.add(trace.events)
    line = timeline.build(trace.events)
    title = headline(trace.facts)
    light, dark = (
        figure.draw(line, summary, trace.happenings, title, theme)
        for theme in (figure.LIGHT, figure.DARK)
    )
    text = html_page.page(
        title,
        summary.lines(),
        (light, dark),
        worker_outcomes.find(trace, line.table, summary, line.origin_s),
        trace.happenings,
        facts=trace.facts,
        origin_s=line.origin_s,
    )
    (folder / PICTURE).write_bytes(light)
    (folder / PAGE).write_text(text, encoding="utf-8")
    perfetto.write(folder / perfetto.NAME, trace, line)
    files = (folder / PICTURE, folder / PAGE, folder / perfetto.NAME)
    return Report(*files, summary.lines())


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
