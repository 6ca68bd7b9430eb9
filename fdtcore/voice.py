"""What the framework itself has to say: once, by rank 0, on standard error."""

from __future__ import annotations

import sys

from fdtcore import output
from fdtcore.process import Process

_said: set[str] = set()
_program = ["hfdt"]


def speak_as(program: str) -> None:
    """Sets the name that lines begin with: that of the framework in use."""
    _program[0] = program


def shout(text: str) -> None:
    """Prints a line of any rank where the user sees it."""
    print(f"{_program[0]}: {text}", file=output.terminal(), flush=True)


def say(process: Process, text: str) -> None:
    """Prints a line, once in a job.

    Args:
        process: This process; only rank 0 of several prints.
        text: The line.
    """
    if process.rank == 0 and process.size > 1 and text not in _said:
        _said.add(text)
        print(f"{_program[0]}: {text}", file=sys.stderr, flush=True)
