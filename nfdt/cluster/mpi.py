"""This process's side of MPI: the only module that imports mpi4py.

A message is its header, and its payload as a second one where it has any. With Open
MPI's ULFM (``mpirun --with-ft ulfm``) a dead peer is an error on what waits for it,
and everyone else goes on.

The lines between workers and servers.

How a process waits for a message without taking the core from one that computes.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

import mpi4py
import numpy as np

from fdtcore import mpi_library, output, shutdown
from fdtcore.failures import RankCountError
from fdtcore.process import Process
from nfdt.protocol.messages import HEADER_BYTES, Message, as_bytes
from nfdt.protocol.topology import Roles


class PollingBackoff:
    """Looks often at first, then more and more seldom.

    Args:
        looks: Looks that only yield the core before the first sleep.
        first_s: First sleep, in seconds.
        longest_s: Longest sleep, in seconds.
    """

    def __init__(
        self, looks: int = 20, first_s: float = 50e-6, longest_s: float = 1e-3
    ):
        self._looks, self._first_s, self._longest_s = looks, first_s, longest_s
        self._count = 0
        self._sleep_s = first_s

    def reset(self) -> None:
        """Begins anew: something has come."""
        self._count, self._sleep_s = 0, self._first_s

    def wait(self) -> None:
        """Waits between two looks."""
        self._count += 1
        if self._count <= self._looks:
            os.sched_yield()
            return
        time.sleep(self._sleep_s)
        self._sleep_s = min(self._sleep_s * 1.5, self._longest_s)


class Tag(IntEnum):
    """What a message on the wire is."""

    HEADER = 1  # to a server
    PAYLOAD = 2
    ANSWER = 3  # to a worker: header
    ANSWER_PAYLOAD = 4
    LEASE = 5  # to a worker, whose input asks for batches while it trains
    END = 6  # to a worker that has ended, and waits for the others
    MEETING = 7  # between servers, when the job is over


class PeerLost(RuntimeError):
    """A process that this one talks to is gone.

    Args:
        rank: Rank of the process that has died.
    """

    def __init__(self, rank: int):
        super().__init__(f"rank {rank} is gone")
        self.rank = rank


_TEXT_BYTES = 4096
# What is still being sent at the end has this long to arrive.
_SEND_S = 5.0

mpi4py.rc.finalize = False  # survivors of a death cannot
mpi4py.rc.initialize = False  # is it that of the launcher? see `start`
with warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)  # that it may be another's
    from mpi4py import MPI


def start(process: Process, environ: Mapping[str, str]) -> None:
    """Starts MPI, unless the program has; to be called before `Peers` are made.

    Args:
        process: This process, by what its launcher said.
        environ: The environment of the process.

    Raises:
        RankCountError: MPI does not find the other processes.
    """
    library = MPI.Get_library_version()
    alone = mpi_library.is_alone(process, library, environ)
    if not alone and not MPI.Is_initialized():
        MPI.Init_thread()
    found = 1 if alone else MPI.COMM_WORLD.size
    if found != process.size:
        raise RankCountError(
            mpi_library.complaint("nfdt", process, library, environ, found)
        )


class Peers:
    """This process's end of the job.

    Args:
        num_servers: Processes of the job that serve.
    """

    def __init__(self, num_servers: int):
        self.comm = MPI.COMM_WORLD.Dup()
        for comm in (self.comm, MPI.COMM_WORLD):
            comm.Set_errhandler(MPI.ERRORS_RETURN)
        self.rank, self.size = self.comm.rank, self.comm.size
        self.roles = Roles(self.size, num_servers)
        self.survives = survives_loss(os.environ)
        self._lock = threading.Lock()  # inputs ask for batches from their own thread
        self._sending: list[tuple[Any, Any]] = []  # request, what it sends
        self.lost: set[int] = set()  # ranks that have died, as far as was asked
        self._num_failed = 0  # those of them that MPI knows of

    def send(self, rank: int, message: Message, tag: Tag, payload_tag: Tag) -> None:
        """Starts sending; the payload must not be written until it has arrived.

        Raises:
            PeerLost: The other one is gone.
        """
        header = message.header()
        payload = as_bytes(message.payload)
        with self._lock:
            self._prune()
            try:
                self._start(rank, header, tag)
                if payload.nbytes:
                    self._start(rank, payload, payload_tag)
            except MPI.Exception as error:
                raise _as_loss(error, rank) from error

    def _start(self, rank: int, data: Any, tag: Tag) -> None:
        request = self.comm.Isend([data, MPI.BYTE], rank, tag)
        self._sending.append((request, data))

    def _prune(self) -> None:
        self._sending = [(r, d) for r, d in self._sending if not _is_over(r)]

    def is_sending(self) -> bool:
        """Whether a message is still on its way."""
        with self._lock:
            self._prune()
        return bool(self._sending)

    def receive(
        self, rank: int, data: Any, tag: Tag, patience: PollingBackoff | None = None
    ) -> None:
        """Waits for what a peer sends.

        Raises:
            PeerLost: The other process has died.
        """
        patience = patience or PollingBackoff()
        try:
            with self._lock:
                request = self.comm.Irecv([data, MPI.BYTE], rank, tag)
            while True:
                with self._lock:
                    if request.Test():
                        return
                patience.wait()
        except MPI.Exception as error:
            raise _as_loss(error, rank) from error

    def receive_now(self, rank: int, data: Any, tag: Tag) -> None:
        """Takes what a peer has begun to send; does nothing else meanwhile.

        Raises:
            PeerLost: The other process has died.
        """
        try:
            self.comm.Recv([data, MPI.BYTE], rank, tag)
        except MPI.Exception as error:
            raise _as_loss(error, rank) from error

    def next_header(self, tag: Tag = Tag.HEADER) -> tuple[int, bytes] | None:
        """Returns rank and header of the next message to a server; None: none now."""
        status = MPI.Status()
        try:
            found = self.comm.Improbe(MPI.ANY_SOURCE, tag, status)
            if found is None:
                return None
            data = bytearray(HEADER_BYTES)
            found.Recv([data, MPI.BYTE])
        except MPI.Exception as error:
            _as_loss(error, -1)
            return None
        return status.Get_source(), bytes(data)

    def broadcast(self, text: str, root: int) -> str:
        """Returns a short text of one rank on all; every rank calls it at once."""
        data = np.zeros(_TEXT_BYTES, np.uint8)
        own = text.encode()
        data[: len(own)] = np.frombuffer(own, np.uint8)
        self.comm.Bcast([data, MPI.BYTE], root)
        return data.tobytes().rstrip(b"\0").decode()

    def newly_lost(self) -> Sequence[int]:
        """Returns the ranks that have died since the last call."""
        if not self.survives:
            return []
        with self._lock:
            failed = self.comm.Get_failed()
            if failed.size == self._num_failed:
                return []
            self._num_failed = failed.size
            own = self.comm.group
            ranks = MPI.Group.Translate_ranks(failed, list(range(failed.size)), own)
            self.comm.Ack_failed(failed.size)
            new = sorted(set(ranks) - self.lost)
            self.lost |= set(new)
        return new

    def flush(self, limit_s: float = _SEND_S) -> None:
        """Returns when what is being sent has arrived, or after a time.

        Args:
            limit_s: Time limit in seconds.
        """
        patience, deadline_s = PollingBackoff(), time.monotonic() + limit_s
        while self.is_sending() and time.monotonic() < deadline_s:
            patience.wait()

    def part(self) -> None:
        """Leaves the job in order; ends the process where losses are survived."""
        self.flush()
        output.flush()
        if self.survives:
            # After a death Open MPI occasionally keeps a survivor in its end for ever;
            # under fault tolerance mpirun asks nobody for that end.
            shutdown.exit_at_once(0)
        MPI.Finalize()  # returns when all call it


def survives_loss(environ: Mapping[str, str]) -> bool:
    """Whether the MPI of this job goes on without a process that died."""
    return environ.get("OMPI_MCA_mpi_ft_enable", "") in ("1", "true") and hasattr(
        MPI.Comm, "Shrink"
    )


def _is_over(request: Any) -> bool:
    try:
        return bool(request.Test())
    except MPI.Exception:
        return True  # to a process that is gone


def _as_loss(error: MPI.Exception, rank: int) -> PeerLost:
    """Returns the loss of a process that an error of MPI reports.

    Raises:
        MPI.Exception: The error is not the loss of a process.
    """
    if error.Get_error_class() not in _LOSSES:
        raise error
    return PeerLost(rank)


_LOSSES = (
    getattr(MPI, "ERR_PROC_FAILED", -1),
    getattr(MPI, "ERR_PROC_FAILED_PENDING", -1),
    getattr(MPI, "ERR_REVOKED", -1),
)
