"""The gang of a job: its slots, what runs in them, and the end of all of it."""

from __future__ import annotations

import dataclasses
import functools
import hmac
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fdtcore.control.channel import Channel
from fdtcore.launcher.banners import Ended

_HELLO_S = 5.0
_POLL_S = 0.05
_GRACE_S = 1.5
_LOST = -signal.SIGKILL

Sink = Callable[[int, bytes], None]


@dataclasses.dataclass(frozen=True)
class Slot:
    """A place for one process, and the agent that is there.

    Args:
        number: From 0.
        host: Name of its machine.
        address: Of that machine, on the network that leads to this one.
        interface: Name of the interface that has it; empty where it cannot be told.
    """

    number: int
    host: str
    address: str
    interface: str


class Command:
    """A command that runs in a slot.

    Args:
        slot: Place that it runs in.
        sink: Takes its output: 1 or 2, and bytes.
    """

    def __init__(self, slot: Slot, sink: Sink) -> None:
        self.slot = slot
        self.sink = sink
        # As subprocess has it: negative for a signal; None while it runs.
        self.code: int | None = None


class Gang:
    """Listens for the agents of a job, and gives them commands.

    Args:
        address: Own address, the only one to listen on.
        size: Number of slots.
        silence_s: After what time without a message an agent is lost, and this gang to
            its agents.
        show: Takes the output of commands whose caller does not.
    """

    def __init__(self, address: str, size: int, silence_s: float, show: Sink) -> None:
        self._show = show
        self.address = address
        self.size = size
        self.token = secrets.token_hex(16)
        self.slots: dict[int, Slot] = {}
        # What a command on one machine asks another to do, in place of ssh.
        self.remote_shell: Callable[[str, str, Sink], Command] | None = None
        self._silence_s = silence_s
        self._channels: dict[int, Channel] = {}
        self._commands: dict[int, Command] = {}
        self._lock = threading.Lock()
        self._is_closed = False
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        for target in (self._accept, self._stay_alive):
            threading.Thread(target=target, daemon=True).start()

    def place(self, number: int) -> dict[str, Any]:
        """Returns what the agent of a slot is told."""
        return {
            "address": self.address,
            "port": self.port,
            "token": self.token,
            "slot": number,
            "silence_s": self._silence_s,
        }

    def gather(self, timeout_s: float, problem: Callable[[], str]) -> list[Slot]:
        """Waits until all slots are there.

        Args:
            timeout_s: How long at most.
            problem: Returns why they will not come; empty while they may.

        Returns:
            The slots, those of one machine one after the other.

        Raises:
            ValueError: Slots are missing when the time is over.
        """
        due_s = time.monotonic() + timeout_s
        while len(self.slots) < self.size:
            if said := problem():
                raise ValueError(f"{said}.")
            if time.monotonic() > due_s:
                raise ValueError(
                    f"{self.size} processes must start together. Received: "
                    f"{len(self.slots)} within {timeout_s:g} s. Are others using the "
                    f"cluster, or can its machines not reach {self.address}?"
                )
            time.sleep(_POLL_S)
        hosts = list(dict.fromkeys(self.slots[n].host for n in sorted(self.slots)))
        return sorted(
            self.slots.values(), key=lambda slot: (hosts.index(slot.host), slot.number)
        )

    def start(
        self,
        slot: Slot,
        words: Sequence[str],
        environ: Mapping[str, str],
        folder: str,
        sink: Sink | None = None,
        text: str = "",
    ) -> Command:
        """Starts a command in a slot.

        Args:
            slot: Place that it runs in.
            words: The command.
            environ: Variables it gets beside those that the slot has.
            folder: Where it works, if that is there.
            sink: Takes its output; None for where that of the job goes.
            text: Its standard input.
        """
        command = Command(slot, sink or self._show)
        with self._lock:
            number = len(self._commands)
            self._commands[number] = command
        self._send(
            slot.number,
            {
                "do": "run",
                "id": number,
                "words": list(words),
                "environ": dict(environ),
                "folder": folder,
                "input": text,
            },
        )
        if slot.number not in self._channels:
            command.code = _LOST
        return command

    def answers(
        self,
        slots: Sequence[Slot],
        words: Sequence[str],
        folder: str,
        timeout_s: float,
        text: str = "",
    ) -> list[tuple[int, bytes]]:
        """Runs a command in several slots, and returns their codes and outputs."""
        found: list[list[bytes]] = [[] for _ in slots]
        commands = []
        for slot, own in zip(slots, found, strict=True):
            sink = functools.partial(_keep, own)
            commands.append(self.start(slot, words, {}, folder, sink, text))
        self.wait(commands, time.monotonic() + timeout_s)
        codes = [_LOST if c.code is None else c.code for c in commands]
        return [(code, b"".join(own)) for code, own in zip(codes, found, strict=True)]

    def wait(self, commands: Iterable[Command], due_s: float) -> None:
        """Waits until all commands have ended, or until a time of the clock."""
        several = list(commands)
        while time.monotonic() < due_s and any(c.code is None for c in several):
            time.sleep(_POLL_S)

    def first_failure(
        self, commands: Sequence[Command], problem: Callable[[], str]
    ) -> Ended | None:
        """Waits until all have ended well, or one has not.

        Args:
            commands: One for each rank, in their order.
            problem: Returns why the engine has ended the slots; empty where it has not.
        """
        while True:
            for rank, command in enumerate(commands):
                code = command.code
                if code is not None and code < 0:
                    return Ended(rank, command.slot.host, 128 - code, -code)
                if code:
                    return Ended(rank, "", code, 0)
            if all(command.code == 0 for command in commands):
                return None
            if problem():
                # The agents that it has ended are lost in a moment.
                time.sleep(_GRACE_S)
                lost = [r for r, c in enumerate(commands) if c.code is None]
                if lost:
                    host = commands[lost[0]].slot.host
                    return Ended(lost[0], host, 128 - _LOST, -_LOST)
            time.sleep(_POLL_S)

    def end(self) -> None:
        """Ends every command that runs: first by SIGTERM, then in any case."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with self._lock:
                left = {n: c for n, c in self._commands.items() if c.code is None}
            if not left:
                return
            for identity, command in left.items():
                message = {"do": "signal", "id": identity, "number": int(number)}
                self._send(command.slot.number, message)
            self.wait(left.values(), time.monotonic() + _GRACE_S)

    def close(self) -> None:
        """Lets all agents go, which end whatever still runs."""
        self._is_closed = True
        self._listener.close()
        for one in list(self._channels.values()):
            one.close()

    def signal(self, number: int) -> None:
        """Passes a signal on to every command that runs."""
        for identity, command in list(self._commands.items()):
            if command.code is None:
                message = {"do": "signal", "id": identity, "number": number}
                self._send(command.slot.number, message)

    def _send(self, slot: int, message: dict[str, Any]) -> None:
        if slot in self._channels:
            self._channels[slot].send(message)

    def _stay_alive(self) -> None:
        while not self._is_closed:
            time.sleep(1)
            for slot in list(self._channels):
                self._send(slot, {"do": "nothing"})

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            guest = threading.Thread(
                target=self._admit, args=(connection,), daemon=True
            )
            guest.start()

    def _admit(self, connection: socket.socket) -> None:
        """Serves one connection; a stranger is dropped in silence."""
        guest = Channel(connection)
        try:
            hello = _first(guest)
            token = str(hello.get("token")).encode()
            if not hmac.compare_digest(token, self.token.encode()):
                raise ValueError("A peer says hello with the token of the gang.")
            if "shell" in hello:
                self._serve_shell(guest, hello)
            else:
                self._serve_agent(guest, hello)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        finally:
            guest.close()

    def _serve_agent(self, guest: Channel, hello: Mapping[str, Any]) -> None:
        number = int(hello["slot"])
        named = [str(hello[name])[:255] for name in ("host", "address", "interface")]
        with self._lock:
            if number in self.slots or not 0 <= number < self.size:
                raise ValueError("Each slot has one agent.")
            self._channels[number] = guest
            self.slots[number] = Slot(number, *named)
        try:
            for message in _messages(guest, self._silence_s):
                self._note(number, message)
        finally:
            del self._channels[number]
            for command in list(self._commands.values()):
                if command.slot.number == number and command.code is None:
                    command.code = _LOST

    def _note(self, slot: int, message: Mapping[str, Any]) -> None:
        command = self._commands.get(message.get("id", -1))
        if command is None or command.slot.number != slot:
            return
        if "code" in message:
            command.code = int(message["code"])
        else:
            piece = str(message["text"]).encode("latin-1")
            command.sink(1 if message["stream"] == 1 else 2, piece)

    def _serve_shell(self, guest: Channel, hello: Mapping[str, Any]) -> None:
        if self.remote_shell is None:
            raise ValueError("This job asks nobody for another machine's shell.")

        def sink(stream: int, piece: bytes) -> None:
            guest.send({"stream": stream, "text": piece.decode("latin-1")})

        command = self.remote_shell(str(hello["shell"]), str(hello["words"]), sink)
        while command.code is None:
            guest.receive(_POLL_S)  # raises where the asking process is gone
        guest.send({"code": command.code})


def _keep(pieces: list[bytes], stream: int, piece: bytes) -> None:
    del stream
    pieces.append(piece)


def _first(guest: Channel) -> dict[str, Any]:
    due_s = time.monotonic() + _HELLO_S
    while time.monotonic() < due_s:
        if messages := guest.receive(_POLL_S):
            return messages[0]
    raise ValueError("A peer says hello at once.")


def _messages(guest: Channel, silence_s: float) -> Iterable[dict[str, Any]]:
    heard_s = time.monotonic()
    while time.monotonic() - heard_s < silence_s:
        messages = guest.receive(1.0)
        if messages:
            heard_s = time.monotonic()
        yield from messages
