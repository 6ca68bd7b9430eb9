"""Holds the simulator's forecasts against real runs on this machine."""

import dataclasses
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from benchmarks.launches import SCRIPTS, Launch
from benchmarks.running import ContenderError, output_of
from nfdt.clusters.cluster import Cluster
from nfdt.clusters.machines import Slower
from nfdt.planning import measurement
from nfdt.planning.calibration import calibrated, steady
from nfdt.planning.forecast import forecast
from nfdt.protocol.events import Event
from nfdt.telemetry import trace

WORKERS = (1, 2, 3)
SLOWDOWN = 4
WITHIN = 0.15  # what real and forecast may differ by
_ALGORITHM = "ddc-asgd"
_BATCH = 128
_STEPS, _QUICK_STEPS = 250, 60  # of each worker
_TIMEOUT_S = 600
_FORECAST_PUSHES = 2000
_LEAST_STALENESS = 0.05  # updates; less is none


class Speed(NamedTuple):
    """What is forecast, and measured."""

    updates_per_s: float
    staleness: float  # mean, in updates


class Case(NamedTuple):
    """One kind of run."""

    workers: int
    slowdown: int  # of the last worker

    @property
    def title(self) -> str:
        """How tables and pictures name it."""
        workers = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
        return workers + (f", one {self.slowdown}x slow" if self.slowdown > 1 else "")


class Checked(NamedTuple):
    """One run beside its forecast."""

    case: Case
    real: Speed
    forecast: Speed

    @property
    def ratios(self) -> tuple[float, float]:
        """Real over forecast, of updates/s and of staleness."""
        return (
            self.real.updates_per_s / self.forecast.updates_per_s,
            _staleness_ratio(self.real.staleness, self.forecast.staleness),
        )


CASES = tuple(Case(n, slowdown) for n in WORKERS for slowdown in (1, SLOWDOWN))


def check(rounds: int, *, quick: bool) -> list[Checked]:
    """Calibrate, forecast and run every case, and say so on stderr.

    Each round has a calibration of its own for each number of workers, made with all
    of them fast: what a slow one does is forecast from that.

    Args:
        rounds: How often.
        quick: A few steps only.

    Raises:
        ContenderError: A run failed.
        ValueError: A calibration failed.
    """
    steps = _QUICK_STEPS if quick else _STEPS
    found = []
    for index in range(rounds):
        for workers in WORKERS:
            click.echo(f"truth, round {index + 1}/{rounds}: -np {workers}", err=True)
            cluster, num_params = _calibrated(workers)
            for case in (case for case in CASES if case.workers == workers):
                foretold = speed(foretell(case, cluster, num_params), workers)
                real = speed(_run(case, steps), workers)
                found.append(Checked(case, real, foretold))
                words = f"{_shown(real)}; forecast {_shown(foretold)}"
                click.echo(f"  {case.title}: {words}", err=True)
    return found


def foretell(case: Case, cluster: Cluster, num_params: int) -> list[Event]:
    """Return the pushes that are forecast of a case.

    Args:
        case: The case.
        cluster: As calibrated with all workers fast.
        num_params: Of the model.
    """
    if case.slowdown > 1:
        slow = Slower(0.0, case.workers - 1, case.slowdown)
        cluster = dataclasses.replace(cluster, changes=(slow,))
    return forecast(cluster, num_params, _FORECAST_PUSHES)


def speed(events: Sequence[Event], workers: int) -> Speed:
    """Return speed and staleness of the part of a run in which all train.

    Raises:
        ContenderError: There is none.
    """
    found = steady(events, workers)
    if len(found) < 2:
        raise ContenderError("the run is too short to have a speed")
    duration_s = found[-1].time_s - found[0].time_s
    staleness = statistics.fmean(event.staleness for event in found)
    return Speed((len(found) - 1) / duration_s, staleness)


def verdict(ratios: Sequence[float]) -> str:
    """Say whether the median of some ratios is near enough to 1."""
    median = statistics.median(ratios)
    return "reached" if 1 / (1 + WITHIN) <= median <= 1 + WITHIN else "missed"


def _staleness_ratio(real: float, foretold: float) -> float:
    """Return their ratio; 1 where there is none, as with one worker."""
    if max(real, foretold) < _LEAST_STALENESS:
        return 1.0
    return real / max(foretold, _LEAST_STALENESS)


def _shown(one: Speed) -> str:
    return f"{one.updates_per_s:.1f} updates/s, staleness {one.staleness:.2f}"


def _calibrated(workers: int) -> tuple[Cluster, int]:
    script = _script(Case(workers, 1), _STEPS)  # it is stopped long before
    with tempfile.TemporaryDirectory(prefix="nfdt-truth-") as folder:
        found = measurement.measure(
            script, workers, _ALGORITHM, Path(folder), lambda text: None
        )
    cluster = calibrated(*found, workers, f"{workers} here")
    return cluster, found.costs.params_bytes // 4


def _run(case: Case, steps: int) -> list[Event]:
    """Return the pushes of a real run."""
    with tempfile.TemporaryDirectory(prefix="nfdt-truth-") as folder:
        run = (sys.executable, "-m", "nfdt.cli", "run", "-np", str(case.workers))
        options = ("--algorithm", _ALGORITHM, "--trace", folder)
        output_of([Launch((*run, *options, *_script(case, steps)))], _TIMEOUT_S)
        return trace.read(folder).events


def _script(case: Case, steps: int) -> tuple[str, ...]:
    sizes = {"batch": _BATCH, "steps": steps * case.workers}
    if case.slowdown > 1:
        sizes |= {"slowdown": case.slowdown, "slow-rank": case.workers - 1}
    words = [word for name, n in sizes.items() for word in (f"--{name}", str(n))]
    return (str(SCRIPTS / "truth.py"), *words)
