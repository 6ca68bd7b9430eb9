"""A command that ends with the process that started it.

``python -m fdtcore.launcher.attached PID MODULE ARGS...`` runs a module as
``python -m MODULE ARGS...`` would. The process PID, a notebook or a program with many
threads, cannot ask for that by ``preexec_fn``: Python code between fork and exec may
wait there for a lock that another thread had.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys

from fdtcore.launcher.descendants import die_with_parent


def main(argv: list[str]) -> None:
    """Runs the module that ``argv`` names behind the pid of this process's parent."""
    pid, module, *args = argv
    die_with_parent()
    if os.getppid() != int(pid):  # it has ended before it could be watched
        raise SystemExit(128 + signal.SIGTERM)
    sys.argv[:] = [module, *args]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except KeyboardInterrupt:  # before the command has taken signals over
        raise SystemExit(128 + signal.SIGINT) from None


if __name__ == "__main__":
    main(sys.argv[1:])
