"""The log of messages between processes: a line for each, by Python's ``logging``."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from fdtcore import output
from fdtcore.options import FrameworkOptions

_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
_TIMES = ((1.0, 1.0, "s"), (1e-3, 1e3, "ms"), (0.0, 1e6, "us"))


class _Lines:
    """What a handler of ``logging`` does where it cannot write: it says so, once."""

    is_lost = False

    def lose(self, error: BaseException | None) -> None:
        """Gives the log up; a job does not end because its log does."""
        if not self.is_lost:
            self.is_lost = True
            reason = getattr(error, "strerror", None) or error
            output.shout(f"the log of messages is cut off: {reason}.")

    def handleError(self, record: logging.LogRecord) -> None:
        """Is called where a line could not be written."""
        del record
        self.lose(sys.exc_info()[1])


class _File(_Lines, logging.FileHandler):
    """A file, which begins anew with the job.

    Args:
        path: Where it is; its folder is made.
    """

    def __init__(self, path: Path):
        # Append: with another mode ``logging.config``, which closes the handlers that
        # it finds, would end the log.
        super().__init__(path, mode="a", delay=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        except OSError as error:
            self.lose(error)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a line, as long as that is possible."""
        if self.is_lost:
            return
        try:
            super().emit(record)
        except OSError as error:  # it opens the file outside of its own care
            self.lose(error)


class _Standard(_Lines, logging.StreamHandler[TextIO]):
    """Standard error."""


class MessageLog:
    """Logs the messages of one process: to a file, or to standard error.

    A handler that a script gives to the logger ``PROGRAM.messages`` gets the lines as
    well. What else it does to ``logging`` changes nothing here.

    Args:
        program: Name of the framework.
        path: The file; None for standard error.
        now_s: The time that each line begins with, where it is not that of the day:
            virtual time, in seconds.
    """

    def __init__(
        self,
        program: str,
        path: str | os.PathLike[str] | None = None,
        now_s: Callable[[], float] | None = None,
    ):
        self._logger = logging.getLogger(f"{program}.messages")
        self._logger.propagate = False
        self._now_s = now_s
        self._handler = _Standard() if path is None else _File(Path(path))
        begin = "" if now_s else "%(asctime)s.%(msecs)03d  "
        form = logging.Formatter(f"{begin}%(message)s", "%H:%M:%S")
        self._handler.setFormatter(form)

    def note(
        self, way: str, *facts: str, num_bytes: int = 0, took_s: float = math.nan
    ) -> None:
        """Logs one message.

        Args:
            way: Between whom: ``"w3 -> s0"``.
            *facts: What it is, and what is said in it; empty ones are left out.
            num_bytes: Size of its payload, bytes; 0 for none.
            took_s: Time that belongs to it, seconds; NaN where none is known.
        """
        words = [
            *([f"{self._now_s():.6f} s"] if self._now_s else []),
            *(word for word in (way, *facts) if word),
            *([write_bytes(num_bytes)] if num_bytes else []),
            *([write_time(took_s)] if not math.isnan(took_s) else []),
        ]
        record = self._logger.makeRecord(
            *(self._logger.name, logging.DEBUG, __file__, 0),
            *("%s", ("  ".join(words),), None),
        )
        for handler in (self._handler, *self._logger.handlers):
            handler.handle(record)


def wanted(
    options: FrameworkOptions, rank: int, job_dir: str | None
) -> MessageLog | None:
    """Returns the log of a process, where its options want one.

    Args:
        options: The user's options.
        rank: Of the process, for the name of its file.
        job_dir: Folder of the job's output; None: there is none.
    """
    if getattr(options, "log", "none") != "messages":
        return None
    path = Path(job_dir, f"messages-{rank}.log") if job_dir else None
    return MessageLog(options.program, path)


def write_bytes(num_bytes: int) -> str:
    """Returns a size as people write it.

    >>> write_bytes(4_000_000), write_bytes(12), write_bytes(1536)
    ('4.0 MB', '12 B', '1.5 kB')
    """
    size, unit = next((s, u) for s, u in _UNITS if num_bytes >= s or s == 1)
    return f"{num_bytes / size:.{0 if unit == 'B' else 1}f} {unit}"


def write_time(time_s: float) -> str:
    """Returns a time as people write it.

    >>> write_time(0.0019), write_time(2.5), write_time(0.00004)
    ('1.9 ms', '2.5 s', '40.0 us')
    """
    factor, unit = next((f, u) for s, f, u in _TIMES if time_s >= s or s == 0)
    return f"{time_s * factor:.1f} {unit}"
