"""The place of a job in its training, for whoever has to know after it was killed.

A small file beside the snapshots, written after each step by the process that writes
them: what it says is there even when that process could do nothing more.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NamedTuple

_NAME = "position"
_FIELDS = struct.Struct("<6q")


class Position(NamedTuple):
    """A place between two steps."""

    fit: int  # number of the call of ``fit``, from 1, or of the next one in a loop
    epoch: int  # Keras's number of it, from 0
    step: int  # batches of the epoch that are trained
    unkept: int  # batches since the newest snapshot, which a loss costs
    snapshot: int = 0  # number of the newest snapshot of this fit
    loop: int = 0  # number of the loop by hand before that fit, from 1; 0: in the fit


class PositionFile:
    """Keeps the newest position in a file.

    Args:
        folder: Of the snapshots, or another one that the launcher sees.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        try:
            self._file = os.open(Path(folder, _NAME), os.O_WRONLY | os.O_CREAT, 0o644)
        except OSError:
            self._file = -1  # it only serves what is said of a loss

    def write(self, position: Position) -> None:
        """Notes where the job is; a full disk is no reason to end."""
        if self._file < 0:
            return
        try:
            os.pwrite(self._file, _FIELDS.pack(*position), 0)
        except OSError:
            os.close(self._file)
            self._file = -1


def read(folder: str | os.PathLike[str]) -> Position | None:
    """Returns where a job was last.

    Args:
        folder: Of its snapshots, or another one in which it was noted.

    Returns:
        The position; None where the folder does not tell.
    """
    try:
        content = Path(folder, _NAME).read_bytes()
    except OSError:
        return None
    if len(content) != _FIELDS.size:
        return None
    return Position(*_FIELDS.unpack(content))
