"""Strangers at a port: ``strangers.py ADDRESS PORT...``; they stay until ended.

Random bytes, half a message, a wrong token, one byte at a time, and nothing at all.
"""

import contextlib
import os
import socket
import sys
import time

HELLO = b"""{"token": "0", "rank": 1, "host": "h", "pid": 1, "started": 1}\n"""
PIECES = (os.urandom(4096), b'{"token": "', HELLO, b"", b"GET / HTTP/1.1\r\n\r\n")
TURNS = 20

address, *ports = sys.argv[1:]
connections = []
for turn in range(TURNS):
    for port in ports:
        for piece in PIECES:
            connection = socket.create_connection((address, int(port)), timeout=5)
            with contextlib.suppress(OSError):
                connection.sendall(piece)
            if turn % 2:
                connection.close()  # as a scan of ports does
            else:
                connections.append(connection)
print("all have come", flush=True)
while True:
    time.sleep(0.2)
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.send(b"x")
