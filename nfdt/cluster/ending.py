"""How a server tells the user and the workers that the job is over."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import NoReturn

from fdtcore import failures, output
from fdtcore.failures import ENDED, Failure
from nfdt.cluster.mpi import Peers
from nfdt.cluster.parting import flush
from nfdt.cluster.wire import MpiServer
from nfdt.telemetry.recording import Recording

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

    def __init__(self, peers: Peers, wire: MpiServer, job_dir: str | None):
        self._peers, self._wire, self._job_dir = peers, wire, job_dir
        self._speaks = peers.rank == peers.roles.server_rank(0)

    def fail(self, text: str, workers: Iterable[int], rank: int) -> None:
        """Ends the job as failed.

        Args:
            text: Why.
            workers: Those who are left.
            rank: Whose output tells more.
        """
        text = text[:_MESSAGE_LIMIT]
        if self._job_dir is not None:
            size = self._peers.size
            record = Failure(rank, size, "", "JobEnded", text, kind=ENDED)
            failures.write_record(self._job_dir, record)
        elif self._speaks:
            say(text)
        for worker in sorted(workers):
            self._wire.end(worker, text)

    def summarise(self, recording: Recording, *, failed: bool) -> None:
        """Leaves the summary to the launcher, or prints it."""
        if self._job_dir is not None:
            recording.write_summary(self._job_dir)
        elif self._speaks and not failed:
            for line in recording.summary.lines():
                say(line)

    def leave(self, code: int) -> NoReturn:
        """Ends this process of a job that has failed, without the end of MPI."""
        flush(self._peers, LIMIT_S)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def say(text: str) -> None:
    """Prints a line where the user sees it."""
    print(f"nfdt: {text}", file=output.terminal(), flush=True)
