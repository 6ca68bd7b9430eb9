"""The log of messages between processes: a line for each, by Python's ``logging``."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from pathlib import Path

from fdtcore.options import FrameworkOptions

_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
_TIMES = ((1.0, 1.0, "s"), (1e-3, 1e3, "ms"), (0.0, 1e6, "us"))


class MessageLog:
    """Logs the messages of one process to the logger ``PROGRAM.messages``.

    A script that has given this logger a handler gets the lines there; otherwise they
    go to a file, or to standard error.

    Args:
        program: Name of the framework.
        path: The file, made with the first line; None for standard error.
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
        self._now_s = now_s
        if not self._logger.handlers:
            handler = (
                logging.StreamHandler()
                if path is None
                else logging.FileHandler(path, delay=True)
            )
            begin = "" if now_s else "%(asctime)s.%(msecs)03d  "
            handler.setFormatter(logging.Formatter(f"{begin}%(message)s", "%H:%M:%S"))
            self._logger.addHandler(handler)
            self._logger.propagate = False
        self._logger.setLevel(logging.DEBUG)

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
        self._logger.debug("%s", "  ".join(words))


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
