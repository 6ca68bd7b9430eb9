"""The report of a run, from its trace: a picture, a page, a file for Perfetto."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdtcore.message_log import write_bytes
from fdtcore.telemetry import html_page, report_files
from fdtcore.telemetry.report_files import Report
from fdtcore.telemetry.theme import Theme, check_matplotlib
from hfdt.telemetry import figure, perfetto, steps, summary
from hfdt.telemetry.trace import JobRecord, read

_SHOWN = "What the ranks did, some steps near by, times of steps and of their parts."


def write(directory: str | Path, output: str | Path | None = None) -> Report:
    """Draws a run.

    Args:
        directory: Folder of the trace, or the path of a file of it.
        output: Where the files go; the folder of the trace if it is not given.

    Raises:
        ValueError: The trace is missing, damaged or empty, no file can be written, or
            matplotlib is not installed.
    """
    check_matplotlib()
    trace = read(directory)
    line = steps.build(trace.lives)
    happenings = summary.happenings(trace, line)
    if not line.ranks or not len(line.ranks[0].ended_s):
        said = "".join(f"; {words}" for _, words in happenings)
        raise ValueError(
            f"a report needs at least one step. Received: none in {directory}{said}. "
            "The run ended before its first step: see its own messages."
        )
    folder = report_files.folder(directory, output)
    ranks = summary.of_ranks(trace, line)
    title, head = headline(trace.facts), summary.lines(trace, line, ranks)
    ends = summary.ends(trace, line)

    def draw(theme: Theme) -> bytes:
        return figure.draw(line, ranks, ends, title, head, theme)

    def page(pictures: tuple[bytes, bytes]) -> str:
        return html_page.page(
            title,
            head,
            pictures,
            summary.table(ranks),
            happenings,
            shown=_SHOWN,
            facts=trace.facts,
        )

    return report_files.write(
        folder,
        [*head, *summary.table_lines(ranks)],
        draw,
        page,
        _about(trace),
        perfetto.events(line, happenings),
    )


def headline(facts: Mapping[str, Any]) -> str:
    """Returns a title of a run: how many ranks, and how their gradients travel."""
    count = facts.get("ranks", 0)
    parts = [f"hfdt, {count} {'rank' if count == 1 else 'ranks'}"]
    if facts.get("compression", "none") != "none":
        parts.append(str(facts["compression"]))
    if num_bytes := facts.get("bucket_bytes"):
        parts.append(f"buckets of {write_bytes(num_bytes)}")
    if (steps := facts.get("accumulate", 1)) != 1:
        parts.append(f"{steps} steps an update")
    return ", ".join(parts)


def _about(trace: JobRecord) -> Mapping[str, Any]:
    return {"framework": "hfdt", **trace.facts}
