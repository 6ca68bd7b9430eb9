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
from typing import ClassVar, NoReturn

from fdtcore.launcher import banners
from fdtcore.launcher.banners import Ended
from fdtcore.launcher.descendants import die_with_parent
from fdtcore.launcher.launchers import Job

LOOPBACK = "127.0.0.1"
_GRACE_S = 1.0
_POLL_S = 0.05


@dataclasses.dataclass(frozen=True)
class Gloo:
    """The launcher of this module; see `fdtcore.launcher.launchers.Launcher`."""

    adds_text: ClassVar[bool] = True
    logs_in: ClassVar[bool] = False

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


def rank_environ(rank: int, size: int, port: int) -> dict[str, str]:
    """Returns what Horovod reads in a rank; every rank is on this machine."""
    return {
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_IFACE": loopback_interface(),
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": LOOPBACK,
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
        "HOROVOD_HOSTNAME": "localhost",
        "HOROVOD_RANK": str(rank),
        "HOROVOD_SIZE": str(size),
        "HOROVOD_LOCAL_RANK": str(rank),
        "HOROVOD_LOCAL_SIZE": str(size),
        "HOROVOD_CROSS_RANK": "0",
        "HOROVOD_CROSS_SIZE": "1",
    }


def loopback_interface() -> str:
    """Returns the name of the loopback interface: ``lo``, on a Mac ``lo0``."""
    names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    return names[0] if names else "lo"


@contextlib.contextmanager
def rendezvous(size: int) -> Iterator[int]:
    """Serves the meeting point of the ranks and gives its port."""
    from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
    from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer

    server = RendezvousHTTPServer((LOOPBACK, 0), RendezvousHandler, 0)
    hosts = parse_hosts(f"localhost:{size}")
    server.init(get_host_assignments(hosts, size))
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
    with rendezvous(size) as port:
        try:
            for rank in range(size):
                own = {**environ, **rank_environ(rank, size, port)}
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
