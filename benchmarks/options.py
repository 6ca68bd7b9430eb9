"""The options of everything that measures."""

from collections.abc import Callable
from pathlib import Path

import click

from benchmarks.launches import ROOT


def measuring(rounds: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return what adds the options of everything that measures.

    Args:
        rounds: How many there are by default.
    """
    options = (
        click.option(
            "--output",
            type=click.Path(file_okay=False, path_type=Path),
            default=ROOT / "benchmarks" / "results",
            help="Folder for figures and pictures.  [default: benchmarks/results]",
        ),
        click.option(
            "--rounds", type=click.IntRange(1), default=rounds, show_default=True
        ),
        click.option(
            "--quick", is_flag=True, help="One round of a few steps: a smoke test."
        ),
    )

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in options:
            command = option(command)
        return command

    return add
