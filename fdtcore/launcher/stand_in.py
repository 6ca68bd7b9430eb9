"""The process that a launcher starts as a rank, where a spare does the rank's work.

``python -m fdtcore.launcher.stand_in FOLDER COMMAND...`` hands its environment and its
standard files to a spare of the folder, passes signals on to it, and ends as it ends.
Where no spare is left, it becomes the command itself.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path
from types import FrameType

LENGTH = struct.Struct("<q")
CODE = struct.Struct("<i")
TAKEN = ".taken"
_SIGNALS = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2),
)
_PEER = struct.Struct("3i")  # pid, uid, gid


def take(folder: Path) -> socket.socket | None:
    """Returns a connection to a spare that nobody else takes; None without any.

    Args:
        folder: Of the spares' sockets.
    """
    for path in sorted(folder.glob("*.socket")):
        mine = path.with_name(f"{path.name}{TAKEN}")
        connection = socket.socket(socket.AF_UNIX)
        try:
            path.rename(mine)  # one process alone can
            connection.connect(str(mine))
        except OSError:
            connection.close()
            continue
        return connection
    return None


def hand_over(connection: socket.socket, command: list[str]) -> int:
    """Lets a spare run a command in this process's place; returns its exit code."""
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    pid = _PEER.unpack(peer)[0]

    def pass_on(number: int, frame: FrameType | None) -> None:
        del frame
        os.kill(pid, number)

    for number in _SIGNALS:
        signal.signal(number, pass_on)
    fields = {"environ": dict(os.environ), "folder": os.getcwd(), "command": command}
    data = json.dumps(fields).encode()
    socket.send_fds(connection, [LENGTH.pack(len(data))], [0, 1, 2])
    connection.sendall(data)
    for file in (0, 1, 2):  # whoever reads them sees the end of the spare's
        os.close(file)
    code = connection.recv(CODE.size, socket.MSG_WAITALL)
    if len(code) == CODE.size:
        return int(CODE.unpack(code)[0])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGKILL)  # as the spare was, most likely
    return 1


def main(words: list[str]) -> int:
    """Runs a command by a spare, or becomes it."""
    folder, *command = words
    connection = take(Path(folder))
    if connection is None:
        os.execv(command[0], command)
    return hand_over(connection, command)


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
