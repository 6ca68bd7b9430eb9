"""``python -m benchmarks steps``: what a step costs beside what it computes."""

import contextlib
import dataclasses
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.benchmark import facts
from benchmarks.options import measuring
from benchmarks.steps import beside, picture, report, server, targets
from benchmarks.steps.measurement import code_of, measure
from benchmarks.steps.settings import StepSettings
from benchmarks.steps.works import MANY, SMALL, WORKS

_USUAL = (*(name for name in WORKS if name != "mlp"), server.NAME)


@click.command()
@measuring(rounds=3)
@click.option(
    "--work",
    type=click.Choice((*WORKS, server.NAME)),
    multiple=True,
    help="May be repeated. Default: all; of many processes cnn and mlp.",
)
@click.option(
    "--beside",
    "commit",
    default=beside.START,
    show_default=True,
    metavar="COMMIT",
    help="Run HFDT and NFDT of this commit as well; none: of no other.",
)
@click.option(
    "--processes",
    type=click.IntRange(2),
    default=2,
    show_default=True,
    help="Copies, ranks or workers; at most the cores of this machine.",
)
def steps(
    quick: bool,
    rounds: int,
    work: tuple[str, ...],
    commit: str,
    processes: int,
    output: Path,
) -> None:
    """Compare what a step costs with copies of plain Keras and a loop by hand.

    A step's time is a slope: what a fit of six epochs takes more than one of two. The
    code of another commit runs in the same rounds, from a temporary git worktree. What
    is found of a work replaces what the figures had of it, as soon as it is measured.

    \b
    python -m benchmarks steps --quick --work deep       does it run?
    python -m benchmarks steps --rounds 3 --work cnn     one work
    python -m benchmarks steps --beside none             nothing of another commit
    python -m benchmarks steps --processes 14            on a machine with the cores
    """
    cores = len(os.sched_getaffinity(0))
    if processes > cores:
        raise click.UsageError(
            f"--processes must be at most the cores of this machine, {cores}. "
            f"Received: {processes}. Take --processes {cores}, or a machine with more."
        )
    settings = StepSettings(
        work or (_USUAL if processes == 2 else MANY),
        1 if quick else rounds,
        quick,
        processes,
    )
    name = "steps" if processes == 2 else f"steps-{processes}"
    with _ended_in_order(), code_of(commit) as before:
        _measure(dataclasses.replace(settings, before=before), output, name)


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let SIGTERM end what was started, and take the worktree away, as Ctrl-C does."""

    def leave(*_: object) -> None:
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def small_steps(rounds: int, output: Path, *, quick: bool) -> None:
    """Measure small steps only, with this code only: a part of the whole benchmark."""
    settings = StepSettings(SMALL, 1 if quick else rounds, quick)
    _measure(settings, output, "small-steps")


def _measure(settings: StepSettings, output: Path, name: str) -> None:
    """Measure all works; print the tables, write the files.

    Raises:
        ClickException: A contender failed.
    """
    output.mkdir(parents=True, exist_ok=True)
    path = output / (f"quick-{name}" if settings.quick else name)
    rows: list[targets.Row] = []
    is_complete = True
    for work in settings.works:
        known = _facts(settings)
        found, table, figures = _measured(settings, work)
        own = targets.rows(work, found, settings.processes)
        click.echo(f"\n{table}\n")
        _write(path, {work: {**known, **figures, **report.as_json(found, own)}})
        rows += own
        is_complete &= all(set(one) == set(settings.names(work)) for one in found)
    _judge(settings, rows)
    files = [path.with_suffix(end) for end in (".json", ".png")]
    click.echo(f"Written: {', '.join(str(file) for file in files if file.exists())}")
    if not is_complete:
        raise click.ClickException("some contenders failed; their last lines are above")


def _measured(
    settings: StepSettings, work: str
) -> tuple[Sequence[targets.StepRound], str, dict[str, Any]]:
    """Measure one work; return its rounds, its table, and what it is."""
    if work == server.NAME:
        updates = server.measure(settings)
        return updates, report.update_table(updates), {"title": server.TITLE}
    found = measure(settings, work)
    table = report.step_table(found, settings.place)
    return found.rounds, table, report.describe(found.work)


def _facts(settings: StepSettings) -> dict[str, Any]:
    """Return what the figures of a work depend on."""
    commit = settings.before.commit if settings.before else None
    return {
        **facts(),
        "commit": beside.described(),
        "beside": commit,
        "processes": settings.processes,
    }


def _write(path: Path, works: dict[str, Any]) -> None:
    known = report.merge(path.with_suffix(".json"), works)
    picture.draw(path.with_suffix(".png"), known)


def _judge(settings: StepSettings, rows: Sequence[targets.Row]) -> None:
    if settings.quick:
        click.echo("Too short to judge the targets: leave out --quick for that.")
        return
    if rows:
        click.echo(report.target_table(rows) + "\n")
    for word, lines in targets.verdicts(rows).items():
        click.echo(f"Targets {word}: {'; '.join(lines) or 'none'}")
