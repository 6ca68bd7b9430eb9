"""The rank program: ``python -m hfdt SCRIPT ARGS...``, one process of a job.

Runs an unchanged script under HFDT. Works under ``hfdt run`` and as well under plain
``mpirun``, ``srun`` and ``horovodrun``. Options come from variables such as
``HFDT_BATCH``.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from fdtcore import descendants, output, settings, targets, tracebacks
from fdtcore.failures import Failure
from fdtcore.process import Process
from hfdt import runtime

# A rank that exits with an error gives the others so long to tell their user.
PEERS_S = 3.0
_HIDDEN = ("hfdt", "fdtcore")

USAGE = "usage: python -m hfdt SCRIPT ARGS...  or  python -m hfdt -m MODULE ARGS..."


def prepare(process: Process) -> None:
    """Sets up the environment and the output of this rank, before TensorFlow loads.

    Args:
        process: This rank.
    """
    if process.size > 1:
        descendants.end_with_parent()
    verbose = os.environ.get("HFDT_VERBOSE") == "1"
    settings.apply(process.local_size, os.environ, verbose=verbose)
    directory = os.environ.get("HFDT_JOB_DIR")
    if directory is None and process.size > 1:
        name = output.job_name(os.environ)
        if name is not None:
            directory = os.environ["HFDT_JOB_DIR"] = os.path.abspath(
                os.path.join("hfdt-logs", name)
            )
            if process.rank == 0:
                print(
                    f"hfdt: {output.announce(process.size, Path(directory))}",
                    file=sys.stderr,
                )
    output.redirect(
        process,
        None if directory is None else Path(directory),
        plain=os.environ.get("HFDT_PLAIN") == "1",
    )


def main(argv: list[str]) -> int:
    """Runs the script or module that ``argv`` names.

    Args:
        argv: The arguments behind ``python -m hfdt``.

    Returns:
        The exit code.
    """
    module = argv[:1] == ["-m"]
    words = argv[module:]
    if not words or words[0].startswith("-"):
        print(USAGE, file=sys.stderr)
        return 2
    process = Process.from_environ(os.environ)
    try:
        (targets.check_module if module else targets.check_script)(words[0])
    except ValueError as error:
        if process.rank == 0:
            print(f"hfdt: {error}", file=sys.stderr)
        return 2
    prepare(process)
    sys.excepthook = show_exception  # several ranks get one that tells the others
    with output.quiet(verbose=os.environ.get("HFDT_VERBOSE") == "1"):
        importlib.import_module("hfdt.engine")  # loads TensorFlow
    from hfdt.api import run_script

    try:
        run_script(words[0], words[1:], module=module)
    except SystemExit as error:
        if process.size > 1 and error.code not in (None, 0):
            _exit(process, error)
        raise
    return 0


def _exit(process: Process, error: SystemExit) -> NoReturn:
    """Ends this rank with its own exit code; the others cannot go on without it."""
    failure = Failure.from_exception(process, error, hidden=_HIDDEN)
    print(failure.headline(), file=sys.stderr)
    line = runtime.engine().line
    line.fail(failure)
    line.wait_for_peers(PEERS_S)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(error.code if isinstance(error.code, int) else 1)


def show_exception(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Prints the user's traceback without the frames of HFDT; a ``sys.excepthook``."""
    del kind, trace  # the error has both
    debug = os.environ.get("HFDT_DEBUG") == "1"
    text = tracebacks.format_traceback(error, hidden=_HIDDEN, debug=debug)
    sys.stderr.write(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
