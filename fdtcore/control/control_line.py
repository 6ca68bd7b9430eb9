"""A rank's end of the control line.

Beside the training traffic each rank keeps one TCP connection to the rank that keeps
the hub, over which pass statuses (in which call am I?), the first failure and stacks.
So nobody depends on a collective to learn that collectives no longer work. Who keeps
the hub is watched by all others: when it says nothing any more, they end by themselves.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Collection

from fdtcore import failures, tracebacks
from fdtcore.control import endpoint, hub, stall
from fdtcore.control.channel import Channel, is_unreachable
from fdtcore.control.deadline import Countdown
from fdtcore.control.endpoint import ControlError
from fdtcore.control.first_failure import FirstFailure
from fdtcore.control.hub import Hub, Message
from fdtcore.control.process_identity import ProcessIdentity, end_launcher_of_this_host
from fdtcore.control.sockets import Switchboard
from fdtcore.control.stall import Status
from fdtcore.failures import Failure
from fdtcore.process import Process

__all__ = ["ControlError", "ControlLine"]

INTERRUPT_CODE = 130
LINK_TIMEOUT_S = 15.0

_LOOK_S = 0.5  # how often a changed status is sent
_ECHO_TIMEOUT_S = 2.0
_FAREWELL_S = 3.0
_IN_SCRIPT = (stall.COMPUTING, stall.WAITING)


class ControlLine:
    """One rank's end of the line. With one rank it only keeps the record.

    Args:
        process: This process: its rank, the number of ranks, its host.
        exchange: Collective, called once by ``open``: returns the text of the rank
            that keeps the hub to all.
        stall_timeout_s: How long a rank may wait for another; ``inf`` is for ever.
        link_timeout_s: How long another machine may be out of reach.
        job_dir: Where the first failure is recorded.
        address: The hub's address towards the others, or an interface or a network
            that tells it; empty to find it.
        launcher: Machine of the launcher, which reads the first failure; empty for
            any.
        hub_rank: Who keeps the hub: a rank that the job cannot go on without.
        make_hub: Makes it, from the time.
        name: From a rank to what messages call it.
        on_hub_lost: Called in a thread of the line when the connection to the hub
            ends without its farewell; None makes that the job's failure.
        on_cut_off: Called in a thread of the line with what is said of a rank whose
            machine cannot be reached, where a job may go on without it.
        on_abort: Ends this process.
        hidden: Names of top-level packages whose frames are left out of stacks.
        debug: Whether the project's own frames stay in the traceback.
    """

    def __init__(
        self,
        process: Process,
        exchange: Callable[[str | None], str],
        *,
        stall_timeout_s: float,
        link_timeout_s: float = LINK_TIMEOUT_S,
        job_dir: str | os.PathLike[str] | None = None,
        address: str = "",
        launcher: str = "",
        hub_rank: int = 0,
        make_hub: Callable[[float], Hub] | None = None,
        name: Callable[[int], str] | None = None,
        on_hub_lost: Callable[[], None] | None = None,
        on_cut_off: Callable[[Failure], None] = lambda failure: None,
        on_abort: Callable[[], None] = lambda: os._exit(1),
        hidden: Collection[str] = (),
        debug: bool = False,
    ) -> None:
        self.process = process
        self._exchange = exchange
        self._address = address
        self._link_timeout_s = link_timeout_s
        self._hub_rank = hub_rank
        self._name = name or (lambda rank: f"rank {rank}/{process.size}")
        self._silence_s = stall_timeout_s
        self._on_hub_lost = on_hub_lost
        self._on_cut_off = on_cut_off
        patience = stall.Patience(stall_timeout_s)
        self._make_hub = make_hub or (lambda now_s: Hub(process.size, patience, now_s))
        self._hidden = tuple(hidden)
        self._debug = debug
        self._status = Status()
        self._reported = Status()
        self._pid = os.getpid()
        self._offer = ""  # where the hub is, or why it is nowhere
        self._channel: Channel | None = None  # None: one rank, or not open
        self._switchboard: Switchboard | None = None  # where the hub is
        self._serving: threading.Thread | None = None
        self._keeper = ProcessIdentity("", 0)  # the process that keeps the hub
        self._beat_s = 0.0
        self._stopping = False  # the hub was interrupted: its end is no failure
        self._acknowledged = threading.Event()  # every peer knows what we said
        self._over = threading.Event()  # finished, failed, or the hub has left
        self._countdown = Countdown(lambda: self._abort(on_abort))
        self._first = FirstFailure(
            process,
            job_dir,
            self._countdown,
            self._name(process.rank),
            is_heard=launcher in ("", process.host),
        )
        self._is_remote = launcher not in ("", process.host)
        self._launcher, self._is_orphan = launcher, False

    @property
    def failure(self) -> Failure | None:
        """The job's first failure, as far as this rank knows."""
        return self._first.failure

    def open(self) -> None:
        """Connects all ranks; every rank calls it once, after its transport is up.

        Raises:
            ControlError: The hub cannot listen or cannot be reached.
        """
        if self.process.size > 1:
            self.meet()
            self.connect()

    def meet(self) -> None:
        """Learns where the hub is, or makes it; the first half of ``open``."""
        offer = self._listen() if self.process.rank == self._hub_rank else None
        self._offer = self._exchange(offer)

    def connect(self) -> None:
        """Connects this rank; the second half of ``open``, at any time after.

        A rank is watched from here on, so not while it loads what keeps it from
        answering.

        Raises:
            ControlError: The hub cannot listen or cannot be reached.
        """
        place = endpoint.read_offer(self._offer)
        self._keeper = place.identity
        self._channel = endpoint.connect(place, self.process, self._link_timeout_s)
        self._countdown.start()
        threading.Thread(
            target=self._attend, args=(self._channel,), name="control", daemon=True
        ).start()
        if self._on_hub_lost is None:
            atexit.register(self.close)
        _forget_in_children(self)

    def enter(self, label: str) -> None:
        """Notes the beginning of a call that every rank joins under this label."""
        self._status = Status(self._status[0] + 1, label, stall.WAITING)

    def leave(self) -> None:
        """Notes the end of the call last entered."""
        calls, label, _ = self._status
        self._status = Status(calls, label, stall.COMPUTING)

    def note(self, label: str) -> None:
        """Notes progress in what no other rank joins."""
        self._status = Status(self._status[0] + 1, label, stall.COMPUTING)

    def finish(self) -> None:
        """Tells that this process has come to its end, and waits for nobody."""
        if channel := self._usable_channel():
            self._say_goodbye(channel, stall.FINISHED)

    def dismiss(self) -> None:
        """Ends the hub, where it is: whoever is connected is told, and not watched."""
        if self._switchboard is not None and self._serving is not None:
            self._switchboard.dismiss()
            self._serving.join(_FAREWELL_S)

    def fail(self, failure: Failure) -> bool:
        """Makes this rank's failure known; returns when told which came first.

        From now on this process ends by itself after a few seconds.

        Args:
            failure: Failure of this process.

        Returns:
            Whether it is the job's first, which is then in ``self.failure``.
        """
        channel = self._usable_channel()
        if channel is not None and not self._first.told.is_set():
            message = {"type": "failure", "failure": failure.to_json()}
            if channel.send(message):
                self._first.told.wait(_ECHO_TIMEOUT_S)
        self._first.learn(failure)  # changes nothing where the hub has answered
        return self.failure == failure

    def wait_failure(self, timeout_s: float) -> Failure | None:
        """Waits for news of a failure, already printed when this returns.

        Args:
            timeout_s: How long at most.
        """
        if self._usable_channel() is not None:
            self._first.told.wait(timeout_s)
        return self.failure

    def wait_for_peers(self, timeout_s: float) -> None:
        """Waits until every rank has told its user of the failure, or is gone.

        The launcher kills all ranks at the first that exits with an error. To be
        called when this rank has printed what it has to say.

        Args:
            timeout_s: How long at most.
        """
        channel = self._usable_channel()
        if channel is not None and channel.send({"type": "received"}):
            self._acknowledged.wait(timeout_s)

    def interrupt(self) -> None:
        """Tells that this process stops at the user's wish: no failure of its own."""
        channel = self._usable_channel()
        if channel is None or self.failure is not None:
            return
        is_hub = self.process.rank == self._hub_rank
        if self._say_goodbye(channel, stall.INTERRUPTED) and is_hub:
            # The others would take its silence for a crash: it tells them first.
            self._acknowledged.wait(_ECHO_TIMEOUT_S)

    def close(self) -> None:
        """Ends in order: returns when every rank has come to its end.

        A rank that ends early would tear down the transport under the others, and
        their errors would hide that this one is missing. So it stays, and is named.
        After a failure it ends this process instead, which must not exit with 0.
        """
        channel = self._usable_channel()
        if channel is None:
            return
        atexit.unregister(self.close)
        try:
            self._say_goodbye(channel, stall.FINISHED)
            self._over.wait()
            if self.failure is not None:
                self._countdown.join()
        except KeyboardInterrupt:
            self.interrupt()
            os._exit(INTERRUPT_CODE)
        if self._serving is not None:
            self._serving.join(_FAREWELL_S)
        channel.close()
        self._channel = None

    def end_orphaned_launcher(self) -> None:
        """Ends this machine's daemon of MPI where nobody can reach the launcher."""
        if self._is_orphan:
            end_launcher_of_this_host()

    def _abort(self, on_abort: Callable[[], None]) -> None:
        failure = self.failure
        if failure is not None and failure.kind == failures.CUT_OFF and self._is_remote:
            # Nobody else can end what has started the processes of this machine.
            end_launcher_of_this_host()
        on_abort()

    def _listen(self) -> str:
        text, listener, token = endpoint.offer(self.process, self._address)
        if listener is not None:
            center = self._make_hub(time.monotonic())
            self._switchboard = Switchboard(
                center, listener, token, self._link_timeout_s
            )
            self._serving = threading.Thread(
                target=self._switchboard.serve, name="control hub", daemon=True
            )
            self._serving.start()
        return text

    def _usable_channel(self) -> Channel | None:
        # A forked child has the object, but neither its threads nor a say.
        return self._channel if os.getpid() == self._pid else None

    def _say_goodbye(self, channel: Channel, state: str) -> bool:
        calls, label, _ = self._status
        self._status = Status(calls, label, state)
        return channel.send(hub.status_message(self._status, "goodbye"))

    def _attend(self, channel: Channel) -> None:
        silence = stall.Silence(self._silence_s, time.monotonic())
        try:
            finished = False
            while not finished:
                for message in channel.receive(_LOOK_S):
                    silence.hear()
                    finished = self._handle(channel, message) or finished
                self._report(channel)
                if silence.is_over(time.monotonic()) and not self._stopping:
                    self._first.learn(self._silent_hub(silence.silent_s), alone=True)
                    finished = True
        except (OSError, ValueError) as error:
            if is_unreachable(error):
                # Whoever keeps the hub counts this process as lost by now.
                self._first.learn(self._unreachable_hub(), alone=True)
            elif self._on_hub_lost is not None:
                self._on_hub_lost()
            elif not self._stopping:
                self._first.learn(self._lost_hub())
        finally:
            self._over.set()

    def _lost_hub(self) -> Failure:
        """Describes the end of the process that keeps the hub."""
        rank, size = self._hub_rank, self.process.size
        elsewhere = self._keeper.host != self.process.host
        return hub.gone(rank, size, self._keeper, self._name(rank), elsewhere=elsewhere)

    def _unreachable_hub(self) -> Failure:
        """Describes the machine of the hub, which this one cannot reach."""
        rank, size = self._hub_rank, self.process.size
        doing = f"{self._link_timeout_s:.0f} s ago"
        return hub.cut_off(rank, size, self._keeper, self._name(rank), doing)

    def _silent_hub(self, silent_s: float) -> Failure:
        """Describes the process that keeps the hub; nobody else looks after it."""
        about = hub.silence_of(self._name(self._hub_rank), self._keeper, silent_s)
        name, host = self._name(self.process.rank), self.process.host
        return Failure(
            rank=self._hub_rank,
            size=self.process.size,
            host=self._keeper.host,
            type="Stall",
            message=f"{about}. {hub.reason_of_silence(self._keeper)}",
            traceback=f"\n{name} ({host}) is here:\n{self._main_stack()}",
            kind=failures.STALL,
        )

    def _handle(self, channel: Channel, message: Message) -> bool:
        match message.get("type"):
            case "failure":
                failure = Failure.from_json(message.get("failure"))
                self._first.learn(failure)
                if not self._first.is_own(failure):
                    channel.send({"type": "received"})
                self._over.set()
            case "cut_off":
                cut_off = Failure.from_json(message.get("failure"))
                self._is_orphan |= self._is_remote and cut_off.host == self._launcher
                self._on_cut_off(cut_off)
            case "kill":
                ProcessIdentity(
                    str(message["host"]), int(message["pid"]), int(message["started"])
                ).kill()
            case "acknowledged":
                self._acknowledged.set()
            case "stopping":
                self._stopping = True
                channel.send({"type": "received"})
            case "send_stack":
                self._report(channel)  # the stack belongs to this status
                channel.send({"type": "stack", "text": self._main_stack()})
            case "finished":
                return True
        return False

    def _report(self, channel: Channel) -> None:
        status, now_s = self._status, time.monotonic()
        if status != self._reported and status.state in _IN_SCRIPT:
            self._reported, self._beat_s = status, now_s
            channel.send(hub.status_message(status))
        elif now_s - self._beat_s >= hub.BEAT_S:
            self._beat_s = now_s
            channel.send({"type": "alive"})

    def _main_stack(self) -> str:
        frame = sys._current_frames().get(threading.main_thread().ident or 0)
        return tracebacks.format_stack(frame, hidden=self._hidden, debug=self._debug)

    def _forget_in_child(self) -> None:
        # Copies of the descriptors would keep a dead rank's connection alive.
        if self._channel is not None:
            self._channel.close()
        if self._switchboard is not None:
            self._switchboard.close()


def _forget_in_children(line: ControlLine) -> None:
    reference = weakref.ref(line)

    def forget() -> None:
        line = reference()
        if line is not None:
            line._forget_in_child()

    os.register_at_fork(after_in_child=forget)
