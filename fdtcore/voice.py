"""What the framework itself has to say: once, by rank 0, on standard error."""

from __future__ import annotations

import sys

from fdtcore.process import Process

_said: set[str] = set()


def say(process: Process, text: str, program: str = "hfdt") -> None:
    """Prints a line, once in a job.

    Args:
        process: This process; only rank 0 of several prints.
        text: The line.
        program: Name of the framework.
    """
    if process.rank == 0 and process.size > 1 and text not in _said:
        _said.add(text)
        print(f"{program}: {text}", file=sys.stderr, flush=True)
