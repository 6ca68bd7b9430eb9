"""The options of everything that measures."""

from collections.abc import Callable
from pathlib import Path

import click

from benchmarks.launches import ROOT


def common(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of everything that measures."""
    folder = click.Path(file_okay=False, path_type=Path)
    for option in (
        click.option(
            "--output",
            type=folder,
            default=ROOT / "benchmarks" / "results",
            help="Folder for figures and pictures.  [default: benchmarks/results]",
        ),
        click.option("--rounds", type=click.IntRange(1), default=5, show_default=True),
        click.option(
            "--quick", is_flag=True, help="One round of a few steps: a smoke test."
        ),
    ):
        command = option(command)
    return command
