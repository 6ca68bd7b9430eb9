"""The rank program: ``python -m nfdt SCRIPT ARGS...``, one process of a job."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from fdtcore import output
from fdtcore.process import Process
from fdtcore.rank_program import RankProgram
from nfdt.cluster import runtime
from nfdt.protocol.topology import Roles


def _run(target: str, args: list[str], *, module: bool) -> None:
    from nfdt.api import run_script

    run_script(target, args, module=module)


def _leave(process: Process, error: SystemExit) -> Any:
    """Ends this worker with its script's exit code; the others go on."""
    del process
    sys.excepthook(type(error), error, error.__traceback__)


def _who(size: int, directory: Path) -> str:
    servers = os.environ.get("NFDT_SERVERS", "1")
    is_sound = servers.isdigit() and 0 < int(servers) < size
    who = Roles(size, int(servers)).others() if is_sound else ""
    return output.announce(size, directory, who)


PROGRAM = RankProgram(
    *("nfdt", runtime.check, runtime.begin, _run, _leave, _who),
    sharing=runtime.processes_on_host,
)


if __name__ == "__main__":
    sys.exit(PROGRAM.main(sys.argv[1:]))
