"""Latency and bandwidth between two machines; runs on both, sent to them as text.

``serve ADDRESS`` listens and tells its port; ``measure ADDRESS PORT`` connects to it,
with the same token on the first line of its standard input. Like the probe it imports
the standard library alone.
"""

import hmac
import json
import os
import socket
import statistics
import sys
import threading
import time
from typing import NoReturn

_PINGS = 30
_PIECE_BYTES = 1 << 18
_FOR_S = 0.7  # how long bytes are sent
_LIMIT_S = 15.0


def serve(address: str, token: bytes) -> NoReturn:
    """Answers one connection after the other until its standard input ends."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, 0), family=family)
    print("\nlink:" + json.dumps(listener.getsockname()[1]), flush=True)
    threading.Thread(target=_accept, args=(listener, token), daemon=True).start()
    sys.stdin.read()
    os._exit(0)


def _accept(listener: socket.socket, token: bytes) -> NoReturn:
    while True:
        connection, _ = listener.accept()
        connection.settimeout(_LIMIT_S)
        try:
            _answer(connection, token)
        except OSError:
            pass
        connection.close()


def _answer(connection: socket.socket, token: bytes) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not hmac.compare_digest(connection.recv(len(token)), token):
        return
    for _ in range(_PINGS):
        connection.sendall(connection.recv(1))
    count = 0
    while piece := connection.recv(_PIECE_BYTES):
        count += len(piece)
    connection.sendall(b"%d" % count)


def measure(address: str, port: int, token: bytes) -> tuple[float, float]:
    """Returns the one-way latency in seconds and the bandwidth in bytes/s."""
    connection = socket.create_connection((address, port), _LIMIT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(token)
    round_trips_s = []
    for _ in range(_PINGS):
        began_s = time.perf_counter()
        connection.sendall(b".")
        connection.recv(1)
        round_trips_s.append(time.perf_counter() - began_s)
    piece = bytes(_PIECE_BYTES)
    began_s = time.perf_counter()
    while time.perf_counter() - began_s < _FOR_S:
        connection.sendall(piece)
    connection.shutdown(socket.SHUT_WR)
    count = int(connection.recv(32))
    took_s = time.perf_counter() - began_s
    return statistics.median(round_trips_s) / 2, count / took_s


if __name__ == "__main__":
    token = sys.stdin.readline().strip().encode()
    if sys.argv[1] == "serve":
        serve(sys.argv[2], token)
    print("\nlink:" + json.dumps(measure(sys.argv[2], int(sys.argv[3]), token)))
