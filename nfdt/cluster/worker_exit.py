"""The exit of a worker: regular, by an exception, or because the job ends."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn

from fdtcore import failures, output, shutdown
from fdtcore.control.control_line import ControlLine
from fdtcore.failures import PROCESS_GONE, Failure
from fdtcore.options import is_set
from fdtcore.process import Process
from fdtcore.threads import TwoThreads
from nfdt.cluster.job_watch import HIDDEN
from nfdt.cluster.mpi_transport import server_lost
from nfdt.protocol.client import Refused
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.step_times import TimeShares
from nfdt.protocol.transport import JobEnded, ServerLost

INTERRUPT_CODE = 130
_REFUSALS = (ValueError, Refused, TwoThreads)
# A failure must be on its way before this process ends.
_SEND_S = 2.0
# A server whose connection has ended is seen to be dead within this, if it is.
_LOSS_S = 5.0
_LOOK_S = 0.02


class WorkerExit:
    """Ends one worker.

    Args:
        process: This worker among the workers.
        peers: This process's end of the job.
        transport: The way to the servers.
        job_dir: Where a launcher looks for failures; None where there is none.
        line: This worker's end of the control line.
        post: Sends a server a message that is not answered.
    """

    def __init__(
        self,
        process: Process,
        peers: Any,
        transport: Any,
        job_dir: str | None,
        line: ControlLine,
        *,
        post: Callable[[int, Message], None],
    ):
        self.line, self._post = line, post
        self.peers, self.transport = peers, transport
        self.job_dir = job_dir
        self.worker = peers.rank
        self.finding: Callable[[], Exception | None] = lambda: None  # the engine's
        self.is_in_fit: Callable[[], bool] = lambda: False  # which others go on with
        self.times: Callable[[], TimeShares] = TimeShares  # of this worker's steps
        self._log_dir = os.environ.get("NFDT_JOB_DIR")
        self._noting, self._noted = threading.Lock(), set[str]()
        self._process = process
        self._pid = os.getpid()

    def is_here(self) -> bool:
        """Whether this is the worker, and no child that its script has forked."""
        return os.getpid() == self._pid

    def in_order(self) -> None:
        """Tells the servers, and waits for the others."""
        if not self.is_here():
            return
        try:
            self._say_bye()
            self.line.finish()
            self.transport.wait_for_others()
        except KeyboardInterrupt:
            shutdown.leave(INTERRUPT_CODE)
        except Exception:
            self._by_job()
        self.peers.part()

    def by_exception(self, error: BaseException) -> NoReturn:
        """Shows the user's traceback, tells the servers, and ends this process."""
        if self.transport.ended_by is not None:
            self._by_job()
        refusal = self.finding() or error
        if isinstance(refusal, _REFUSALS) and self._is_ours(refusal):
            self._refused(refusal)
        code = INTERRUPT_CODE
        if not isinstance(error, KeyboardInterrupt):
            code = self._show(error)
        self._fail(self._failure(error), code)

    def refuse(self, text: str) -> NoReturn:
        """Ends the job with an error that is every worker's."""
        if self.transport.ended_by is not None:
            self._by_job()
        self._refused(Refused(text))

    def by_exit(self, code: int) -> NoReturn:
        """Ends this process at once, as its script asks by ``os._exit``."""
        if code & 0xFF:
            found = self._failure(SystemExit(code))
            self._fail(dataclasses.replace(found, type="os._exit"), code)
        with contextlib.suppress(Exception):
            self._say_bye()
        self.peers.flush(_SEND_S)
        shutdown.exit_at_once(code)

    def _show(self, error: BaseException) -> int:
        """Prints what has gone wrong, once; returns the exit code."""
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else 1
            text = "" if isinstance(error.code, int) else f"{error.code}\n"
        else:
            code, text = 1, self._failure(error).traceback
        if text and self.worker:
            text = f"worker {self.worker}: {text}"
        streams = {sys.stderr, output.terminal()} if self.worker else {sys.stderr}
        for stream in streams:
            output.write(text, stream)
        return code

    def _failure(self, error: BaseException) -> Failure:
        debug = is_set(os.environ, "NFDT_DEBUG")
        found = Failure.from_exception(self._process, error, hidden=HIDDEN, debug=debug)
        return dataclasses.replace(
            found, rank=self.worker, who=f"worker {self.worker}", size=self.peers.size
        )

    def _is_ours(self, error: BaseException) -> bool:
        """Whether an error is what the job as a whole was refused for."""
        return isinstance(error, Refused | TwoThreads) or error is self.finding()

    def _refused(self, error: BaseException) -> NoReturn:
        """Ends the job: the same would happen to every worker."""
        self._note(str(error))
        size = self.peers.size
        self._fail(Failure.ended(self.worker, size, str(error), type="Refused"), 1)

    def _fail(self, failure: Failure, code: int) -> NoReturn:
        payload = json.dumps(failure.to_json()).encode()
        with contextlib.suppress(Exception):  # whoever is told may be gone
            self._tell(Kind.FAIL, payload=payload, number=code)
        self.peers.flush(_SEND_S)
        # To the survivors an exit in order, but without its end of MPI, is a death
        # that they see at once; one with an error code they would not see.
        shutdown.leave(0 if self.peers.survives else code)

    def _by_job(self) -> NoReturn:
        """Ends because a server is gone, or has ended the job."""
        cause, roles = self.transport.ended_by, self.peers.roles
        text, rank, is_lost = str(cause), self.worker, isinstance(cause, ServerLost)
        if is_lost:
            rank = cause.rank
        record = Failure.ended(rank, self.peers.size, text)
        if is_lost:
            record = dataclasses.replace(record, type=PROCESS_GONE)
            failures.try_record(self.job_dir, record)
        # Else the first server says it.
        self._note(text, shown=is_lost and rank == roles.server_rank(0))
        has_server = self._has_server()
        with contextlib.suppress(Exception):  # of several servers one may be left
            payload = json.dumps(record.to_json()).encode()
            self._tell(Kind.FAIL, payload=payload, number=1)
        self.peers.flush(_SEND_S)
        if not has_server and self.peers.survives:
            # With the first exit code other than 0 mpirun ends the others.
            left = set(range(roles.num_workers)) - self.peers.lost
            shutdown.wait_for_others(self._log_dir, self.worker, left)
        self.line.end_orphaned_launcher()
        code = cause.code if isinstance(cause, JobEnded) else 1
        shutdown.leave(0 if has_server else code)

    def _has_server(self) -> bool:
        """Whether a server gives the job's exit code.

        One of this worker's would make mpirun kill it while it writes its last files.
        """
        if not self.peers.survives:
            return False
        self.peers.newly_lost()
        cause = self.transport.ended_by
        # MPI may name it a moment later than the message to it failed.
        gone = {cause.rank} if isinstance(cause, ServerLost) else set()
        left = self.peers.roles.server_ranks - self.peers.lost - gone
        return cause is not None and bool(left)

    def note_server_loss(self) -> None:
        """Says that the first server is gone, while the script still computes.

        Called in a thread of the control line: the script may come to its next exchange
        when another worker has already ended the job.
        """
        rank = self.peers.roles.server_rank(0)
        deadline_s = time.monotonic() + _LOSS_S
        while self.peers.survives and rank not in self.peers.lost:
            if time.monotonic() > deadline_s:
                return  # its end was another: an interrupt, an error that it tells
            time.sleep(_LOOK_S)
            self.peers.newly_lost()
        if self.peers.survives:
            self._note(str(server_lost(self.peers, rank)), shown=True)
            if self._log_dir is not None:
                shutdown.note(self._log_dir, self.worker)

    def _note(self, text: str, shown: bool = False) -> None:
        """Writes a line to this worker's output, unless it or another says it there."""
        if self.worker == 0 and (self.job_dir is not None or not shown):
            return
        with self._noting:
            if text in self._noted:
                return
            self._noted.add(text)
        output.write(f"nfdt: {text}\n", sys.stderr)

    def _say_bye(self) -> None:
        times = self.times().pack()
        self._tell(Kind.BYE, parts=int(self.is_in_fit()), payload=times)

    def _tell(self, kind: Kind, **fields: Any) -> None:
        """Tells all servers; raises where one is gone, when the others know."""
        lost = None
        for server in range(self.transport.num_servers):
            try:
                self._post(server, Message(kind, self.worker, **fields))
            except ServerLost as error:
                lost = error
        if lost is not None:
            raise lost


def install(worker_exit: WorkerExit) -> None:
    """Makes this worker leave its job in one of the ways above."""
    previous = sys.excepthook
    main = threading.main_thread()

    def hook(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        is_main = threading.current_thread() is main or isinstance(error, TwoThreads)
        if not worker_exit.is_here() or not is_main:
            previous(kind, error, trace)
            return
        worker_exit.by_exception(error)

    def end(status: int) -> NoReturn:
        if worker_exit.is_here():
            worker_exit.by_exit(status)
        shutdown.exit_at_once(status)

    sys.excepthook = hook
    os._exit = end  # with an error code the others would wait for this worker
    atexit.register(worker_exit.in_order)
