"""The journal of files that rank 0 has made since the last joint call.

Ranks run one program at different speeds, on one file system. A rank that is behind
must not find what rank 0 has made already: ``if not exists: make`` would end with half
a file, and a list of a folder with half its files. So rank 0 writes down what it is
about to make, and the others do not see that until they meet.
"""

from __future__ import annotations

import contextlib
import os

# As they are before anything is replaced.
_open, _read, _write, _close = os.open, os.read, os.write, os.close
_stat, _link = os.stat, os.link
_END = b"\0"


class Journal:
    """Paths in the order in which rank 0 has made them, in a file.

    Args:
        path: The file. Where there is none, as on another host, nothing is known.
    """

    def __init__(self, path: str):
        self.path = path
        self._read_bytes = 0
        # Absolute path -> where its last line ends in the file, in bytes.
        self._made: dict[str, int] = {}

    def shared(self, path: str) -> Journal:
        """Returns the same journal by a name that stays when rank 0 has ended.

        Args:
            path: The other name, on the same file system.
        """
        try:
            _link(self.path, path)
        except OSError:  # another host, or a file system without links
            return self
        return Journal(path)

    def note(self, path: str) -> None:
        """Adds a path, on rank 0, before it is made."""
        with contextlib.suppress(OSError):
            # Not kept open: programs close descriptors that they do not know.
            file = _open(self.path, os.O_WRONLY | os.O_APPEND)
            _write(file, os.fsencode(path) + _END)
            _close(file)

    def position(self) -> int:
        """Returns how far the journal has come, in bytes."""
        try:
            return _stat(self.path).st_size
        except OSError:
            return 0

    def made(self) -> dict[str, int]:
        """Returns the paths that rank 0 has made since the ranks last met."""
        if self.position() > self._read_bytes:
            self._follow()
        return self._made

    def met(self, position: int) -> None:
        """Notes that the ranks have met, when the journal had come to ``position``."""
        self._made = {p: end for p, end in self.made().items() if end > position}

    def _follow(self) -> None:
        try:
            file = _open(self.path, os.O_RDONLY)
        except FileNotFoundError:  # rank 0 has ended since
            return
        try:
            os.lseek(file, self._read_bytes, os.SEEK_SET)
            while data := _read(file, 1 << 20):
                whole = data[: data.rfind(_END) + 1]
                if not whole:
                    break
                for name in whole.split(_END)[:-1]:
                    self._read_bytes += len(name) + 1
                    self._made[os.fsdecode(name)] = self._read_bytes
                os.lseek(file, self._read_bytes, os.SEEK_SET)
        finally:
            _close(file)
