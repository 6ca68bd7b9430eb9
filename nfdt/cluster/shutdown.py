"""The shutdown of a job: what servers tell the user and the workers.

How the servers of a job end together.

A process that ends with an error makes ``mpirun`` end all others, whatever they still
write.

How a process parts from the others when all is done.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from typing import Any, NoReturn

from fdtcore import failures, output
from fdtcore.failures import ENDED, Failure
from nfdt.cluster.mpi import PeerLost, Peers, PollingBackoff, Tag
from nfdt.protocol.message_log import ServerEndpoint
from nfdt.protocol.messages import Kind, Message, read_header
from nfdt.telemetry.recorder import Recording

# Without the end of MPI and of Python; a script's own call is another one by then.
exit_at_once = os._exit

# What is still being sent at the end has this long to arrive.
_SEND_S = 5.0


def flush(peers: Peers, limit_s: float = _SEND_S) -> None:
    """Returns when what is being sent has arrived, or after a time.

    Args:
        peers: This process's end of the job.
        limit_s: Time limit in seconds.
    """
    patience, deadline_s = PollingBackoff(), time.monotonic() + limit_s
    while peers.is_sending() and time.monotonic() < deadline_s:
        patience.wait()


def part(peers: Peers) -> None:
    """Leaves the job in order; ends the process where losses are survived."""
    flush(peers)
    output.flush()
    if peers.survives:
        # After a death Open MPI occasionally keeps a survivor in its end for ever;
        # under fault tolerance mpirun asks nobody for that end.
        exit_at_once(0)
    peers.close()


# What workers may still do after they were told that the job ends.
LIMIT_S = 3.0
_MESSAGE_LIMIT = 4000
FRAGILE = (
    "this job ends when a worker dies: it was started without fault tolerance. With "
    "Open MPI 5 use nfdt run, or mpirun --with-ft ulfm."
)


class Ending:
    """The last words of one server.

    Args:
        peers: This process's end of the job.
        wire: The way to the workers.
        job_dir: Where the launcher finds summary and failure; None where there is
            none, and server 0 speaks for itself.
    """

    def __init__(self, peers: Peers, wire: ServerEndpoint, job_dir: str | None):
        self._peers, self._wire, self._job_dir = peers, wire, job_dir
        self._speaks = peers.rank == peers.roles.server_rank(0)

    def fail(self, text: str, workers: Iterable[int], rank: int) -> None:
        """Ends the job as failed.

        Args:
            text: Reason, for the user.
            workers: Those who are left.
            rank: Whose output tells more.
        """
        text = text[:_MESSAGE_LIMIT]
        record = Failure(rank, self._peers.size, "", "JobEnded", text, kind=ENDED)
        if not record_in(self._job_dir, record) and self._speaks:
            say(text)
        for worker in sorted(workers):
            self._wire.end(worker, text)

    def summarise(self, recording: Recording, *, failed: bool) -> None:
        """Leaves the summary to the launcher, or prints it."""
        if self._job_dir is not None and recording.write_summary(self._job_dir):
            return
        if self._speaks and not failed:
            for line in recording.summary.lines():
                say(line)

    def leave(self, code: int) -> NoReturn:
        """Ends this process of a job that has failed, without the end of MPI."""
        flush(self._peers, LIMIT_S)
        output.flush()
        os._exit(code)


def record_in(job_dir: str | None, failure: Failure) -> bool:
    """Leaves a failure to the launcher; returns whether it can find one there."""
    if job_dir is None:
        return False
    try:
        failures.write_record(job_dir, failure)
    except OSError:  # a full disk must not keep a job from its end
        return False
    return True


def say(text: str) -> None:
    """Prints a line where the user sees it."""
    with contextlib.suppress(OSError, ValueError):  # nobody reads: the job goes on
        print(f"nfdt: {text}", file=output.terminal(), flush=True)


# A server learns from the workers that the job is over, so not all at one moment.
_COME_S = 3.0
# The last files of one may be on a slower disk.
_WRITE_S = 10.0


class Colleagues:
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
