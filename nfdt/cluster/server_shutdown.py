"""The shutdown of servers: what they tell user and workers, and their barrier.

A process that ends with an error makes ``mpirun`` end all others, whatever they still
write. So the servers of a job meet, write their last files, meet again and leave.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Any, NoReturn

from fdtcore import failures, output, shutdown
from fdtcore.failures import Failure
from fdtcore.snapshots.stop_requests import STOPPED_CODE
from nfdt.cluster.mpi import PeerLost, Peers, PollingBackoff, Tag
from nfdt.protocol.messages import Kind, Message, read_header
from nfdt.telemetry.message_log import ServerEndpoint
from nfdt.telemetry.recorder import Recording

# What workers may still do after they were told that the job ends.
LIMIT_S = 3.0
FRAGILE = (
    "this job ends when a worker dies: it was started without fault tolerance. With "
    "Open MPI 5 use nfdt run, or mpirun --with-ft ulfm."
)


class ServerShutdown:
    """The last words of one server.

    Args:
        peers: This process's end of the job.
        wire: The way to the workers.
        job_dir: Where the launcher finds summary and failure; None where there is
            none, and server 0 speaks for itself.
        is_local: Whether the launcher sees what this process writes: in a job on
            several machines the file may be on a disk of this one.
    """

    def __init__(
        self,
        peers: Peers,
        wire: ServerEndpoint,
        job_dir: str | None,
        is_local: bool = True,
    ):
        self._peers, self._wire, self._job_dir = peers, wire, job_dir
        self._is_local = is_local
        self._speaks = peers.rank == peers.roles.server_rank(0)

    def fail(self, failure: Failure, workers: Iterable[int]) -> None:
        """Ends the job as failed.

        Args:
            failure: The first of the job.
            workers: Those who are left.
        """
        has_launcher = failures.try_record(self._job_dir, failure)
        if not has_launcher and self._speaks:
            output.shout(failure.text())  # a launcher says it in one line
        for worker in sorted(workers):
            self._wire.end(worker, failure.text())

    def stop(self, text: str, workers: Iterable[int]) -> None:
        """Ends a job that was asked to end, and has kept what is to be kept.

        Args:
            text: What the user is told.
            workers: Those who are left.
        """
        if self._speaks:
            output.shout(text)
        for worker in sorted(workers):
            self._wire.end(worker, text, STOPPED_CODE)

    def summarise(self, recording: Recording, *, failed: bool) -> None:
        """Leaves the summary to the launcher, or prints it."""
        if self._job_dir is not None and recording.write_summary(self._job_dir):
            if self._is_local:
                return
        if self._speaks and not failed:
            for line in recording.summary.lines():
                output.shout(line)

    def leave(self, code: int) -> NoReturn:
        """Ends this process of a job that has failed, without the end of MPI."""
        self._peers.flush(LIMIT_S)
        shutdown.leave(code)


# A server learns from the workers that the job is over, so not all at one moment.
_COME_S = 3.0
# The last files of one may be on a slower disk.
_WRITE_S = 10.0


class ServerBarrier:
    """The servers of a job, which end together: they meet, write, meet and leave.

    Args:
        peers: This server's end of the job.
    """

    def __init__(self, peers: Any):
        self._peers, self._round = peers, 0
        self._others = set(peers.roles.server_ranks) - {peers.rank}
        self._rounds = dict.fromkeys(self._others, 0)  # rank -> where it has come to

    def agree(self, number: int) -> int:
        """Meets the others, who may learn of the end a little later.

        Args:
            number: What this server would take.

        Returns:
            The greatest number of those who have come.
        """
        return self._meet(number, self._others, _COME_S)

    def leave_together(self) -> None:
        """Meets those again who have come."""
        here = {rank for rank, met in self._rounds.items() if met}
        self._meet(0, here, _WRITE_S)

    def _meet(self, number: int, awaited: set[int], limit_s: float) -> int:
        self._round += 1
        message = Message(Kind.MEET, self._peers.rank, number=number, epoch=self._round)
        for rank in self._others:
            with contextlib.suppress(PeerLost):
                self._peers.send(rank, message, Tag.MEETING, Tag.PAYLOAD)
        patience, deadline_s = PollingBackoff(), time.monotonic() + limit_s
        while self._missing(awaited) and time.monotonic() < deadline_s:
            found = self._peers.next_header(Tag.MEETING)
            if found is None:
                self._peers.newly_lost()
                patience.wait()
                continue
            rank, data = found
            other, _ = read_header(data)
            self._rounds[rank] = other.epoch
            number = max(number, other.number)
        return number

    def _missing(self, awaited: set[int]) -> set[int]:
        late = {rank for rank in awaited if self._rounds[rank] < self._round}
        return late - self._peers.lost
