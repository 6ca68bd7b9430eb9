"""The main loop of a server process, from its start to its end.

A server process from its first line, whatever its start may meet.
"""

from __future__ import annotations

import json
import os
import socket
import time
import traceback

from fdtcore import failures, message_log, output
from fdtcore.control.process_identity import end_launcher_of_this_host
from fdtcore.failures import PROCESS_GONE, Failure
from fdtcore.options import is_set
from fdtcore.snapshots.stop_requests import STOPPED_CODE, StopRequests
from fdtcore.telemetry.trace_file import FAILED, FINISHED, LOST
from nfdt import algorithms
from nfdt.cluster.checkpoint_store import CheckpointStore
from nfdt.cluster.job_watch import JobWatch
from nfdt.cluster.membership import DepartureNotice, Membership
from nfdt.cluster.mpi import Peers, PollingBackoff
from nfdt.cluster.mpi_transport import MpiServer, Pushes
from nfdt.cluster.server_shutdown import (
    FRAGILE,
    LIMIT_S,
    ServerBarrier,
    ServerShutdown,
)
from nfdt.cluster.stall_monitor import END_OF_JOB
from nfdt.glue.shard_factory import lanes, maker
from nfdt.options import Options
from nfdt.protocol.checkpoints import Mismatch, check_batches
from nfdt.protocol.epoch_id import EpochId
from nfdt.protocol.messages import Kind, Message, as_bytes
from nfdt.protocol.server import Service, Wait
from nfdt.protocol.step_times import TimeShares
from nfdt.telemetry.message_log import LoggedEndpoint, ServerEndpoint
from nfdt.telemetry.recorder import Recording
from nfdt.telemetry.trace import REFUSED

# A process that is killed is seen to be gone within this.
_KILL_S = 15.0
# How often the others are looked after while there is traffic.
_LOOK_S = 0.1


