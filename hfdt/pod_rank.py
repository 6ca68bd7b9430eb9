"""One rank of a job that Kubernetes starts, by an Indexed Job, over Horovod's Gloo.

``python -m hfdt.pod_rank SIZE FIRST SCRIPT ARGS...`` runs in each pod. The pod's index
is the rank. The pod of rank 0, which is known as FIRST to the others, serves Horovod's
rendezvous. No rank starts before all have arrived, because Horovod waits for half a
minute only, and pods start minutes apart.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from fdtcore import interfaces
from fdtcore.launcher.banners import Ended
from fdtcore.launcher.descendants import die_with_parent
from fdtcore.launcher.engines import host_wait
from fdtcore.launcher.explanation import explain
from fdtcore.launcher.supervisor import Outcome
from hfdt import gloo

if TYPE_CHECKING:
    from horovod.runner.common.util.hosts import SlotInfo

PORT = 29400
# Process 1 of a pod does not notice them without handlers.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_INDEX = "JOB_COMPLETION_INDEX"
_LOOK_S = 0.2
_REQUEST_S = 5.0
# Where ranks say that they are there, and rank 0 that all are. Not in use by Horovod.
_ARRIVED = "pod-ranks"
_ALL = "all"


def rank_of(environ: Mapping[str, str], size: int) -> int:
    """Returns the rank of this pod.

    Args:
        environ: Environment of the pod.
        size: Number of ranks of the job.

    Raises:
        ValueError: The pod has no index, or one that is not below ``size``.
    """
    index = environ.get(_INDEX, "")
    if not index.isdecimal() or int(index) >= size:
        raise ValueError(
            f"{_INDEX} must lie in 0..{size - 1}. Received: {index or 'nothing'}. "
            "Set completionMode: Indexed, and completions to the number of ranks."
        )
    return int(index)


def rank_environ(
    rank: int, size: int, interface: str, rendezvous: str
) -> dict[str, str]:
    """Returns what Horovod reads in a rank; every rank is on a host of its own.

    Args:
        rank: This rank.
        size: Number of ranks of the job.
        interface: Name of the interface that reaches the other pods.
        rendezvous: Address of rank 0.
    """
    meeting = gloo.Meeting(rendezvous, PORT, interface)
    return gloo.rank_environ(_place(rank, size), meeting)


def _place(rank: int, size: int) -> SlotInfo:
    from horovod.runner.common.util.hosts import SlotInfo

    return SlotInfo(_host(rank), rank, 0, rank, size, 1, size)


def _host(rank: int) -> str:
    # Horovod's name for the host; all that counts is that each rank has another.
    return f"pod-{rank}"


@contextlib.contextmanager
def rendezvous(address: str, size: int, limit_s: float) -> Iterator[None]:
    """Serves the meeting point of the ranks, from the time that all have arrived.

    Args:
        address: Own address, which the other pods reach.
        size: Number of ranks of the job.
        limit_s: How long the other ranks may take to arrive.

    Raises:
        ValueError: A rank does not arrive in time.
    """
    from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer

    server = RendezvousHTTPServer((address, PORT), RendezvousHandler, 0)
    server.init([_place(rank, size) for rank in range(size)])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        _wait_for_all(server, size, limit_s)
        yield
    finally:
        server.shutdown()
        server.server_close()


def _wait_for_all(server: Any, size: int, limit_s: float) -> None:
    deadline_s = time.monotonic() + limit_s
    while True:
        with server.cache_lock:
            arrived = server.cache.setdefault(_ARRIVED, {})
            missing = [rank for rank in range(1, size) if str(rank) not in arrived]
            if not missing:
                arrived[_ALL] = b"1"
                return
        if time.monotonic() >= deadline_s:
            first = ", ".join(map(str, missing[:5])) + ", ..." * (len(missing) > 5)
            raise ValueError(
                f"all ranks must start within {limit_s:g} s. Received: "
                f"{size - len(missing)} of {size}, without {first}. "
                "See: kubectl get pods."
            )
        time.sleep(_LOOK_S)


def arrive(rank: int, address: str, limit_s: float) -> None:
    """Says that this rank is there; returns when all ranks are.

    Args:
        rank: This rank.
        address: Address of rank 0.
        limit_s: How long that may take.

    Raises:
        ValueError: Rank 0 does not say in time that all ranks are there.
    """
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        # Again each time: what was said while rank 0 had yet to start is lost.
        with contextlib.suppress(OSError, http.client.HTTPException):
            _request("PUT", address, str(rank), b"1")
            if _request("GET", address, _ALL) == http.client.OK:
                return
        time.sleep(_LOOK_S)
    raise ValueError(
        f"rank 0 must see all ranks within {limit_s:g} s. Received: no word from "
        f"{address} port {PORT}. See its output: kubectl logs."
    )


def _request(method: str, address: str, key: str, body: bytes | None = None) -> int:
    connection = http.client.HTTPConnection(address, PORT, timeout=_REQUEST_S)
    with contextlib.closing(connection):
        connection.request(method, f"/{_ARRIVED}/{key}", body)
        return connection.getresponse().status


def run(rank: int, size: int, first: str, words: list[str], limit_s: float) -> int:
    """Runs this rank to its end, and returns its exit code.

    Args:
        rank: This rank.
        size: Number of ranks of the job.
        first: Name of the pod of rank 0.
        words: The user's program and its arguments.
        limit_s: How long the pods may take to start.

    Raises:
        ValueError: A pod does not start in time, or this one has no network.
    """
    own = interfaces.address_of_job(os.environ.get("HFDT_INTERFACE", ""))
    interface = interfaces.matching(own, interfaces.interfaces())
    assert interface is not None, own
    with contextlib.ExitStack() as stack:
        address = own
        if rank == 0:
            stack.enter_context(rendezvous(own, size, limit_s))
        else:
            host_wait.wait([first], PORT, limit_s)
            address = socket.gethostbyname(first)
            arrive(rank, address, limit_s)
        told = rank_environ(rank, size, interface.name, address)
        child = subprocess.Popen(
            [sys.executable, "-m", "hfdt", *words],
            env={**os.environ, **told},
            preexec_fn=die_with_parent,
        )
        # Kubernetes gives a pod half a minute to end, and then ends it itself.
        for number in _SIGNALS:
            signal.signal(number, lambda number, _: child.send_signal(number))
        child.wait()
    return _end(rank, size, child.returncode)


def _end(rank: int, size: int, code: int) -> int:
    """Says how a rank has ended that did not say so itself."""
    if code >= 0:
        return code
    ended = Ended(rank, socket.gethostname(), 128 - code, -code)
    outcome = Outcome(ended.code, 0, -code if size == 1 else 0, ended)
    line = explain(outcome, None, size=size, directory=None)
    print(f"hfdt: {line}", file=sys.stderr)
    return ended.code


def main(argv: list[str], limit_s: float = host_wait.LIMIT_S) -> int:
    """Runs the rank of this pod.

    Args:
        argv: Number of ranks, name of the pod of rank 0, and the user's program.
        limit_s: How long the pods may take to start.
    """
    size, first, *words = argv
    try:
        rank = rank_of(os.environ, int(size))
        return run(rank, int(size), first, words, limit_s)
    except ValueError as error:
        print(f"hfdt: {error}", file=sys.stderr)
        return 2


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise SystemExit(128 + number)


if __name__ == "__main__":
    for wanted in _SIGNALS:
        signal.signal(wanted, _stop)
    sys.exit(main(sys.argv[1:]))
