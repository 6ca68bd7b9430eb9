"""A launcher without MPI: Horovod's Gloo, on this machine only.

``python -m hfdt.gloo SIZE COMMAND...`` is a small launcher. It serves Horovod's
rendezvous on the loopback interface, starts the ranks, and ends them all with the
first that fails, in the way and in the words of mpirun.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, ClassVar, NamedTuple, NoReturn

from fdtcore.launcher import banners
from fdtcore.launcher.banners import Ended
from fdtcore.launcher.descendants import die_with_parent
from fdtcore.launcher.launchers import Job

if TYPE_CHECKING:
    from horovod.runner.common.util.hosts import SlotInfo

LOOPBACK = "127.0.0.1"
_GRACE_S = 1.0
_POLL_S = 0.05


@dataclasses.dataclass(frozen=True)
class Gloo:
    """The launcher of this module; see `fdtcore.launcher.launchers.Launcher`."""

    adds_text: ClassVar[bool] = True
    logs_in: ClassVar[bool] = False
    chooses_hosts: ClassVar[bool] = False

    def argv(self, job: Job) -> list[str]:
        """Returns the command line that runs ``job`` on this machine.

        Raises:
            ValueError: The job has other hosts.
        """
        if not job.is_local:
            raise ValueError(
                "--launcher gloo starts processes on this machine only. Received: "
                f"{', '.join(host.name for host in job.hosts)}. Use mpirun, or: "
                "horovodrun --gloo -H ... python -m hfdt train.py."
            )
        return [sys.executable, "-m", "hfdt.gloo", str(job.size), *job.command]


class Meeting(NamedTuple):
    """Where the ranks of a job meet, as one of them sees it."""

    address: str
    port: int
    interface: str  # of the rank's own machine, that leads there


def rank_environ(place: SlotInfo, meeting: Meeting) -> dict[str, str]:
    """Returns what Horovod reads in a rank.

    Args:
        place: Which rank it is, in the job and on its machine.
        meeting: Where it meets the others.
    """
    return {
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_IFACE": meeting.interface,
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": meeting.address,
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(meeting.port),
        "HOROVOD_HOSTNAME": place.hostname,
        "HOROVOD_RANK": str(place.rank),
        "HOROVOD_SIZE": str(place.size),
        "HOROVOD_LOCAL_RANK": str(place.local_rank),
        "HOROVOD_LOCAL_SIZE": str(place.local_size),
        "HOROVOD_CROSS_RANK": str(place.cross_rank),
        "HOROVOD_CROSS_SIZE": str(place.cross_size),
    }


def places_here(size: int) -> list[SlotInfo]:
    """Returns which rank is which where all are on this machine."""
    from horovod.runner.common.util.hosts import HostInfo, get_host_assignments

    return get_host_assignments([HostInfo("localhost", size)], size)


def loopback_interface() -> str:
    """Returns the name of the loopback interface: ``lo``, on a Mac ``lo0``."""
    names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    return names[0] if names else "lo"


@contextlib.contextmanager
def rendezvous(places: list[SlotInfo], address: str = LOOPBACK) -> Iterator[int]:
    """Serves the meeting point of the ranks and gives its port.

    Args:
        places: Which rank is which.
        address: Own address, the only one to listen on.
    """
    from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer

    server = RendezvousHTTPServer((address, 0), RendezvousHandler, 0)
    server.init(places)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def first_failure(ranks: list[subprocess.Popen[bytes]]) -> Ended | None:
    """Waits until all ranks have ended well, or one has not."""
    while True:
        codes = [rank.poll() for rank in ranks]
        for rank, code in enumerate(codes):
            if code is not None and code < 0:
                return Ended(rank, socket.gethostname(), 128 - code, -code)
            if code:
                return Ended(rank, "", code, 0)
        if None not in codes:
            return None
        time.sleep(_POLL_S)


def end(ranks: list[subprocess.Popen[bytes]]) -> None:
    """Ends the ranks that still run."""
    deadline = time.monotonic() + _GRACE_S
    for rank in ranks:
        rank.terminate()
    for rank in ranks:
        with contextlib.suppress(subprocess.TimeoutExpired):
            rank.wait(timeout=max(0.0, deadline - time.monotonic()))
        rank.kill()
        rank.wait()


def launch(size: int, command: list[str], environ: Mapping[str, str]) -> int:
    """Runs ``command`` as ``size`` ranks and returns the exit code of the job."""
    ranks: list[subprocess.Popen[bytes]] = []
    places = places_here(size)

    def pass_on(number: int, frame: FrameType | None) -> None:
        del frame
        for rank in ranks:
            rank.send_signal(number)

    signal.signal(signal.SIGUSR1, pass_on)
    with rendezvous(places) as port:
        meeting = Meeting(LOOPBACK, port, loopback_interface())
        try:
            for rank, place in enumerate(places):
                own = {**environ, **rank_environ(place, meeting)}
                ranks.append(
                    subprocess.Popen(
                        command,
                        env=own,
                        stdin=None if rank == 0 else subprocess.DEVNULL,
                        preexec_fn=die_with_parent,
                    )
                )
            ended = first_failure(ranks)
        finally:
            end(ranks)
    if ended is None:
        return 0
    sys.stderr.write(banners.compose(ended))
    return ended.code


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise SystemExit(128 + number)


if __name__ == "__main__":
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, _stop)
    sys.exit(launch(int(sys.argv[1]), sys.argv[2:], os.environ))
