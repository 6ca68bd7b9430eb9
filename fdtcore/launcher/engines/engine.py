"""An engine: a cluster of somebody else's that runs a function in N places at once."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

Task = Callable[[], int]


class GangEngine(Protocol):
    """What Spark, Ray and Dask do for a job."""

    def connect(self) -> str:
        """Connects, and returns the own address under which its machines reach this.

        Raises:
            ValueError: The cluster cannot be reached, or cannot run such a job.
        """

    def num_slots(self) -> int:
        """Returns how many tasks the cluster could run at once."""

    def start(self, tasks: Sequence[Task]) -> None:
        """Starts all tasks at once, each once; none is repeated when it is lost."""

    def problem(self) -> str:
        """Returns why tasks do not run, or run no longer; empty where they do."""

    def close(self) -> None:
        """Ends the tasks and the connection."""


def task(place: dict[str, Any]) -> Task:
    """Returns a function that runs an agent, and needs nothing of this project.

    Nested, so that it travels by value; within it, so that no engine logs it, is the
    token.

    Args:
        place: What ``agent.main`` takes.
    """
    executable = sys.executable
    source = (Path(__file__).parent / "agent.py").read_text()
    text = f"{source}\nmain(json.loads({json.dumps(place)!r}))\n"

    def run() -> int:
        import subprocess

        return subprocess.run([executable, "-"], input=text, text=True).returncode

    return run


def require(module: str) -> None:
    """Refuses an engine whose Python package, of the same name, is not installed.

    Raises:
        ValueError: The package is not there.
    """
    if importlib.util.find_spec(module) is None:
        raise ValueError(
            f"{module} must be installed to start processes there. Received: no module "
            f"of that name. Try: pip install {module}."
        )


def one_line(error: BaseException) -> str:
    """Returns what an engine says is wrong, as a part of a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".")


def java_version(java: str) -> str:
    """Returns what a Java says of itself; empty where it does not run."""
    try:
        done = subprocess.run(
            [java, "-version"], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return "" if done.returncode else done.stderr.partition("\n")[0]
