"""The snapshot that a job begins with: the newest of all its machines.

Rank 0 keeps snapshots in a folder, which may be on a disk of its machine alone; on each
other machine one rank keeps copies in memory. A job that goes on may have lost any of
these, or have its rank 0 elsewhere. Each machine tells what it has, and what counts is
brought into rank 0's folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from fdtcore import output
from fdtcore.engine import Collectives
from fdtcore.failures import JobError
from fdtcore.glue import randomness
from fdtcore.snapshots import copies, folder, position
from fdtcore.snapshots.copies import Copies, Offer
from fdtcore.snapshots.folder import Found, SnapshotFolder

_CHUNK_BYTES = 1 << 26
T = TypeVar("T")


class Opened(NamedTuple):
    """The folders of snapshots, as a job begins with them."""

    store: SnapshotFolder | None  # None on other ranks than 0
    copies: Copies | None  # None where this rank keeps none
    found: Found | None
    lost: int  # batches that were trained since the snapshot was taken
    seed: int  # what the generators of the job begin with
    job: int  # when the job began, in nanoseconds
    origin: str  # memory of the machine of rank 0
    has_copies: bool  # whether any rank keeps them


class _Original(NamedTuple):
    """What rank 0 says of its folder."""

    path: str
    owner: str  # who has opened it: rank 0
    is_emptied: bool  # whether its user has emptied it, or nobody has used it
    memory: str  # of the machine
    job: int  # when the job began that it is of; 0 where it does not say


def opened(
    collectives: Collectives,
    path: str,
    resume: str,
    about: dict[str, Any],
) -> Opened:
    """Opens the folder of snapshots on rank 0, and copies elsewhere; all ranks call it.

    Args:
        collectives: Those of the ranks.
        path: The folder.
        resume: ``"auto"`` goes on where there are snapshots, empty refuses them; a
            folder must have some.
        about: What tells the program from another one.

    Raises:
        JobError: A folder cannot be used, or its snapshots are of another program.
    """
    return _Opening(collectives, path, resume, about).opened()


def broadcast(collectives: Collectives, data: bytes) -> bytes:
    """Gives all ranks what rank 0 has, in parts where it is large."""
    size = int(collectives.broadcast_text(str(len(data))))
    parts = [
        collectives.broadcast_bytes(data[start : start + _CHUNK_BYTES])
        for start in range(0, size, _CHUNK_BYTES)
    ]
    return b"".join(parts)


class _Opening:
    """How the ranks come to what they begin with.

    Args:
        collectives: Those of the ranks.
        path: The folder.
        resume: As for `opened`.
        about: What tells the program from another one.
    """

    def __init__(
        self, collectives: Collectives, path: str, resume: str, about: dict[str, Any]
    ):
        self._collectives, self._rank = collectives, collectives.process.rank
        self._path, self._resume, self._about = path, resume, about
        self._store: SnapshotFolder | None = None  # the folder, or one of its name
        self._copies: Copies | None = None
        self._found: dict[bool, Found] = {}  # True: in the folder, False: in memory

    def opened(self) -> Opened:
        """Returns what this rank begins with."""
        original = _Original(*self._agreed(self._open)[0] or ())
        machines = self._agreed(lambda: copies.memory_id() or socket.gethostname())
        # One rank of each machine speaks for it.
        if machines.index(machines[self._rank]) == self._rank:
            self._agreed(lambda: self._look(original))
        else:
            self._agreed(lambda: None)
        told = self._agreed(self._offers)
        offers = [Offer(*fields) for brought in told for fields in brought]
        own_job = [o.job for o in offers if o.is_original and not o.rank]
        gone = original.memory if original.is_emptied else None
        chosen = copies.choose(offers, (own_job or [original.job])[0], gone)
        owner = 0 if chosen is None else chosen.rank
        seed, job = self._agreed(lambda: self._checked(chosen))[owner] or (0, 0)
        is_there = chosen is None or (chosen.is_original and not chosen.rank)
        if chosen is not None and not is_there:
            self._bring(chosen, original)
        self._agreed(lambda: self._settle(job))
        has_copies = any(self._agreed(lambda: self._copies is not None))
        found, lost = self._found.get(True), 0
        if self._rank:
            self._store = found = None
        elif is_there and chosen is not None:
            last = position.read(original.path)
            lost = last.unkept if last is not None else 0
        return Opened(
            *(self._store, self._copies, found, lost),
            *(seed, job, original.memory, has_copies),
        )

    def _agreed(self, act: Callable[[], T]) -> list[T]:
        """Returns what all ranks have come to; the same error on all of them.

        Raises:
            JobError: A rank has refused.
        """
        problem, value = "", None
        try:
            value = act()
        except (ValueError, OSError) as error:
            problem = str(error)
        brought = self._collectives.allgather_text(json.dumps([problem, value]))
        told = [json.loads(text) for text in brought]
        if problems := [problem for problem, _ in told if problem]:
            raise JobError(problems[0])
        return [value for _, value in told]

    def _open(self) -> _Original | None:
        """Opens the folder, on rank 0."""
        if self._rank:
            return None
        path = os.path.abspath(self._path)
        is_several = self._collectives.process.size > 1
        has_copies = is_several or copies.are_there(path)
        store = folder.opened(path, self._resume, has_copies=has_copies)
        self._store = store
        return _Original(
            path,
            folder.owner_of(path),
            # By who demands snapshots, it was not.
            store.is_new and self._resume == "auto",
            copies.memory_id(),
            store.job,
        )

    def _look(self, original: _Original) -> None:
        """Finds what this machine has."""
        is_keeper = self._rank > 0
        is_shared = is_keeper and _is_seen(original)
        if is_keeper or copies.are_there(original.path):
            try:
                self._copies = Copies(original.path)
            except (OSError, ValueError) as error:
                _say_without(error)
        if self._copies is not None and not self._resume:
            self._copies.clear()  # of an earlier job
        if not self._resume:
            return
        if self._copies is not None and not (is_shared and original.is_emptied):
            self._found[False] = self._copies.find(output.shout)
        if is_keeper and not is_shared and os.path.isdir(original.path):
            with contextlib.suppress(ValueError):  # another job uses it
                self._store = SnapshotFolder(original.path)
        if self._store is not None:
            self._found[True] = self._store.find(output.shout)

    def _offers(self) -> list[Offer]:
        """Returns the newest that this machine has, in each place."""
        return [
            Offer(
                self._rank,
                is_original,
                int(found.about.get("begun", 0)),
                found.about.get("origin", ""),
                found.progress,
            )
            for is_original, found in self._found.items()
            if found.place is not None
        ]

    def _checked(self, chosen: Offer | None) -> list[int] | None:
        """Returns seed and beginning of the job, on the rank that has the snapshot.

        Raises:
            ValueError: The snapshot is of another program, or one is demanded.
        """
        if chosen is None:
            if self._resume not in ("", "auto"):
                raise ValueError(
                    "a folder to resume from must hold snapshots. Received: "
                    f"{self._path}, which has no whole one. Write some with --snapshot "
                    "DIR."
                )
            return [randomness.seeds()(31), time.time_ns()]
        if chosen.rank != self._rank:
            return None
        found = self._found[chosen.is_original]
        there = found.about["job"]
        for name, value in self._about.items():
            if there.get(name) != value:
                raise ValueError(
                    f"a snapshot must be of this program. Received: {found.place} has "
                    f"{name} {there.get(name)!r}, and here is {value!r}. Run what was "
                    "interrupted, or begin anew in another folder."
                )
        return [int(found.about["seed"]), chosen.job]

    def _bring(self, chosen: Offer, original: _Original) -> None:
        """Brings the chosen snapshot into rank 0's folder."""
        whole = self._found.get(True)
        mine = len(whole.fits) if whole is not None else 0
        num_there = self._agreed(lambda: mine)[0]
        files: list[Path] = []
        if self._rank == chosen.rank:
            found = self._found[chosen.is_original]
            files = found.fits[num_there:]
            if found.step is not None and found.place is not None:
                files.append(found.place)
        host, names = self._agreed(
            lambda: (socket.gethostname(), [path.name for path in files])
        )[chosen.rank]
        if not self._rank:
            what = "on a disk" if chosen.is_original else "in the memory"
            output.shout(
                f"the newest snapshot is {what} of {host}: it is put into "
                f"{original.path}."
            )
        for i, name in enumerate(names):
            self._bring_file(name, files[i] if files else None, chosen.rank)
        if self._rank == 0 and self._store is not None:
            self._found[True] = self._store.find(output.shout)

    def _bring_file(self, name: str, path: Path | None, owner: int) -> None:
        """Brings one file into rank 0's folder.

        Args:
            name: Of the file.
            path: Where the owner has it; None on other ranks.
            owner: The rank that sees it.
        """
        own = bytearray()

        def read() -> int:
            own.extend(b"" if path is None else path.read_bytes())
            return len(own)

        size = self._agreed(read)[owner]
        pieces = []
        for start in range(0, size, _CHUNK_BYTES):
            part = bytes(own[start : start + _CHUNK_BYTES])
            brought = self._collectives.allgather_bytes(part)[owner]
            if not self._rank:
                pieces.append(brought)

        def put() -> None:
            if self._rank or self._store is None:
                return
            try:
                self._store.put(name, pieces)
            except OSError as error:
                raise ValueError(
                    "the folder of snapshots must take the newest one. Received: "
                    f"{self._store.path} ({error.strerror}). Make room there."
                ) from error

        self._agreed(put)

    def _settle(self, job: int) -> None:
        """Leaves nothing of other jobs, and on rank 0's machine one place only."""
        if not self._rank:
            assert self._store is not None
            self._store.belong_to(job)
            if self._copies is not None:
                self._copies.remove()
                self._copies = None
        elif self._store is not None:
            self._store.close()
        if self._copies is not None:
            found = self._found.get(False)
            if found is None or found.about.get("begun") != job:
                self._copies.clear()


def _is_seen(original: _Original) -> bool:
    """Whether rank 0's folder is on a disk that this machine has as well."""
    return folder.owner_of(original.path) == original.owner != ""


def _say_without(error: Exception) -> None:
    why = getattr(error, "strerror", None) or str(error)
    output.shout(
        f"copies of snapshots in the memory of {socket.gethostname()} are not used: "
        f"{why.rstrip('.')}."
    )
