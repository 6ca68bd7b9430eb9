"""The hooks of a process for exceptions that nobody caught."""

from __future__ import annotations

import os
import sys
import time
import traceback
import types
from collections.abc import Callable, Collection
from typing import TextIO

from fdtcore import output, shutdown
from fdtcore.control.control_line import INTERRUPT_CODE, ControlLine
from fdtcore.failures import Failure, JobError, PeerFailure, RankCountError
from fdtcore.process import Process

_TRUE_FAILURE_TIMEOUT_S = 4.0
_PEERS_TIMEOUT_S = 3.0
# Some launchers end all processes with the first that exits.
_RANK_0_SPEAKS_S = 3.0


def say_job_errors(program: str, process: Process) -> None:
    """Lets a program of the user's end in one line where a job cannot come together.

    To be called before there is a control line. A hook of the user's own stays, and
    that of ``python -m FRAMEWORK``.

    Args:
        program: Name of the framework, which begins the line.
        process: This process, by what its launcher said.
    """
    if sys.excepthook is not sys.__excepthook__:
        return

    def hook(
        kind: type[BaseException],
        error: BaseException,
        trace: types.TracebackType | None,
    ) -> None:
        if not isinstance(error, JobError):
            sys.__excepthook__(kind, error, trace)
        elif isinstance(error, RankCountError) and process.rank > 0:
            time.sleep(_RANK_0_SPEAKS_S)  # each rank finds the same
        else:
            output.write(f"{program}: {error}\n", sys.stderr)

    sys.excepthook = hook


def install_hooks(
    line: ControlLine,
    process: Process,
    end_transport: Callable[[], None],
    *,
    is_collateral: Callable[[BaseException], bool] = lambda error: False,
    terminal: TextIO | None = None,
    hidden: Collection[str] = (),
    debug: bool = False,
) -> None:
    """Makes ``sys.excepthook`` tell all ranks of an exception, then end the process.

    Args:
        line: The open control line.
        process: This process: its rank, the number of ranks, its host.
        end_transport: Ends the transport, so that calls pending on other ranks fail.
        is_collateral: Tells an error that only follows from another rank's failure.
        terminal: The user's terminal where ``sys.stderr`` is not; the first rank to
            fail shows its traceback there, too.
        hidden: Names of top-level packages whose frames are left out.
        debug: Whether the project's own frames stay in the traceback.
    """
    pid = os.getpid()
    previous = sys.excepthook

    def hook(
        kind: type[BaseException],
        error: BaseException,
        trace: types.TracebackType | None,
    ) -> None:
        interrupted = isinstance(error, KeyboardInterrupt)
        if os.getpid() != pid or (interrupted and process.size == 1):
            previous(kind, error, trace)  # a child of the user's, or nobody to tell
            return
        if interrupted:
            line.interrupt()
            shutdown.leave(INTERRUPT_CODE)
        if not _is_explained(line, error, is_collateral):
            failure = Failure.from_exception(process, error, hidden=hidden, debug=debug)
            first = line.fail(failure)
            _show(line, failure, terminal if first else None)
        if process.size > 1:
            line.wait_for_peers(_PEERS_TIMEOUT_S)
            # It may hang; the line then ends this process after its grace.
            _try(end_transport)
            shutdown.leave(1)

    sys.excepthook = hook


def _is_explained(
    line: ControlLine,
    error: BaseException,
    is_collateral: Callable[[BaseException], bool],
) -> bool:
    """Whether the failure behind this error is known, and has been printed."""
    if isinstance(error, PeerFailure):
        return True
    if not is_collateral(error):
        return False
    return line.wait_failure(_TRUE_FAILURE_TIMEOUT_S) is not None


def _show(line: ControlLine, failure: Failure, terminal: TextIO | None) -> None:
    known = line.failure
    same = known is not None and (known.type, known.where, known.message) == (
        failure.type,
        failure.where,
        failure.message,
    )
    if same and known != failure:
        return  # the same mistake on every rank: the line has said it in one line
    prefix = f"rank {failure.rank}/{failure.size}: " if failure.size > 1 else ""
    for stream in (sys.stderr, terminal):
        if stream is not None:
            output.write(prefix + failure.traceback, stream)


def _try(end_transport: Callable[[], None]) -> None:
    try:
        end_transport()
    except Exception:  # the process ends here; the failure has been shown
        traceback.print_exc()
