"""The control line of a job of workers and servers: who hangs is known to the rest.

The first server keeps the hub: without it the job cannot go on in any case, while it
may go on without worker 0. Deaths are MPI's to tell, so the end of a connection says
nothing here; what the line adds is a process that lives and makes no progress.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fdtcore import shutdown
from fdtcore.control.control_line import ControlLine
from fdtcore.control.hub import Hub, Stall
from fdtcore.control.stall import Patience
from fdtcore.failures import CUT_OFF, Failure
from fdtcore.process import Process
from nfdt.cluster.stall_monitor import StallMonitor, name_of
from nfdt.options import Options
from nfdt.protocol.server import Wait
from nfdt.protocol.topology import Roles

HIDDEN = ("fdtcore", "nfdt", "runpy")


class JobWatch:
    """This process's end of the line, and on the first server what the hub finds.

    Args:
        peers: This process's end of the job; every process makes its watch at once.
        process: This process: its rank, the number of ranks, its host.
        options: The user's options.
        environ: The process's environment.
    """

    def __init__(
        self,
        peers: Any,
        process: Process,
        options: Options,
        environ: Mapping[str, str],
    ) -> None:
        self._roles: Roles = peers.roles
        self._timeout_s = options.stall_timeout
        self._hub: Hub | None = None  # on the first server
        self._monitor: StallMonitor | None = None
        # Called in a thread of the line when the first server is gone without a word.
        self.on_server_lost: Callable[[], None] = lambda: None
        self._stalls: queue.SimpleQueue[Stall] = queue.SimpleQueue()
        self._cut_off: queue.SimpleQueue[Failure] = queue.SimpleQueue()
        hub_rank = self._roles.server_rank(0)
        self.line = ControlLine(
            process,
            lambda text: peers.broadcast(text or "", hub_rank),
            stall_timeout_s=options.stall_timeout,
            link_timeout_s=options.link_timeout,
            address=environ.get("NFDT_ADDRESS") or options.interface,
            launcher=environ.get("NFDT_LAUNCHER", ""),
            job_dir=environ.get("NFDT_JOB_DIR"),
            hub_rank=hub_rank,
            make_hub=self._make_hub,
            name=lambda rank: name_of(self._roles, rank),
            on_hub_lost=lambda: self.on_server_lost(),
            on_cut_off=self._cut_off.put,
            on_abort=self._abort,
            hidden=HIDDEN,
            debug=environ.get("NFDT_DEBUG") == "1",
        )
        self.line.meet()

    def _abort(self) -> None:
        failure = self.line.failure
        is_cut_off = failure is not None and failure.kind == CUT_OFF
        # Others may go on without this process: a code other than 0 would end them
        # where mpirun comes to know of it.
        shutdown.exit_at_once(0 if is_cut_off else 1)

    def _make_hub(self, now_s: float) -> Hub:
        self._monitor = StallMonitor(self._roles, self._timeout_s, now_s)
        self._hub = Hub(
            self._roles.size,
            Patience(self._timeout_s),
            now_s,
            monitor=self._monitor,
            rank=self._roles.server_rank(0),
            name=lambda rank: name_of(self._roles, rank),
            judge=self._stalls.put,
        )
        return self._hub

    def update(self, waits: Mapping[int, Wait], now_s: float) -> None:
        """Takes note, on the first server, of who waits for whom."""
        if self._monitor is not None:
            self._monitor.update(waits, now_s)

    def stalls(self) -> Iterator[Stall]:
        """Yields the stalls that the hub has found since the last call."""
        while not self._stalls.empty():
            yield self._stalls.get()

    def cut_off(self) -> Iterator[Failure]:
        """Yields what is said of each rank that has got out of reach since."""
        while not self._cut_off.empty():
            yield self._cut_off.get()

    def kill(self, rank: int) -> None:
        """Has a process ended, on whichever machine it is."""
        assert self._hub is not None
        self._hub.kill(rank)
