"""The report of a run as one HTML page that needs nothing else. Pure text."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

from nfdt.telemetry import worker_outcomes
from nfdt.telemetry.summary import grouped, percent
from nfdt.telemetry.worker_outcomes import WorkerOutcome

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
  alt="Loss over time and updates, what the workers did, staleness, pushes. {words}">
</picture>
<h2 id="workers">Workers</h2>
{workers}
<p class="soft">Waited: share of the time between a worker's pushes in which it did not
compute, but sent, was held, or received. Dropped: gradients that came too late to be
used. Lead: steps ahead of the slowest worker. Staleness: updates between a pull and the
use of the gradient made with it.</p>
<h2 id="happenings">What happened</h2>
{happenings}
<h2 id="facts">The job</h2>
{facts}
<p class="soft">Step by step: open trace.perfetto.json in ui.perfetto.dev.</p>
</main>
</body>
</html>
"""
_COLUMNS = (
    "pushes",
    "batches",
    "dropped",
    "waited",
    "max lead",
    "mean staleness",
    "max staleness",
)


def page(
    title: str,
    lines: Sequence[str],
    pictures: tuple[bytes, bytes],
    workers: Sequence[WorkerOutcome],
    happenings: Sequence[Mapping[str, Any]],
    *,
    facts: Mapping[str, Any],
    origin_s: float,
) -> str:
    """Returns the page.

    Args:
        title: Title of the page.
        lines: Lines of the summary.
        pictures: PNG for light and for dark screens.
        workers: Rows of the table of workers.
        happenings: Happenings of the run, as sentences.
        facts: Facts of the job: name -> value.
        origin_s: Where the times of the report begin.
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
        words=words,
        workers=_worker_table(workers),
        happenings=_happening_table(happenings, origin_s),
        facts=_fact_table(facts),
    )


def _worker_table(workers: Sequence[WorkerOutcome]) -> str:
    heads = "".join(f'<th scope="col" class="number">{name}</th>' for name in _COLUMNS)
    rows = "\n".join(_worker_row(fate) for fate in workers)
    return f"""<div class="wide"><table aria-labelledby="workers">
<thead><tr><th scope="col">worker</th>{heads}<th scope="col">end</th></tr></thead>
<tbody>
{rows}
</tbody></table></div>"""


def _worker_row(fate: WorkerOutcome) -> str:
    cells = (
        grouped(fate.pushes),
        grouped(fate.batches),
        grouped(fate.dropped),
        "-" if fate.waited is None else percent(fate.waited),
        "-" if fate.max_lead is None else str(fate.max_lead),
        "-" if fate.mean_staleness is None else f"{fate.mean_staleness:.2f}",
        "-" if fate.max_staleness is None else str(fate.max_staleness),
    )
    numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
    is_bad = fate.end.startswith((worker_outcomes.LOST, worker_outcomes.FAILED))
    end = f"<td{' class=alarm' if is_bad else ''}>{fate.end or '-'}</td>"
    return f'<tr><th scope="row">{fate.worker}</th>{numbers}{end}</tr>'


def _happening_table(happenings: Sequence[Mapping[str, Any]], origin_s: float) -> str:
    told = worker_outcomes.worth_words(happenings)
    if not told:
        return "<p>Nothing but training.</p>"
    shown = told[:_MOST_HAPPENINGS]
    rows = "\n".join(
        f"<tr><td>{max(0.0, one['time_s'] - origin_s):.1f} s</td>"
        f"<td>{html.escape(worker_outcomes.in_words(one))}</td></tr>"
        for one in shown
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
