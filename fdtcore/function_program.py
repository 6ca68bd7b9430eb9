"""The function of a job on one rank: called here, and its result kept.

``python -m hfdt -m fdtcore.function_program local FOLDER``, or ``plain hfdt``.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from fdtcore.failures import Failure, write_record
from fdtcore.function_calls import PickledCalls, PlainCalls
from fdtcore.process import Process

_HIDDEN = ("fdtcore", "hfdt", "nfdt")


def main(argv: list[str]) -> None:
    """Calls the function on this rank.

    Args:
        argv: ``local`` and a folder, or ``plain`` and the name of the framework.
    """
    way, place = argv
    process = Process.from_environ(os.environ)
    del sys.argv[1:]  # ours, and none of the function's
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # it is shown while it is made
    calls: PickledCalls | PlainCalls
    if way == "local":
        calls = PickledCalls(place)
    else:
        prefix = place.upper()
        folder = os.environ[f"{prefix}_JOB_DIR"]
        calls = PlainCalls(folder, os.environ[f"{prefix}_CALL"])
    try:
        function, args = calls.read()
        calls.keep(process.rank, _called(function, args))
    except BaseException as error:
        if process.size == 1:  # there is nobody else who records it
            failure = Failure.from_exception(process, error, hidden=_HIDDEN)
            write_record(calls.folder, failure)
        raise


def _called(function: Callable[..., Any], args: Sequence[Any]) -> Any:
    try:
        return function(*args)
    except SystemExit as error:
        if error.code not in (None, 0):
            raise
        refusal = RuntimeError(
            "a function must end by return. Received: sys.exit() without an error. "
            "Return in place of that."
        )
        raise refusal.with_traceback(error.__traceback__) from None


if __name__ == "__main__":
    main(sys.argv[1:])
