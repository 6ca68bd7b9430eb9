"""The command of a claim: ``python -m benchmarks.papers.NAME [--quick]``."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from benchmarks.papers import records, report, running
from benchmarks.papers.claim import Claim
from benchmarks.papers.data import MissingData

RESULTS = Path(__file__).parent / "results"


def command(claims: Sequence[Claim], summary: str) -> click.Command:
    """Returns the command that tests claims, one after the other.

    Args:
        claims: Them.
        summary: What it does, for its help.
    """

    def test(
        quick: bool, processes: int, output: Path | None, only_report: bool
    ) -> None:
        folder = output or (_quick_folder() if quick else RESULTS)
        # One thread for each run: more would make it depend on how many there are.
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
        if only_report:
            for claim in claims:
                _report(claim, quick, folder)
            return
        try:
            _complete(claims, quick, processes, folder)
        except MissingData as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo("interrupted; the same command goes on from here", err=True)
            sys.exit(130)

    for option in _options():
        test = option(test)
    return click.command(help=summary)(test)


def _options() -> list[Callable]:
    folder = click.Path(file_okay=False, path_type=Path)
    return [
        click.option(
            "--quick", is_flag=True, help="A few small runs: does everything work?"
        ),
        click.option(
            "--processes",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="How many train at the same time, on one core each.",
        ),
        click.option(
            "--output",
            type=folder,
            help="Folder of the results.  [default: benchmarks/papers/results; "
            "a temporary one with --quick]",
        ),
        click.option(
            "--only-report", is_flag=True, help="Train nothing; write the page anew."
        ),
    ]


def _quick_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="papers-quick-"))


def _complete(
    claims: Sequence[Claim], quick: bool, processes: int, folder: Path
) -> None:
    """Does what is missing of all claims' first seed, then of their second, ..."""
    plans = {claim.name: claim.runs(quick) for claim in claims}
    for seed in sorted({run.seed for runs in plans.values() for run in runs}):
        for claim in claims:
            click.echo(f"{claim.title}: seed {seed}", err=True)
            runs = [run for run in plans[claim.name] if run.seed == seed]
            try:
                running.complete(runs, _file(claim, folder), processes, _tell)
            finally:
                _report(claim, quick, folder)


def _tell(text: str) -> None:
    click.echo(text, err=True)


def _report(claim: Claim, quick: bool, folder: Path) -> None:
    found = records.read(_file(claim, folder))
    verdict = report.write(claim, found, folder, quick)
    said = "everything runs" if quick else verdict.value
    click.echo(f"{claim.title}: {said}; {folder / claim.name}.md")


def _file(claim: Claim, folder: Path) -> Path:
    return folder / f"{claim.name}.jsonl"
