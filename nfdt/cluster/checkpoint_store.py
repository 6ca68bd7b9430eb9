"""The files of checkpoints: when they are written, and how a job resumes.

The file of checkpoint 7 of server 0 of 2 is ``7.server-0-of-2.nfdt``. Numbers count
the times that have passed. Every server writes its own, so files of one number are
moments apart, as shards are while they train; a run is resumed from the newest number
that all servers have. The last one they write together, when all is done.

When a server writes checkpoints, and from which one it goes on.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

from nfdt.options import Options
from nfdt.protocol import checkpoints, serialization
from nfdt.protocol.checkpoints import CheckpointState
from nfdt.protocol.server import Service
from nfdt.protocol.topology import Roles

_NAME = re.compile(r"(\d+)\.server-(\d+)-of-(\d+)\.nfdt")
# The last ones may be there of some servers only, when the machine goes down.
_KEPT = 3


def check_directory(directory: str | Path) -> None:
    """Makes the folder of checkpoints, and tries to write in it.

    Raises:
        ValueError: The folder cannot be made or written to.
    """
    probe = Path(directory, f".{os.getpid()}.probe")
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ValueError(
            "the folder of checkpoints must be writable. "
            f"Received: {directory} ({error.strerror}). Name another one."
        ) from error


class CheckpointWriter:
    """Writes the checkpoints of one server, in a thread of its own.

    Args:
        directory: Folder of the checkpoints.
        server: Index of the server.
        num_servers: Number of servers, S.
        every_s: Time between two checkpoints.
    """

    def __init__(self, directory: str, server: int, num_servers: int, every_s: float):
        check_directory(directory)
        self._directory, self._every_s = Path(directory), every_s
        self._end = f"server-{server}-of-{num_servers}.nfdt"
        # After those of an earlier run, which this one may go on from.
        self._first = max(_numbers(self._directory), default=0)
        self._begun_s: float | None = None  # when the first group was opened
        self._newest = self._first  # number of the one that was begun last
        self._writing: threading.Thread | None = None
        self.problem = ""  # why a file could not be written

    def is_due(self, now_s: float, *, is_open: bool) -> bool:
        """Whether it is time for the next one.

        Args:
            now_s: Time now, in seconds of a clock that never goes back.
            is_open: Whether there is something to keep.
        """
        if self._begun_s is None:
            self._begun_s = now_s if is_open else None
            return False
        is_busy = self._writing is not None and self._writing.is_alive()
        return self.number(now_s) > self._newest and not is_busy

    def number(self, now_s: float) -> int:
        """Returns the number of a checkpoint that is written now."""
        begun_s = now_s if self._begun_s is None else self._begun_s
        return self._first + int((now_s - begun_s) / self._every_s)

    def keep(self, content: Any, number: int) -> None:
        """Begins to write a checkpoint; what it holds may change at once.

        Args:
            content: What ``serialization.dump`` takes.
            number: Number of the checkpoint.
        """
        self.wait()
        self._newest, data = number, serialization.dump(content)
        self._writing = threading.Thread(target=self._write, args=(data, number))
        self._writing.start()

    def wait(self) -> None:
        """Returns when nothing is being written."""
        if self._writing is not None:
            self._writing.join()

    def _write(self, data: bytes, number: int) -> None:
        place = self._directory / f"{number}.{self._end}"
        beside = self._directory / f".{place.name}"
        try:
            with open(beside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, place)
            self._remove_older()
        except OSError as error:
            self.problem = (
                f"a checkpoint could not be written to {place} ({error.strerror})"
            )

    def _remove_older(self) -> None:
        found = [
            _NAME.fullmatch(p.name) for p in self._directory.glob(f"*.{self._end}")
        ]
        numbers = sorted(int(match[1]) for match in found if match)
        for number in numbers[:-_KEPT]:
            with contextlib.suppress(OSError):
                (self._directory / f"{number}.{self._end}").unlink()


def newest(directory: str | Path, num_servers: int) -> int:
    """Returns the number of the newest checkpoint that is complete; 0 for none."""
    return max(complete(directory, num_servers), default=0)


def complete(directory: str | Path, num_servers: int) -> list[int]:
    """Returns the numbers of the checkpoints that all servers have written.

    Args:
        directory: Folder of the checkpoints.
        num_servers: Servers of the job that is to go on from it.

    Raises:
        ValueError: Another number of servers has written there.
    """
    servers = _numbers(Path(directory))
    whole = [
        number
        for number, found in servers.items()
        if {s for s, count in found if count == num_servers} >= set(range(num_servers))
    ]
    if whole:
        return whole
    counts = sorted({count for found in servers.values() for _, count in found})
    if counts and counts != [num_servers]:
        raise ValueError(
            "a run is resumed with as many servers as it had. Received: "
            f"{num_servers} for a checkpoint of {counts[0]}. "
            f"Use --servers {counts[0]}."
        )
    return []


def read(directory: str | Path, number: int, server: int, num_servers: int) -> Any:
    """Returns what a checkpoint of one server holds.

    Raises:
        ValueError: The file cannot be read.
    """
    path = Path(directory, f"{number}.server-{server}-of-{num_servers}.nfdt")
    try:
        return serialization.load(path.read_bytes())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it cannot be decoded"
        raise ValueError(
            f"a checkpoint must be complete. Received: {path} ({why}). "
            "Remove it to continue from the one before."
        ) from error


def _numbers(directory: Path) -> dict[int, set[tuple[int, int]]]:
    """Returns number -> server and count of servers, of the files there are."""
    found: dict[int, set[tuple[int, int]]] = {}
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            match = _NAME.fullmatch(path.name)
            if match:
                pair = int(match[2]), int(match[3])
                found.setdefault(int(match[1]), set()).add(pair)
    return found


class CheckpointStore:
    """The checkpoints of one server, where any are wanted.

    Args:
        options: The user's options.
        roles: Who is who in the job.
        server: Index of this server.

    Raises:
        ValueError: No checkpoint is found to resume from, or the folder is not
            writable.
    """

    def __init__(self, options: Options, roles: Roles, server: int):
        about = {
            "format": checkpoints.FORMAT,
            "server": server,
            "servers": roles.num_servers,
            "workers": roles.num_workers,
        }
        found = found_earlier(options, roles, server)
        earlier, lacking = (None, set()) if found is None else found
        self.state = CheckpointState(about, earlier, lacking)
        self._writer = None
        if options.checkpoint:
            self._writer = CheckpointWriter(
                options.checkpoint, server, roles.num_servers, options.checkpoint_every
            )

    def begin(self, service: Service) -> None:
        """Makes a service go on from what was kept, where something was."""
        self.state.begin(service)

    def keep(self, service: Service, now_s: float) -> str:
        """Writes a checkpoint where it is time; returns what has gone wrong."""
        writer = self._writer
        if writer is None:
            return ""
        is_due = writer.is_due(now_s, is_open=bool(service.groups))
        if is_due and self.state.has_trained(service):
            writer.keep(self.state.kept(service), writer.number(now_s))
        problem, writer.problem = writer.problem, ""
        return f"{problem}; training continues without it." if problem else ""

    def has_trained(self, service: Service) -> bool:
        """Whether a service has come further than it was at the beginning."""
        return self.state.has_trained(service)

    def last_number(self) -> int:
        """Returns the number that this server would give to the last one."""
        if self._writer is None:
            return 0
        return self._writer.number(time.perf_counter()) + 1

    def close(self, service: Service, number: int) -> str:
        """Writes the last one, of all that was done; returns what has gone wrong.

        Args:
            service: State machine of the server process, whose state is kept.
            number: Number of the checkpoint.
        """
        # One that says nothing new would pass for progress where a job starts again.
        if self._writer is None or not self.state.has_trained(service):
            return ""
        self._writer.keep(self.state.kept(service), number)
        self._writer.wait()
        return self._writer.problem


def found_earlier(
    options: Options, roles: Roles, server: int
) -> tuple[Any, set[tuple[int, int, int]]] | None:
    """Returns what a server of an interrupted run has kept; None for a run that begins.

    And epoch, group and batch of pushes that not all servers have kept.

    Args:
        options: The user's options.
        roles: Who is who in the job.
        server: Index of the server.

    Raises:
        ValueError: No checkpoint is found, or it is broken or of another kind of job.
    """
    if not options.earlier:
        return None
    numbers = sorted(complete(options.earlier, roles.num_servers), reverse=True)
    if not numbers and options.resume == "auto":
        return None
    if not numbers:
        raise ValueError(
            "a folder to resume from must hold a checkpoint. Received: "
            f"{options.earlier}, which has no complete one. Write one with "
            "--checkpoint DIR, or begin with --resume auto."
        )
    found = None
    for number in numbers:
        files = [
            read(options.earlier, number, other, roles.num_servers)
            for other in range(roles.num_servers)
        ]
        for other, file in enumerate(files):
            checkpoints.check(file, other, roles.num_servers, roles.num_workers)
        lacking = checkpoints.partial(files)
        again = checkpoints.of_running(files[0], lacking)
        found = found or (files[server], again)
        if again == lacking:  # else one was taken while an epoch ended
            return files[server], again
    return found