class ServerLoop:
    """One server of a job, until all its workers have ended.

    Args:
        peers: This process's end of the job.
        options: The user's options.
        job_dir: Where the launcher finds summary and failure, or None.
        watch: This server's end of the control line; None for none.
        threads: Threads that it may use for its updates.
        requests: Notes signals by which the job is asked to keep a checkpoint and end;
            None where they end it at once.
    """

    def __init__(
        self,
        peers: Peers,
        options: Options,
        job_dir: str | None,
        watch: JobWatch | None = None,
        threads: int = 1,
        requests: StopRequests | None = None,
    ):
        roles = peers.roles
        self.peers, self.options = peers, options
        self.index = peers.rank - roles.num_workers
        make = maker(
            algorithms.find(options.algorithm),
            options.controller,
            roles.num_workers,
            roles.num_servers,
            lanes(threads),
        )
        self.checkpoints = CheckpointStore(options, roles, self.index)
        self.service = Service(
            roles.num_workers, make, self.checkpoints.state.resume_group
        )
        self.pushes = Pushes(self.service)
        self.wire: ServerEndpoint = MpiServer(peers, self.pushes.buffer)
        directory = os.environ.get("NFDT_JOB_DIR")
        if log := message_log.wanted(options, peers.rank, directory):
            self.wire = LoggedEndpoint(self.wire, self.index, log)
        self.membership = Membership(
            roles.num_workers, peers.size, peers.survives, options.on_worker_loss
        )
        self.recording = Recording(self.service, options, roles, self.index)
        is_local = "NFDT_LAUNCHER" not in os.environ
        self.shutdown = ServerShutdown(peers, self.wire, job_dir, is_local)
        self.failure: Failure | None = None  # the first of the job
        self._patience = PollingBackoff()
        self._looked_s = 0.0
        self._watch, self._requests = watch, requests
        self._barrier = ServerBarrier(peers)
        self._is_stopped = False  # because it was asked to
        self._turns = 0
        self._ending_due_s: dict[int, float] = {}  # a worker that is ended -> until
        self._ends_s = float("inf")  # when it ends at the latest
        self._is_cut_off = False  # whether others got out of reach
        self.checkpoints.begin(self.service)

    def run(self) -> int:
        """Serves until all workers have ended.

        Returns:
            The exit code; of a job that fails it does not return.
        """
        is_said = is_set(os.environ, "NFDT_LAUNCHED")  # by the launcher
        if self.index == 0 and not self.peers.survives and not is_said:
            output.shout(FRAGILE)
        if self._watch is not None:
            self._watch.line.connect()
        while self.service.present and time.monotonic() < self._ends_s:
            try:
                self._turn()
            except Exception as error:
                if not self.failure:
                    show_frames()
                self._end_for(f"server {self.index} failed: {name_of(error)}")
        return self._end()

    def _turn(self) -> None:
        if self._requests is not None and self._requests.received and not self.failure:
            self._stop()
        message = self.wire.receive()
        now_s = time.perf_counter()
        if message is not None:
            self._patience.reset()
            self._take(message, now_s)
        else:
            self._patience.wait()
        if now_s - self._looked_s > _LOOK_S:
            self._looked_s = now_s
            self._look(now_s)

    def _take(self, message: Message, now_s: float) -> None:
        kind, worker = message.kind, message.worker
        is_end = kind in (Kind.BYE, Kind.FAIL)
        if worker not in self.service.present or (self.failure and not is_end):
            return  # it has been told already
        if kind is Kind.PUSH:
            self._count(message)
            message = self.pushes.decoded(message)
        for answer in self._answers(message, now_s):
            self.wire.send(answer)
            if kind is Kind.PUSH:
                self._count(answer)
            if answer.kind is Kind.REFUSED and answer.number >= 0:
                self.recording.note(REFUSED, now_s, worker)
                self._end_at_refusals(answer)
        if kind is Kind.PUSH:
            self.pushes.give_back(message)
        elif kind is Kind.BYE:
            self.recording.note(FINISHED, now_s, worker)
            times = TimeShares.unpack(bytes(message.payload))
            self.recording.summary.times[worker] = times
            self._judge(self.membership.finish(worker, early=bool(message.parts)))
        elif kind is Kind.FAIL:
            self._take_failure(message, now_s)

    def _count(self, message: Message) -> None:
        """Counts the bytes of a vector where fewer may be sent than it has."""
        is_vector = message.kind in (Kind.PUSH, Kind.PARAMS)
        if self.options.wire == "own" or not is_vector:
            return
        summary = self.recording.summary
        whole = self.service.groups[message.group].params.nbytes
        sent = as_bytes(message.payload).nbytes
        if message.kind is Kind.PUSH:
            summary.pushed = summary.pushed.more(sent, whole)
        else:
            summary.answered = summary.answered.more(sent, whole)

    def _answers(self, message: Message, now_s: float) -> list[Message]:
        if message.kind in (Kind.NOTE, Kind.RECALL):
            return self.checkpoints.state.handle(message)
        try:
            check_batches(self.service, message)
            return self.service.handle(message, now_s)
        except Mismatch as error:
            self._end_for(str(error))
            return []

    def _end_at_refusals(self, answer: Message) -> None:
        """Ends the job where too many gradients in a row were not finite."""
        if answer.clock >= self.options.refuse_at_most:
            self._end_for(
                f"{answer.clock} gradients in a row were NaN or infinite; the last "
                f"came from worker {answer.worker}. Lower the learning rate, clip the "
                "gradients, or look for NaN in the data."
            )

    def _take_failure(self, message: Message, now_s: float) -> None:
        failure = Failure.from_json(json.loads(bytes(message.payload)))
        self.recording.note(FAILED, now_s, message.worker, text=failure.type)
        if not self.failure:  # else it follows from what has ended the job
            self._judge(self.membership.fail(failure, message.number))

    def _look(self, now_s: float) -> None:
        """What need not be done at once: the dead, and the trace."""
        for rank in self.peers.newly_lost():
            if rank in self.service.present:
                self._lose(rank, now_s)
            elif self.peers.roles.is_server(rank):
                name = self.peers.roles.name(rank)
                text = f"{name} (rank {rank}) was lost, and its parameters."
                self._end_for(text, PROCESS_GONE)
        if self._watch is not None:
            self._look_for_cuts(self._watch, now_s)
            self._look_for_stalls(self._watch)
        self.recording.take()
        if problem := self.checkpoints.keep(self.service, now_s):
            output.shout(problem)

    def _look_for_cuts(self, watch: JobWatch, now_s: float) -> None:
        """Goes on without those whose machines nobody reaches; MPI would wait."""
        for failure in watch.cut_off():
            rank, self._is_cut_off = failure.rank, True
            self.peers.lost.add(rank)
            # Without its launcher a job shows nothing, and nobody would end it.
            is_launchers = failure.host == os.environ.get("NFDT_LAUNCHER")
            if self.peers.roles.is_server(rank) or is_launchers:
                self._end_job(failure)
            elif rank in self.service.present:
                if self.index == 0:
                    output.shout(failure.sentence())
                self._lose(rank, now_s)

    def _look_for_stalls(self, watch: JobWatch) -> None:
        """Says that this server turns, and takes what the hub has found."""
        self._turns += 1
        now_s = time.monotonic()
        watch.line.note(f"turn {self._turns}")
        waits = self.service.waits()
        if self.membership.has_ended:
            present = frozenset(self.service.present)
            for worker in self.membership.finished:
                waits[worker] = Wait(END_OF_JOB, present)
        watch.update(waits, now_s)
        for stall in watch.stalls():
            rank, notice = stall.failure.rank, self.membership.stall(stall)
            is_known = rank not in self.service.present and notice.failure is None
            if self.failure or is_known:
                continue
            output.write(f"{stall.failure.traceback}\n", output.terminal())
            self._judge(notice)
            if notice.failure is None:
                self._ending_due_s[rank] = now_s + _KILL_S
                watch.kill(rank)
        for rank, due_s in self._ending_due_s.items():
            if rank in self.service.present and now_s > due_s:
                name = self.peers.roles.name(rank)
                self._end_for(f"{name} could not be ended.", PROCESS_GONE)

    def _lose(self, worker: int, now_s: float) -> None:
        answers = self.service.lose(worker, now_s)
        self.recording.note(LOST, now_s, worker)
        self._judge(self.membership.lose(worker))
        for answer in answers if not self.failure else []:
            self.wire.send(answer)

    def _judge(self, notice: DepartureNotice | None) -> None:
        if self.failure or notice is None:
            return
        if notice.failure is not None:
            self._end_job(notice.failure)
        elif self.index == 0:
            output.shout(notice.line)

    def _end_for(self, text: str, type: str = "JobEnded") -> None:
        """Ends the job as failed, for a reason that this server has found."""
        self._end_job(Failure.ended(self.peers.rank, self.peers.size, text, type))

    def _end_job(self, failure: Failure) -> None:
        """Ends the job as failed, for the first reason that there is."""
        if self.failure:
            return
        self.failure, self._ends_s = failure, time.monotonic() + LIMIT_S
        self.shutdown.fail(failure, self.service.present)

    def _stop(self) -> None:
        """Keeps what is merged, and ends the job, as it was asked to."""
        self._is_stopped = True
        text = f"stopped {self._place()}; {self._keep_last() or self._kept()}"
        text += ". The same command with --resume auto goes on."
        size = self.peers.size
        self.failure = Failure.ended(self.peers.rank, size, text, "Stopped")
        self.membership.code = STOPPED_CODE
        self.shutdown.stop(text, self.service.present)
        self._ends_s = time.monotonic() + LIMIT_S

    def _place(self) -> str:
        epochs = [
            epoch for epoch, one in self.service.leases.items() if not one.is_over
        ]
        if not epochs:
            return "between two epochs"
        ledger = self.service.leases[max(epochs)]
        done = f"{ledger.num_done} of {ledger.num_batches} batches"
        return f"in {EpochId.unpack(max(epochs))}, behind {done}"

    def _kept(self) -> str:
        if not self.checkpoints.has_trained(self.service):
            return "nothing was trained since it began"
        return f"a checkpoint is in {self.options.checkpoint}"

    def _keep_last(self) -> str:
        """Writes the last checkpoint, with all servers; returns what has gone wrong."""
        number = self._barrier.agree(self.checkpoints.last_number())
        return self.checkpoints.close(self.service, number)

    def _end(self) -> int:
        last = "" if self._is_stopped else self._keep_last()
        for problem in (last and f"{last}.", self.recording.close()):
            if problem:
                output.shout(problem)
        self.shutdown.summarise(self.recording, failed=bool(self.failure))
        # Whoever leaves first may take the others along, and what they still write.
        self._barrier.leave_together()
        if self._watch is not None:
            self._watch.line.dismiss()
        if self.index == 0:
            for worker in self.membership.finished:
                why = self.failure.text() if self.failure else ""
                self.wire.end(worker, why, self.membership.code)
        if not self.failure:
            self.peers.part()
            return 0
        if self._is_cut_off and os.environ.get("NFDT_LAUNCHER") != socket.gethostname():
            # Perhaps it is this machine that nobody reaches, and that must end itself.
            end_launcher_of_this_host()
        self.shutdown.leave(self.membership.code)


