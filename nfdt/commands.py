"""The commands that need no job: ``nfdt report``, ``nfdt algorithms``."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path
from typing import NoReturn

import click


def fail(message: str, code: int = 2) -> NoReturn:
    """Ends the command with one line on standard error."""
    click.echo(f"nfdt: {message}", err=True)
    raise SystemExit(code)


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder for the files. [default: that of the trace]",
)
@click.option(
    "--open",
    "wanted",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "yes", "no"]),
    help="Show the page in a browser; auto: where there is a screen.",
)
def report(*, directory: Path, output: Path | None, wanted: str) -> None:
    """Draw the trace in DIR: a picture, a page, and a file for ui.perfetto.dev."""
    from nfdt.telemetry import report as reports

    try:
        found = reports.write(directory, output)
    except ValueError as error:
        fail(str(error))
    for line in found.lines:
        click.echo(line)
    for name in ("picture", "page", "perfetto"):
        click.echo(f"{name:<9}  {getattr(found, name)}")
    if wanted == "yes" or (wanted == "auto" and _has_screen()):
        webbrowser.open(found.page.resolve().as_uri())


@click.command()
@click.argument("name", required=False)
def algorithms(*, name: str | None) -> None:
    """List the algorithms, or show the equations of the one called NAME."""
    from nfdt import listing

    try:
        click.echo(listing.details(name) if name else listing.table())
    except ValueError as error:
        fail(str(error))


def _has_screen() -> bool:
    is_terminal = sys.stdout.isatty()
    return is_terminal and bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
