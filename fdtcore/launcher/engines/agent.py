"""The agent in a slot of an engine, which starts the commands that the gang sends.

It is sent as text to the Python of a machine where nothing of this project may be
installed: so it imports the standard library alone. It connects to the gang, says who
it is, and then does what is asked for, with messages of one line of JSON each. When the
gang is gone, or not heard of for too long, all that it has started ends.
"""

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import Any, BinaryIO

_GRACE_S = 1.0
_ALIVE_S = 1.0
_PIECE_BYTES = 1 << 16
_SIOCGIFADDR = 0x8915
# What engines set for their own workers. Ray: threads of a task that asks for no core,
# and no GPU for one that asks for none.
_OF_ENGINES = ("OMP_NUM_THREADS",)


def interface_of(address: str) -> str:
    """Returns the name of the interface that has an address; empty for none."""
    for _, name in socket.if_nameindex():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            request = struct.pack("256s", name.encode()[:15])
            try:
                found = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)[20:24]
            except OSError:  # it has no address
                continue
        if socket.inet_ntoa(found) == address:
            return name
    return ""


def base_environ(environ: dict[str, str]) -> dict[str, str]:
    """Returns the environment of a slot without what its engine has set for itself."""
    kept = {name: value for name, value in environ.items() if name not in _OF_ENGINES}
    if not kept.get("CUDA_VISIBLE_DEVICES", "all"):
        del kept["CUDA_VISIBLE_DEVICES"]
    return kept


class Agent:
    """Commands of one slot.

    Args:
        connection: To the gang.
        silence_s: For how long the gang may say nothing.
    """

    def __init__(self, connection: socket.socket, silence_s: float) -> None:
        self._connection = connection
        self._silence_s = silence_s
        self._sending = threading.Lock()
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def serve(self, hello: dict[str, Any]) -> None:
        """Says hello, and serves until the gang is gone."""
        self._send(hello)
        threading.Thread(target=self._stay_alive, daemon=True).start()
        self._connection.settimeout(self._silence_s)
        try:
            with self._connection.makefile("rb") as lines:
                for line in lines:
                    self._obey(json.loads(line))
        except (OSError, ValueError):
            pass
        finally:
            self._end_all()

    def _stay_alive(self) -> None:
        while True:
            time.sleep(_ALIVE_S)
            self._send({"alive": True})

    def _send(self, message: dict[str, Any]) -> None:
        with self._sending:
            try:
                self._connection.sendall(json.dumps(message).encode() + b"\n")
            except OSError:
                pass  # whoever reads sees it as well

    def _obey(self, message: dict[str, Any]) -> None:
        if message.get("do") == "run":
            self._run(message)
        elif message.get("do") == "signal":
            child = self._running.get(message["id"])
            if child is not None and child.poll() is None:
                _signal_group(child, message["number"])

    def _run(self, message: dict[str, Any]) -> None:
        number = message["id"]
        try:
            child = subprocess.Popen(
                message["words"],
                env={**base_environ(dict(os.environ)), **message["environ"]},
                cwd=message["folder"] if os.path.isdir(message["folder"]) else "/",
                stdin=subprocess.PIPE if message["input"] else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            said = f"{message['words'][0]}: {error.strerror}\n"
            self._send({"id": number, "stream": 2, "text": said})
            self._send({"id": number, "code": 127})
            return
        self._running[number] = child
        arguments = (number, child, message["input"])
        threading.Thread(target=self._attend, args=arguments, daemon=True).start()

    def _attend(self, number: int, child: "subprocess.Popen[bytes]", text: str) -> None:
        assert child.stdout is not None and child.stderr is not None
        readers = [
            threading.Thread(target=self._forward, args=(number, stream, source))
            for stream, source in ((1, child.stdout), (2, child.stderr))
        ]
        for reader in readers:
            reader.start()
        if child.stdin is not None:
            try:
                child.stdin.write(text.encode())
                child.stdin.close()
            except OSError:
                pass  # it does not read
        code = child.wait()
        for reader in readers:
            # What it has left in the background may hold its output open.
            reader.join(_GRACE_S)
        self._send({"id": number, "code": code})

    def _forward(self, number: int, stream: int, source: BinaryIO) -> None:
        while piece := os.read(source.fileno(), _PIECE_BYTES):
            text = piece.decode("latin-1")  # each byte is a character
            self._send({"id": number, "stream": stream, "text": text})

    def _end_all(self) -> None:
        deadline_s = time.monotonic() + _GRACE_S
        for child in self._running.values():
            _signal_group(child, signal.SIGTERM)
        while time.monotonic() < deadline_s and any(
            child.poll() is None for child in self._running.values()
        ):
            time.sleep(0.05)
        for child in self._running.values():
            _signal_group(child, signal.SIGKILL)


def _signal_group(child: "subprocess.Popen[bytes]", number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except OSError:
        pass  # nothing is left of it


def main(place: dict[str, Any]) -> None:
    """Serves a gang.

    Args:
        place: Where the gang is (``addresses``, ``port``), its ``token``, the number of
            this ``slot``, and ``silence_s``.
    """
    parent = os.getppid()

    def end_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(_ALIVE_S)
        connection.shutdown(socket.SHUT_RDWR)

    connection = socket.create_connection((place["address"], place["port"]), 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(None)
    threading.Thread(target=end_with_parent, daemon=True).start()
    own = connection.getsockname()[0]
    Agent(connection, place["silence_s"]).serve(
        {
            "token": place["token"],
            "slot": place["slot"],
            "host": socket.gethostname(),
            "address": own,
            "interface": interface_of(own),
        }
    )
    sys.exit(0)
