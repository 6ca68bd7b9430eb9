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
import socket
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

from fdtcore import output, settings, shutdown
from fdtcore.launcher import descendants
from fdtcore.launcher.stand_in import CODE, LENGTH
from fdtcore.rank_program import RankProgram


def main(program: RankProgram, words: list[str]) -> NoReturn:
    """Loads what a rank needs, and waits.

    Args:
        program: The framework's rank program.
        words: Path of the socket, and how many ranks this machine will have.
    """
    path, local_size = Path(words[0]), int(words[1])
    settings.apply(local_size, os.environ)
    with output.quiet():
        program.load()
    descendants.end_with_parent()
    with socket.socket(socket.AF_UNIX) as listener:
        draft = path.with_name(f".{path.name}")  # not to be taken before it listens
        listener.bind(str(draft))
        listener.listen(1)
        draft.rename(path)
        connection, _ = listener.accept()
    _become(connection, program)


def _become(connection: socket.socket, program: RankProgram) -> NoReturn:
    fields = _received(connection)
    exit_at_once = os._exit

    def leave(code: int) -> NoReturn:
        with contextlib.suppress(OSError):
            connection.sendall(CODE.pack(code & 0xFF))
        exit_at_once(code)

    os._exit = shutdown.exit_at_once = leave  # type: ignore[assignment]
    os.environ.clear()
    os.environ.update(fields["environ"])
    os.chdir(fields["folder"])
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())  # type: ignore[union-attr]
    arguments = (connection, exit_at_once)
    threading.Thread(target=_end_with, args=arguments, daemon=True).start()
    # The command is python -m PACKAGE SCRIPT ..., as a rank without spares runs it.
    _, _, _, *words = fields["command"]
    code = 1
    try:
        code = program.main(words)
    except SystemExit as error:
        code = _code_of(error)
    except BaseException as error:
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
        sys.excepthook(type(error), error, error.__traceback__)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    output.flush()
    leave(code)


def _received(connection: socket.socket) -> dict[str, Any]:
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
    found: dict[str, Any] = json.loads(data)
    return found


def _end_with(connection: socket.socket, exit_at_once: Any) -> None:
    """Ends this process when the one that it stands for has ended."""
    with contextlib.suppress(OSError):
        connection.recv(1)
    exit_at_once(137)


def _code_of(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code
    print(error.code, file=sys.stderr)
    return 1
