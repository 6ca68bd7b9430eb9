"""``python -m benchmarks wire``: steps over links of several rates, some compressed.

Two ranks on two hosts. What is forecast of a step is its time over the fastest link and
the time that its bytes take alone::

    step(B) = step(fastest) + bytes / B - bytes / B_fastest

Also the time that one core takes to compress 25 M elements, beside a copy of them.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click
import numpy as np

from benchmarks import report
from benchmarks.benchmark import facts
from benchmarks.hosts import measurement
from benchmarks.hosts.jobs import Job, Payload
from benchmarks.launches import order
from benchmarks.options import measuring
from benchmarks.ratios import Spread, spread
from benchmarks.running import in_turn
from fdtcore.compression.compressor import Compressor
from fdtcore.compression.deep_gradient import DeepGradient
from fdtcore.compression.exchange import Alone
from fdtcore.compression.layout import Layout
from fdtcore.compression.power_sgd import PowerSGD
from fdtcore.compression.sign import Sign
from fdtcore.compression.top_k import TopK
from tests.cluster.hosts import Hosts, missing

HOSTS = 2
LINKS = (10_000, 1000, 300, 100)  # Mbit/s; the first is as good as none
CNN = Payload(width=0, steps=12, batch_per_rank=64)
PARAMETERS = 843_658
_TIMEOUT_S = 600  # of one run of one job
# Of the elements of the large gradients, 8 bytes each way; dense ones of 4.
WAYS: Mapping[str, tuple[tuple[str, ...], float]] = {
    "dense": ((), 4.0),
    "buckets": (("--bucket-bytes", "1000000"), 4.0),
    "topk": (("--compression", "topk:0.01"), 0.08),
    "dgc": (("--compression", "dgc:0.001,warmup=0"), 0.008),
}
ELEMENTS = 25_000_000


def job(way: str) -> Job:
    """Return the job that sends gradients in one way; dense steps come before.

    Args:
        way: One of ``WAYS``.
    """
    options, itemsize = WAYS[way]
    return Job("hfdt", HOSTS, HOSTS, itemsize, options, before=2, links=LINKS)


def forecast_s(step_s: float, num_bytes: float, rate: float) -> float:
    """Return how long a step should take over a link.

    Args:
        step_s: Its time over the fastest of ``LINKS``.
        num_bytes: What each rank sends in it.
        rate: Of the link, in Mbit/s.
    """
    on_the_way = num_bytes * 8e-6
    return step_s + on_the_way / rate - on_the_way / LINKS[0]


def compressing() -> dict[str, float]:
    """Return how many copies of 25 M elements a compression of them takes, by kind."""
    gradient = np.random.default_rng(0).standard_normal(ELEMENTS, dtype=np.float32)
    target = np.empty_like(gradient)
    side = int(ELEMENTS**0.5)
    layout = Layout(((side, ELEMENTS // side),))
    kinds: dict[str, Compressor] = {
        "topk:0.01": TopK(layout, 0.01),
        "dgc:0.001": DeepGradient(layout, 0.001, 0.9),
        "sign": Sign(layout),
        "powersgd:4": PowerSGD(layout, 4),
    }
    copy_s = _shortest_s(lambda: np.copyto(target, gradient))
    return {
        kind: _shortest_s(functools.partial(one.reduce, gradient, Alone(), dense=False))
        / copy_s
        for kind, one in kinds.items()
    }


def _shortest_s(work: Callable[[], object], times: int = 5) -> float:
    found = []
    for _ in range(times):
        begun_s = time.thread_time()
        work()
        found.append(time.thread_time() - begun_s)
    return min(found)


def step_table(steps_s: Mapping[str, Mapping[int, Spread]]) -> str:
    """Return the times of steps, beside what was forecast and beside dense ones.

    Args:
        steps_s: Way -> Mbit/s -> time of a step.
    """
    cells = []
    for way, found in steps_s.items():
        for rate, one in found.items():
            fastest_s = found[LINKS[0]].median
            expected_s = forecast_s(fastest_s, WAYS[way][1] * PARAMETERS, rate)
            dense = steps_s["dense"][rate].median / one.median
            cells.append(
                [
                    *(way, f"{rate:,}", f"{one.median * 1e3:.0f}"),
                    f"{one.low * 1e3:.0f} .. {one.high * 1e3:.0f}",
                    *(f"{expected_s * 1e3:.0f}", f"{dense:.2f}"),
                ]
            )
    header = ["CNN, 2 hosts", "Mbit/s", "ms a step", "min .. max", "forecast"]
    return report.table([*header, "dense / it"], cells)


def draw(steps_s: Mapping[str, Mapping[int, Spread]], path: Path, machine: str) -> None:
    """Draw the time of a step over the rate of the link.

    Args:
        steps_s: Way -> Mbit/s -> time of a step.
        path: Of the picture.
        machine: What it was measured on, in words.
    """
    import matplotlib

    matplotlib.use("Agg")  # no window, also where a display is set
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    rates = np.geomspace(min(LINKS) / 2, max(LINKS), 100)
    for place, (way, found) in enumerate(steps_s.items()):
        fastest_s = found[LINKS[0]].median
        num_bytes = WAYS[way][1] * PARAMETERS
        curve = [forecast_s(fastest_s, num_bytes, rate) * 1e3 for rate in rates]
        axes.plot(rates, curve, color=f"C{place}", linewidth=1)
        medians = np.array([one.median for one in found.values()]) * 1e3
        ends = np.array([[one.low, one.high] for one in found.values()]).T * 1e3
        errors = [medians - ends[0], ends[1] - medians]
        label = " ".join(("hfdt run", *WAYS[way][0]))
        axes.errorbar(
            *(list(found), medians, errors),
            **{"fmt": "o", "color": f"C{place}", "capsize": 3, "label": label},
        )
    axes.set(xscale="log", yscale="log", xlabel="link, Mbit/s", ylabel="step, ms")
    axes.set_title(f"CNN of 0.84 M parameters, two hosts, {machine}", fontsize=10)
    axes.text(0.99, 0.6, "lines: forecast", transform=axes.transAxes, ha="right")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3, which="both")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def steps_of(
    rounds: Sequence[Mapping[str, measurement.Found]],
) -> dict[str, dict[int, Spread]]:
    """Return way -> Mbit/s -> time of a step, in seconds, over all rounds."""
    return {
        way: {
            rate: spread([1 / one[way].updates_per_s[rate] for one in rounds])
            for rate in LINKS
        }
        for way in WAYS
        if all(way in one for one in rounds)
    }


@click.command()
@measuring(rounds=3)
def wire(quick: bool, rounds: int, output: Path) -> None:
    """Measure steps over links of several rates, dense and compressed.

    The hosts are namespaces of this machine, as root on Linux: they share its cores,
    and have links of their own.
    """
    if lacking := missing():
        raise click.ClickException(lacking)
    known = facts()
    copies = compressing()
    click.echo(report.table(["25 M elements", "copies"], _cells(copies)))
    rounds = 1 if quick else rounds
    found: list[Mapping[str, measurement.Found]] = []
    with Hosts(HOSTS) as up:
        for index in range(rounds):
            found.append(
                in_turn(
                    order(tuple(WAYS), index),
                    lambda way: measurement.run(up, job(way), CNN, _TIMEOUT_S),
                    measurement.shown,
                )
            )
    steps_s = steps_of(found)
    if steps_s.keys() != WAYS.keys():
        raise click.ClickException("some jobs failed; their last lines are above")
    click.echo(f"\n{step_table(steps_s)}\n")
    output.mkdir(parents=True, exist_ok=True)
    path = output / ("quick-wire" if quick else "wire")
    figures = {
        **known,
        "copies": copies,
        "steps_s": {
            way: {rate: one._asdict() for rate, one in by_rate.items()}
            for way, by_rate in steps_s.items()
        },
    }
    path.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    draw(steps_s, path.with_suffix(".png"), f"{known['cores']} cores, {rounds} rounds")
    click.echo(f"Written: {path}.json, {path}.png")


def _cells(copies: Mapping[str, float]) -> list[list[str]]:
    return [[kind, f"{number:.1f}"] for kind, number in copies.items()]
