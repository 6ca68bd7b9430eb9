"""The rank program: ``python -m hfdt SCRIPT ARGS...``, one process of a job."""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

from fdtcore import shutdown
from fdtcore.failures import Failure
from fdtcore.process import Process
from fdtcore.rank_program import RankProgram
from fdtcore.settings import uncollected
from hfdt import runtime
from hfdt.options import Options

# A rank that exits with an error gives the others so long to tell their user.
PEERS_S = 3.0


def _load() -> None:
    with uncollected():
        importlib.import_module("hfdt.engine")  # loads TensorFlow


def _run(target: str, args: list[str], *, module: bool) -> None:
    from hfdt.api import run_script

    run_script(target, args, module=module)


def _leave(process: Process, error: SystemExit) -> NoReturn:
    """Ends this rank with its own exit code; the others cannot go on without it."""
    failure = Failure.from_exception(process, error, hidden=("hfdt", "fdtcore"))
    print(failure.headline(), file=sys.stderr)
    line = runtime.engine().line
    line.fail(failure)
    line.wait_for_peers(PEERS_S)
    shutdown.leave(error.code if isinstance(error.code, int) else 1)


PROGRAM = RankProgram("hfdt", Options.from_environ, _load, _run, _leave)

if __name__ == "__main__":
    sys.exit(PROGRAM.main(sys.argv[1:]))
