"""The record that each rank writes of its run, as it goes.

Kinds of lines: ``facts``, which begin a life of the job; ``gradients``, an optimizer
that a step was traced with; ``operation`` and ``work``, as they end; ``failed`` and
``finished``. The first rank writes ``trace.jsonl``, rank 3 ``trace-3.jsonl``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdtcore.telemetry import trace_file
from fdtcore.telemetry.trace_file import TraceFile

if TYPE_CHECKING:
    from hfdt.operations import Operation

GRADIENTS, OPERATION, WORK = "gradients", "operation", "work"
PREFIX = "hfdt."  # of the names of operations


def file_name(rank: int) -> str:
    """Returns the name of a rank's file."""
    return f"trace-{rank}.jsonl" if rank else trace_file.NAME


def is_begun(directory: str | Path) -> bool:
    """Says whether a folder has a record."""
    return Path(directory, trace_file.NAME).exists()


def clear(directory: str | Path) -> None:
    """Removes what another job has left, which may have had more ranks."""
    for path in Path(directory).glob("trace-*.jsonl"):
        path.unlink(missing_ok=True)


class Recorder:
    """Writes what one rank does.

    Args:
        directory: The folder, which is made.
        rank: This rank.
        facts: Of the job and of this rank.
        goes_on: Whether this is a later life of the job that the folder is of.

    Raises:
        ValueError: The folder cannot be written to.
    """

    def __init__(
        self,
        directory: str | Path,
        rank: int,
        facts: Mapping[str, Any],
        *,
        goes_on: bool,
    ):
        facts = {"framework": "hfdt", "rank": rank, **facts}
        self._file = TraceFile(directory, facts, file_name(rank), goes_on=goes_on)
        self._known: set[str] = set()
        # Steps call from TensorFlow's threads.
        self._lock = threading.Lock()

    @property
    def problem(self) -> str | None:
        """Why the record is not whole, where it is not."""
        return self._file.problem

    def operation(self, ended: Operation) -> None:
        """Writes down an operation, or work, that has ended."""
        line: dict[str, Any] = {
            "kind": WORK if ended.kind == "work" else OPERATION,
            "name": ended.name.removeprefix(PREFIX),
            "begun_s": round(ended.begun_s, 6),
            "ended_s": round(ended.ended_s, 6),
        }
        if ended.kind != "work":
            line |= {"what": ended.kind, "bytes": ended.num_bytes}
            line |= {"traced": ended.is_traced}
        self._write(line)

    def gradients(self, name: str, num_bytes: int, *, is_traced: bool) -> None:
        """Writes down that a step with an optimizer is made.

        Args:
            name: Of the operations of its gradients.
            num_bytes: Of all its gradients, as they are.
            is_traced: Whether the step is traced, now and once, and runs later.
        """
        if is_traced or name not in self._known:
            self._known.add(name)
            name, now_s = name.removeprefix(PREFIX), round(time.time(), 6)
            self._write(
                {"kind": GRADIENTS, "time_s": now_s, "name": name, "bytes": num_bytes}
            )

    def note(self, kind: str, **more: object) -> None:
        """Writes down that something has happened to this rank."""
        self._write({"kind": kind, "time_s": round(time.time(), 6), **more})

    def close(self) -> None:
        """Ends the record."""
        with self._lock:
            self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        with self._lock:
            self._file.write([line])