def show_frames() -> None:
    """Prints where an exception of a server comes from, for who looks into NFDT."""
    if is_set(os.environ, "NFDT_DEBUG"):
        traceback.print_exc(file=output.terminal())


def name_of(error: Exception) -> str:
    """Returns an exception as a line names it."""
    return f"{type(error).__name__}: {failures.telling_line(str(error))}"


def serve(
    peers: Peers,
    options: Options,
    job_dir: str | None,
    watch: JobWatch,
    threads: int = 1,
    requests: StopRequests | None = None,
) -> int:
    """Serves until the job ends.

    Args:
        peers: This process's end of the job.
        options: The user's options.
        job_dir: Where the launcher finds summary and failure, or None.
        watch: This server's end of the control line.
        threads: Threads that it may use for its updates.
        requests: Notes signals by which the job is asked to end; None for none.

    Returns:
        The exit code; of a job that fails it does not return.
    """
    try:
        server = ServerLoop(peers, options, job_dir, watch, threads, requests)
    except Exception as error:  # what the launcher could not see
        show_frames()
        wire = MpiServer(peers, lambda message, payload_bytes: bytearray(payload_bytes))
        ending = ServerShutdown(peers, wire, job_dir)
        text = str(error) if isinstance(error, ValueError) else name_of(error)
        failure = Failure.ended(peers.rank, peers.size, text)
        ending.fail(failure, range(peers.roles.num_workers))
        ending.leave(1)
    return server.run()
