"""A user's commands, run to their end; nothing of one is left after its time limit."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess

from fdtcore.settings import root_permission

ROOT = pathlib.Path(__file__).parents[1]
# Hides packages that Keras takes a second to import, and few programs need.
LEAN = ROOT / "tests" / "lean"
TIME_LIMIT_S = 300


def run(*command, folder, modules=(), time_limit_s=TIME_LIMIT_S, **variables):
    """Runs a command in a folder; returns its exit code, output and errors.

    Args:
        *command: The command and its arguments.
        folder: Where it runs.
        modules: Folders whose modules come before others.
        time_limit_s: When it is ended at the latest.
        **variables: Of its environment.
    """
    environ = {
        **os.environ,
        **root_permission(os.environ, uid=os.getuid()),
        "PYTHONPATH": os.pathsep.join(map(str, [*modules, ROOT])),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **variables,
    }
    child = subprocess.Popen(
        [str(word) for word in command],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = child.communicate(timeout=time_limit_s)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    return subprocess.CompletedProcess(command, child.returncode, output, errors)
