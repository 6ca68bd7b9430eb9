"""The record of a run of HFDT, as its options ask for it."""

from __future__ import annotations

import atexit
import os
import sys
import time
import types

from fdtcore import output
from fdtcore.failures import JobError
from fdtcore.shadow_files import patches
from fdtcore.telemetry.trace_file import FAILED, FINISHED
from hfdt.engine import HorovodEngine
from hfdt.options import Options
from hfdt.telemetry import recorder
from hfdt.telemetry.recorder import Recorder

# The options that a reader of the record asks for.
_FACTS = ("batch", "compression", "bucket_bytes", "accumulate", "op")


def begin(engine: HorovodEngine, options: Options) -> None:
    """Records what this process does from now on, where the options want it.

    Args:
        engine: What this process trains with.
        options: The user's options of HFDT, the same on every rank.

    Raises:
        JobError: The folder cannot be written to.
    """
    collectives = engine.collectives
    process = collectives.process
    if not options.trace or engine.strategy.recorder is not None:
        return
    if process.size == 1:
        output.shout("a trace needs several ranks: one exchanges nothing.")
        return
    # A job that goes on, in a life of its own, adds to what it has left.
    goes_on, begun_s = False, time.time()
    if process.rank == 0:
        goes_on = bool(options.resume) and recorder.is_begun(options.trace)
        if not goes_on:
            recorder.clear(options.trace)
    word, _, moment = collectives.broadcast_text(f"{goes_on} {begun_s}").partition(" ")
    facts = {
        "ranks": process.size,
        "host": process.host,
        "begun_s": float(moment),  # the same on all ranks of this life
        **{name: getattr(options, name) for name in _FACTS},
    }
    try:
        made = Recorder(options.trace, process.rank, facts, goes_on=word == str(True))
    except ValueError as error:
        raise JobError(str(error)) from None
    engine.strategy.record(made)
    _note_end(made)


def choose(engine: HorovodEngine, options: Options) -> None:
    """Records from now on, where a call of ``distribute`` asks for it."""
    if options.trace:
        patches.leave_out(options.trace)  # each rank has a file
    begin(engine, options)


def _note_end(made: Recorder) -> None:
    """Writes down how this process ends, where Python hears of it."""
    pid, inner = os.getpid(), sys.excepthook
    failed = False

    def hook(
        kind: type[BaseException],
        error: BaseException,
        trace: types.TracebackType | None,
    ) -> None:
        nonlocal failed
        if os.getpid() == pid and not failed:
            failed = True
            made.note(FAILED, text=f"{kind.__name__}: {error}".partition("\n")[0])
        inner(kind, error, trace)

    def end() -> None:
        if os.getpid() != pid:
            return  # a child of the user's
        if not failed:
            made.note(FINISHED)
        made.close()
        if made.problem is not None:
            output.shout(f"the trace is cut off: {made.problem}")

    sys.excepthook = hook
    atexit.register(end)
