"""Forecasts throughput past one machine, in virtual time: pictures for docs/scaling.md.

    python -m benchmarks.scaling [--quick]

Writes ``docs/scaling-small.png``, ``docs/scaling-large.png`` and, with all numbers,
``benchmarks/results/nfdt/scaling.json``.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nfdt.clusters.cluster import Cluster
from nfdt.clusters.machines import Link, Servers, WorkerGroup
from nfdt.clusters.step_times import Gamma
from nfdt.planning.forecast import forecast
from nfdt.protocol.events import Event

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "nfdt" / "scaling.json"
STEP_S, VARIATION = 0.1, 0.1
LATENCY_S = 50e-6
UPDATED_BYTES_PER_S = 2e9  # of parameters, by one server
MODELS = {"small": 1_700_000, "large": 25_600_000}  # parameters, float32
LINKS = {"1 Gbit/s": 0.125e9, "10 Gbit/s": 1.25e9, "100 Gbit/s": 12.5e9}
WORKERS = tuple(2**power for power in range(1, 11))
SERVERS = tuple(2**power for power in range(6))
_ROUNDS = 5  # pushes of each worker; the first ones are not counted
_LEAST_PUSHES = 200


class Row(NamedTuple):
    """One forecast."""

    model: str
    link: str
    servers: int
    workers: int
    updates_per_s: float
    staleness: float


def cluster(link: str, servers: int, workers: int) -> Cluster:
    """Returns workers and servers that all have the same links."""
    line = Link(LATENCY_S, LINKS[link])
    kind = Servers(servers, UPDATED_BYTES_PER_S, link=Link(0.0, LINKS[link]))
    return Cluster((WorkerGroup(workers, Gamma(STEP_S, VARIATION), line),), kind)


def row(model: str, link: str, servers: int, workers: int) -> Row:
    """Forecasts one setting."""
    made = cluster(link, servers, workers)
    pushes = max(_ROUNDS * workers, _LEAST_PUSHES)
    events = forecast(made, MODELS[model], pushes)[workers:]
    return Row(
        *(model, link, servers, workers),
        updates_per_s=_speed(events),
        staleness=sum(event.staleness for event in events) / len(events),
    )


def _speed(events: Sequence[Event]) -> float:
    """Returns what the workers' own speeds add up to.

    All begin at once, and come in flocks for a while: pushes over time would depend on
    where in a flock the time ends.
    """
    times: dict[int, list[float]] = {}
    for event in events:
        times.setdefault(event.worker, []).append(event.time_s)
    return sum((len(own) - 1) / (own[-1] - own[0]) for own in times.values())


def draw(model: str, rows: Sequence[Row], path: Path) -> None:
    """Draws updates per second over workers, a panel for each link."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(LINKS), sharey=True)
    counts = sorted({row.servers for row in rows})
    workers = sorted({row.workers for row in rows})
    for axes, link in zip(panels, LINKS, strict=True):
        ideal = [count / STEP_S for count in workers]
        axes.plot(workers, ideal, color="#999999", ls=":", label="no exchange")
        for index, servers in enumerate(counts):
            mine = [r for r in rows if (r.link, r.servers) == (link, servers)]
            name = f"{servers} server{'s' if servers > 1 else ''}"
            shade = str(0.75 * (1 - index / max(1, len(counts) - 1)))
            speeds = [r.updates_per_s for r in mine]
            axes.plot([r.workers for r in mine], speeds, ".-", color=shade, label=name)
        axes.set(xscale="log", yscale="log", xlabel="workers", title=link)
        axes.set_xticks(workers, [str(w) for w in workers], fontsize=7)
        axes.minorticks_off()
        axes.grid(color="#eeeeee")
    panels[0].set_ylabel("updates/s")
    panels[0].legend(frameon=False, fontsize=8)
    title = f"{MODELS[model] / 1e6:.1f} M parameters, steps of {STEP_S * 1e3:.0f} ms"
    figure.suptitle(title)
    figure.savefig(path, dpi=130)


def main(quick: bool, docs: Path, results: Path) -> None:
    """Forecasts, writes and draws everything."""
    workers, servers = (WORKERS[:3], SERVERS[:2]) if quick else (WORKERS, SERVERS)
    settings = list(itertools.product(MODELS, LINKS, servers, workers))
    rows = []
    for index, setting in enumerate(settings):
        rows.append(row(*setting))
        print(f"\r{index + 1}/{len(settings)} forecasts", end="", flush=True)
    print()
    text = ",\n".join(json.dumps(one._asdict()) for one in rows)
    results.write_text(f"[\n{text}\n]\n", encoding="utf-8")
    for model in MODELS:
        path = docs / f"scaling-{model}.png"
        draw(model, [one for one in rows if one.model == model], path)
        print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few settings")
    main(parser.parse_args().quick, ROOT / "docs", RESULTS)
