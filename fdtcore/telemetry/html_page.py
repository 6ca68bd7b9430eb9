"""The report of a run as one HTML page that needs nothing else. Pure text."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fdtcore.telemetry.words import grouped

_MOST_HAPPENINGS = 300
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #ffffff; --line: #d0d0d0;
  --soft: #595959; --alarm: #a4262c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181c; --line: #4a4d53; --soft: #a8abb1;
    --alarm: #ff8f8f; } }
body { margin: 2rem auto; padding: 0 1rem; max-width: 68rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
img { width: 100%; height: auto; }
pre, td.number { font-variant-numeric: tabular-nums; }
pre { font-size: 0.95rem; white-space: pre-wrap; }
td:last-child { white-space: nowrap; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: 0.2rem 1rem 0.2rem 0; border-bottom: 1px solid var(--line);
  text-align: left; vertical-align: top; }
.number { text-align: right; }
thead th, .soft { color: var(--soft); font-weight: normal; }
.alarm { color: var(--alarm); font-weight: bold; }
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<pre>{lines}</pre>
<picture>
<source media="(prefers-color-scheme: dark)" srcset="data:image/png;base64,{dark}">
<img src="data:image/png;base64,{light}"
  alt="{shown} {words}">
</picture>
<h2 id="{id}">{heading}</h2>
{table}
<p class="soft">{legend}</p>
<h2 id="happenings">What happened</h2>
{happenings}
<h2 id="facts">The job</h2>
{facts}
<p class="soft">Step by step: open trace.perfetto.json in ui.perfetto.dev.</p>
</main>
</body>
</html>
"""


class Table(NamedTuple):
    """One row for each process: its number, numbers, and how it ended."""

    heading: str
    row: str  # what a row is of
    columns: Sequence[str]
    rows: Sequence[tuple[int, Sequence[str], str, bool]]  # the last: it ended badly
    legend: str  # what the columns mean


def page(
    title: str,
    lines: Sequence[str],
    pictures: tuple[bytes, bytes],
    table: Table,
    happenings: Sequence[tuple[float, str]],
    *,
    shown: str,
    facts: Mapping[str, Any],
) -> str:
    """Returns the page.

    Args:
        title: Title of the page.
        lines: Lines of the summary.
        pictures: PNG for light and for dark screens.
        table: The processes.
        happenings: When, from the beginning of the report, and what, as sentences.
        shown: What the picture shows, for who cannot see it.
        facts: Facts of the job: name -> value.
    """
    light, dark = (base64.b64encode(picture).decode() for picture in pictures)
    words = html.escape(
        ". ".join([title, *(": ".join(one.split(maxsplit=1)) for one in lines)])
    )
    return _PAGE.format(
        title=html.escape(title),
        style=_STYLE,
        lines=html.escape("\n".join(lines)),
        light=light,
        dark=dark,
        shown=html.escape(shown),
        words=words,
        id=table.heading.lower(),
        heading=table.heading,
        table=_process_table(table),
        legend=html.escape(table.legend),
        happenings=_happening_table(happenings),
        facts=_fact_table(facts),
    )


def _process_table(table: Table) -> str:
    heads = "".join(
        f'<th scope="col" class="number">{html.escape(name)}</th>'
        for name in table.columns
    )
    rows = "\n".join(_process_row(*row) for row in table.rows)
    return f"""<div class="wide"><table aria-labelledby="{table.heading.lower()}">
<thead><tr><th scope="col">{table.row}</th>{heads}<th scope="col">end</th></tr></thead>
<tbody>
{rows}
</tbody></table></div>"""


def _process_row(number: int, cells: Sequence[str], end: str, is_bad: bool) -> str:
    numbers = "".join(f'<td class="number">{html.escape(cell)}</td>' for cell in cells)
    last = f"<td{' class=alarm' if is_bad else ''}>{html.escape(end) or '-'}</td>"
    return f'<tr><th scope="row">{number}</th>{numbers}{last}</tr>'


def _happening_table(told: Sequence[tuple[float, str]]) -> str:
    if not told:
        return "<p>Nothing but training.</p>"
    shown = told[:_MOST_HAPPENINGS]
    rows = "\n".join(
        f"<tr><td>{time_s:.1f} s</td><td>{html.escape(what)}</td></tr>"
        for time_s, what in shown
    )
    left = len(told) - len(shown)
    more = f"<p>And {grouped(left)} more in trace.jsonl.</p>" if left else ""
    return f"""<div class="wide"><table aria-labelledby="happenings">
<thead><tr><th scope="col">time</th><th scope="col">what</th></tr></thead>
<tbody>
{rows}
</tbody></table></div>{more}"""


def _fact_table(facts: Mapping[str, Any]) -> str:
    if not facts:
        return "<p>The trace does not say.</p>"
    rows = "\n".join(
        f'<tr><th scope="row">{html.escape(str(name).replace("_", " "))}</th>'
        f"<td>{html.escape(str(value))}</td></tr>"
        for name, value in facts.items()
    )
    return f"""<div class="wide"><table aria-labelledby="facts"><tbody>
{rows}
</tbody></table></div>"""
