"""How a server tells the user and the workers that the job is over."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import NoReturn

from fdtcore import failures, output
from fdtcore.failures import ENDED, Failure
from nfdt.cluster.mpi import Peers
from nfdt.cluster.mpi_transport import MpiServer
from nfdt.cluster.parting import flush
from nfdt.telemetry.recorder import Recording

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
