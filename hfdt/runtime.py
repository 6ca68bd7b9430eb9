"""The start of Horovod in a process, and the services around it."""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import random
import sys
from typing import TYPE_CHECKING

from fdtcore import evidence, mpi_library, output, settings
from fdtcore.control import control_line, excepthook
from fdtcore.failures import RankCountError
from fdtcore.options import is_set
from fdtcore.process import Process
from hfdt.options import Options

if TYPE_CHECKING:
    from hfdt.engine import HorovodEngine

_HIDDEN = ("fdtcore", "hfdt", "runpy")
_engine: HorovodEngine | None = None


def engine(options: Options | None = None, script: str = "") -> HorovodEngine:
    """Returns this process's engine, started on first use.

    Args:
        options: The user's choices, read at the first call only.
        script: File of the unchanged program that is about to run; empty for one that
            runs already.
    """
    global _engine
    if _engine is None:
        _engine = _start(options or Options.from_environ(os.environ), script)
    return _engine


def _start(options: Options, script: str) -> HorovodEngine:
    process = Process.from_environ(os.environ)
    if process.size > 1:
        excepthook.say_job_errors("hfdt", process)
        from hfdt.install.install import check_installed

        problem = check_installed()
        if problem:
            raise RuntimeError(problem)
        settings.apply(
            process.local_size,
            os.environ,
            verbose=is_set(os.environ, "HFDT_VERBOSE"),
        )
        # Behind the control line, which says more: ranks that wait for each other in
        # one call, but for different tensors, are known to Horovod alone.
        if math.isfinite(options.stall_timeout):
            limit = str(math.ceil(2 * options.stall_timeout))
            os.environ.setdefault("HOROVOD_STALL_CHECK_TIME_SECONDS", limit)
            os.environ.setdefault("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", limit)
        process = _start_horovod(process, options)
    elif options.stats:
        output.shout("stats need several ranks: one waits for nobody.")

    from fdtcore.glue import bind, generator_state, randomness
    from hfdt import traces
    from hfdt.collectives import HorovodCollectives
    from hfdt.communicator import HorovodCommunicator
    from hfdt.engine import HorovodEngine

    communicator = HorovodCommunicator(process.rank, process.size)

    def exchange(text: str | None) -> str:
        own = (text or "").encode()
        return communicator.broadcast_bytes(own, "hfdt.line").decode()

    line = control_line.ControlLine(
        process,
        exchange,
        stall_timeout_s=options.stall_timeout,
        link_timeout_s=options.link_timeout,
        address=os.environ.get("HFDT_ADDRESS") or options.interface,
        launcher=os.environ.get("HFDT_LAUNCHER", ""),
        job_dir=os.environ.get("HFDT_JOB_DIR"),
        hidden=_HIDDEN,
        debug=is_set(os.environ, "HFDT_DEBUG"),
    )
    collectives = HorovodCollectives(process, communicator, line)
    made = HorovodEngine(collectives, options, line)
    draw = None
    if options.snapshots:
        from hfdt import snapshots

        seed = snapshots.begin(made, options, script)
        draw = random.Random(seed).getrandbits
        if script:  # nothing that the program has seeded is lost
            generator_state.seed_all(draw)
        elif process.size == 1:
            randomness.agree(collectives, draw)
    if process.size > 1:
        line.open()
        excepthook.install_hooks(
            line,
            process,
            end_transport=_end_horovod,
            is_collateral=_is_collateral,
            terminal=output.terminal() if process.rank else None,
            hidden=_HIDDEN,
            debug=is_set(os.environ, "HFDT_DEBUG"),
        )
        randomness.agree(made.collectives, draw)
        # A script that forgets to distribute what it trains is to be told.
        bind.bind(made)
        evidence.look_at_the_end("hfdt", lambda: made.process.size, _end)
    traces.begin(made, options)
    return made


def _end(text: str) -> None:
    error = RuntimeError(text)
    sys.excepthook(RuntimeError, error, None)


def _start_horovod(process: Process, options: Options) -> Process:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        # One device a process, before TensorFlow takes them all.
        tf.config.set_visible_devices(gpus[process.local_rank % len(gpus)], "GPU")
    import horovod.tensorflow as hvd

    if options.process_sets:
        os.environ["HOROVOD_DYNAMIC_PROCESS_SETS"] = "1"  # slows each cycle a little
    library = "" if "HOROVOD_RANK" in os.environ else _mpi_of_horovod()
    if mpi_library.is_alone(process, library, os.environ):
        raise RankCountError(
            mpi_library.complaint("hfdt", process, library, os.environ)
        )
    hvd.init()
    if hvd.size() != process.size:
        raise RankCountError(
            mpi_library.complaint("hfdt", process, library, os.environ, hvd.size())
        )
    return Process(
        hvd.rank(), hvd.size(), hvd.local_rank(), hvd.local_size(), process.host
    )


def _mpi_of_horovod() -> str:
    """Returns what the MPI that Horovod has loaded calls itself, before it starts."""
    spec = importlib.util.find_spec("horovod.tensorflow.mpi_lib")
    text, length = ctypes.create_string_buffer(8192), ctypes.c_int()
    try:
        own = ctypes.CDLL(spec.origin if spec else None)
        own.MPI_Get_library_version(text, ctypes.byref(length))
    except (AttributeError, OSError):  # built without MPI
        return ""
    return text.value.decode(errors="replace")


def _end_horovod() -> None:
    import horovod.tensorflow as hvd

    hvd.shutdown()


def _is_collateral(error: BaseException) -> bool:
    text = str(error)
    return "Horovod has been shut down" in text or "HorovodInternalError" in text
