"""The command ``report`` of a framework."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path

import click

from fdtcore.launcher.terminal import Terminal
from fdtcore.telemetry.report_files import Report


def report_command(
    terminal: Terminal, write: Callable[[Path, Path | None], Report]
) -> click.Command:
    """Returns the command.

    Args:
        terminal: Where it refuses.
        write: Draws the trace of a folder, into another one where it is named.
    """

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
        try:
            found = write(directory, output)
        except ValueError as error:
            terminal.fail(str(error))
        for line in found.lines:
            click.echo(line)
        for name in ("picture", "page", "perfetto"):
            click.echo(f"{name:<9}  {getattr(found, name)}")
        if wanted == "yes" or (wanted == "auto" and _has_screen()):
            webbrowser.open(found.page.resolve().as_uri())

    return report


def _has_screen() -> bool:
    is_terminal = sys.stdout.isatty()
    return is_terminal and bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
