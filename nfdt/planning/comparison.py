"""``nfdt compare``: several ways to train the same program, side by side.

The picture of a comparison: loss over the cluster's time.
"""

from __future__ import annotations

import dataclasses
import math
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from fdtcore.telemetry.theme import check_matplotlib
from fdtcore.telemetry.trace_file import check_directory
from nfdt.clusters import cluster_text
from nfdt.clusters.cluster import Cluster
from nfdt.clusters.machines import Servers
from nfdt.options import Options
from nfdt.planning import outcome
from nfdt.planning.outcome import ComparisonRow, best, ordered
from nfdt.simulation import launch as simulating
from nfdt.telemetry import trace

_COLOURS = (
    "#2B86C5",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#999999",
)
_DPI = 130


def draw(outcomes: Sequence[ComparisonRow], target: float, path: Path) -> None:
    """Draws losses over time, and the times to a target.

    Args:
        outcomes: Outcomes of the runs.
        target: Loss that the runs are to reach.
        path: Path of the PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    losses, times = figure.subplots(1, 2, width_ratios=(1.6, 1))
    chosen = best(outcomes, target)
    rows = ordered(outcomes, target)[::-1]
    for index, one in enumerate(outcomes):
        colour = _COLOURS[index % len(_COLOURS)]
        width = 2.6 if one is chosen else 1.4
        losses.plot(one.times_s, one.losses, color=colour, lw=width, label=one.name)
        reaches_s = one.reaches_s(target)
        row = [other.name for other in rows].index(one.name)
        if one.keeps(target):
            times.barh(row, reaches_s, color=colour)
        else:
            said = "never" if math.isinf(reaches_s) else "lost again"
            times.text(0, row, f" {'failed' if one.problem else said}", va="center")
    losses.axhline(target, color="#777777", lw=1, ls=":")
    losses.set(xlabel="time of the cluster [s]", ylabel="training loss (running mean)")
    losses.legend(frameon=False)
    times.set_yticks(range(len(rows)), [one.name for one in rows])
    times.set_ylim(-0.6, len(rows) - 0.4)
    times.set(xlabel=f"time to loss {target:.3g} [s]")
    for axes in (losses, times):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=_DPI)


# The plain one, the default, the one that survives the highest rates, and one of each
# kind of waiting.
PAIRS = (
    "asgd/asp",
    "ddc-asgd/asp",
    "gap-aware/asp",
    "ddc-asgd/ssp:3",
    "asgd/dsp",
    "asgd/partial:0.8",
)
HFDT = "hfdt"
TABLE, PICTURE = "compare.txt", "compare.png"


class Candidate(NamedTuple):
    """One way to train."""

    name: str
    algorithm: str
    consistency: str
    cluster: Path | None = None  # None: the user's

    @property
    def folder(self) -> str:
        """A name for files."""
        return self.name.replace("/", "-").replace(":", "")


def compare(
    words: Sequence[str],
    environ: Mapping[str, str],
    pairs: Sequence[str],
    target: float | None,
    output: Path,
) -> str:
    """Simulates a program in several ways.

    Args:
        words: The command that runs it.
        environ: Its environment, which names the cluster.
        pairs: ``algorithm/consistency``; none: a handful of them.
        target: The loss to reach; None: one that half of them reach.
        output: Folder for traces, table and picture.

    Returns:
        The table, and a recommendation.

    Raises:
        ValueError: A pair or the cluster is wrong, or no run has given a push.
    """
    check_matplotlib()
    check_directory(output)
    candidates = [_candidate(pair) for pair in pairs or PAIRS]
    candidates.append(_hfdt(simulating.cluster(environ), output))
    environs = [_environ(one, environ, output) for one in candidates]
    found = []
    for index, (one, own) in enumerate(zip(candidates, environs, strict=True)):
        click.echo(
            f"nfdt: {index + 1}/{len(candidates)} {one.name} ...", err=True, nl=False
        )
        began_s = time.monotonic()
        found.append(_run(one, words, own, output))
        click.echo(f" {time.monotonic() - began_s:.0f} s", err=True)
    if not any(len(one.losses) for one in found):
        problems = "; ".join(sorted({one.problem for one in found}))
        raise ValueError(
            "a program must train a model to be compared. Received: no push of any "
            f"run ({problems}). Read {output}/*/output.txt."
        )
    target = outcome.common_target(found) if target is None else target
    text = f"{outcome.table(found, target)}\n\n{outcome.recommendation(found, target)}"
    (output / TABLE).write_text(f"{text}\n", encoding="utf-8")
    draw(found, target, output / PICTURE)
    return f"{text}\n\npicture  {output / PICTURE}"


def _candidate(pair: str) -> Candidate:
    algorithm, slash, consistency = pair.partition("/")
    if not slash:
        raise ValueError(
            "a pair must be ALGORITHM/CONSISTENCY. "
            f"Received: {pair!r}. Write for example ddc-asgd/asp."
        )
    return Candidate(pair, algorithm, consistency)


def _hfdt(cluster: Cluster, output: Path) -> Candidate:
    """Everybody waits, gradients are reduced in a ring: one batch for each worker."""
    servers = Servers(allreduce=True)
    path = output / "hfdt.yaml"
    ring = dataclasses.replace(cluster, servers=servers)
    path.write_text(cluster_text.written(ring), encoding="utf-8")
    return Candidate(HFDT, "asgd", "bsp", path)


def _environ(
    one: Candidate, environ: Mapping[str, str], output: Path
) -> dict[str, str]:
    chosen = {
        "algorithm": one.algorithm,
        "consistency": one.consistency,
        "trace": str(output / one.folder),
    }
    found = {**environ, **Options.to_variables(chosen)}
    if one.cluster is not None:
        found[simulating.CLUSTER] = str(one.cluster.absolute())
        found.pop(simulating.WORKERS, None)  # its file has the number
    simulating.check_environ(found)
    return found


def _run(
    one: Candidate, words: Sequence[str], environ: Mapping[str, str], output: Path
) -> ComparisonRow:
    folder = output / one.folder
    folder.mkdir(exist_ok=True)
    with (folder / "output.txt").open("w") as file:
        code = subprocess.run(
            words,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        ).returncode
    problem = "" if not code else _last_line(folder / "output.txt")
    try:
        return outcome.outcome(one.name, trace.read(folder), problem)
    except ValueError:
        return outcome.outcome(one.name, trace.Trace({}, [], []), problem)


def _last_line(path: Path) -> str:
    """Returns the error that a program has ended with, as it is said last."""
    lines = path.read_text(errors="replace").splitlines()
    said = [line for line in lines if line.strip() and not line.startswith("nfdt:")]
    return said[-1] if said else "it ended without a message"
