"""A shell on another machine of a gang, for ``mpirun``: ``HOST COMMAND...``.

The command runs in a slot on that machine; its output and its exit code are those of
this process.
"""

from __future__ import annotations

import os
import socket
import sys

from fdtcore.control.channel import Channel

PLACE = "FDT_GANG_PLACE"  # address and port of the gang
TOKEN = "FDT_GANG_TOKEN"
_CONNECT_S = 10
_POLL_S = 3600.0
_LOST = 255  # ssh's own code for a connection that it has lost


def main(words: list[str]) -> int:
    """Runs a command on another machine, and returns its exit code."""
    # Options of ssh, which has no meaning here, come first.
    while words and words[0].startswith("-"):
        words = words[1:]
    host, command = words[0], " ".join(words[1:])
    address, _, port = os.environ[PLACE].rpartition(":")
    connection = socket.create_connection((address, int(port)), _CONNECT_S)
    guest = Channel(connection)
    guest.send({"token": os.environ[TOKEN], "shell": host, "words": command})
    try:
        while True:
            for message in guest.receive(_POLL_S):
                if "code" in message:
                    return int(message["code"]) & 0xFF
                piece = message["text"].encode("latin-1")
                os.write(message["stream"], piece)
    except OSError:
        return _LOST


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
