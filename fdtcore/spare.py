"""A process that has loaded TensorFlow, and waits to become a rank.

It listens on a socket of its own when it is ready. Whoever connects (``stand_in``)
sends an environment, a folder, a command and three open files, and it is that rank from
then on; its exit code goes back as the last thing that it does.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import NoReturn

from fdtcore import output, settings, shutdown
from fdtcore.launcher import descendants
from fdtcore.launcher.stand_in import CODE, LENGTH
from fdtcore.rank_program import RankProgram


def main(program: RankProgram, words: list[str]) -> int:
    """Loads what a rank needs, waits, and becomes that rank.

    Args:
        program: The framework's rank program.
        words: Path of the socket, and how many ranks this machine will have.

    Returns:
        The exit code.
    """
    path, local_size = Path(words[0]), int(words[1])
    end = _End()
    atexit.register(end.tell)  # before all others, so that it is called behind them
    settings.apply(local_size, os.environ)
    with output.quiet():
        program.load()
    descendants.end_with_parent()
    with socket.socket(socket.AF_UNIX) as listener:
        draft = path.with_name(f".{path.name}")  # not to be taken before it listens
        listener.bind(str(draft))
        listener.listen(1)
        draft.rename(path)
        end.connection, _ = listener.accept()
    words = _become(end.connection)
    os._exit = shutdown.exit_at_once = end.leave  # type: ignore[assignment]
    threading.Thread(target=end.watch, daemon=True).start()
    try:
        end.code = program.main(words)
    except SystemExit as error:
        end.code = _code_of(error)
        raise
    except KeyboardInterrupt:
        end.code = 128 + signal.SIGINT
        raise
    return end.code


class _End:
    """How this process ends, told to the one that it stands for."""

    def __init__(self) -> None:
        self.connection: socket.socket | None = None
        self.code = 1  # unless it is known better
        self._exit_at_once = os._exit

    def tell(self) -> None:
        """Sends the exit code."""
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.sendall(CODE.pack(self.code & 0xFF))

    def leave(self, code: int) -> NoReturn:
        """Ends this process as ``os._exit`` does."""
        self.code = code
        self.tell()
        self._exit_at_once(code)

    def watch(self) -> None:
        """Ends this process when the one that it stands for has ended."""
        assert self.connection is not None
        with contextlib.suppress(OSError):
            self.connection.recv(1)
        self._exit_at_once(128 + signal.SIGKILL)


def _become(connection: socket.socket) -> list[str]:
    """Takes over what a rank has; returns the arguments of its program."""
    head, files, _, _ = socket.recv_fds(connection, LENGTH.size, 3)
    length = LENGTH.unpack(head)[0]
    data = b""
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise ConnectionError("The rank has ended before it began.")
        data += piece
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())  # type: ignore[union-attr]
    fields = json.loads(data)
    os.environ.clear()
    os.environ.update(fields["environ"])
    os.chdir(fields["folder"])
    # The command is python -m PACKAGE SCRIPT ..., as a rank without spares runs it.
    _, _, _, *words = fields["command"]
    return words


def _code_of(error: SystemExit) -> int:
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1
