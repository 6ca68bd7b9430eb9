"""The messages of a command: lines on standard error that begin with its name."""

from __future__ import annotations

import dataclasses
from typing import NoReturn

import click


@dataclasses.dataclass(frozen=True)
class Terminal:
    """Where one command writes its own lines.

    Args:
        program: Name of the command.
    """

    program: str

    def say(self, message: str) -> None:
        """Writes one line."""
        click.echo(f"{self.program}: {message}", err=True)

    def fail(self, message: str, code: int = 2) -> NoReturn:
        """Ends the command with one line, and an exit code."""
        self.say(message)
        raise SystemExit(code)
