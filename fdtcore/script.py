"""Runs a program as Python itself would."""

from __future__ import annotations

import os
import runpy
import sys


def run(target: str, args: list[str], *, module: bool) -> None:
    """Runs a script or a module as ``__main__``.

    Args:
        target: Path of a script, or name of a module.
        args: The program's own arguments.
        module: Whether ``target`` is a module.
    """
    if module:
        sys.argv[:] = [target, *args]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(target, run_name="__main__", alter_sys=True)
        return
    sys.argv[:] = [target, *args]
    sys.path.insert(0, os.path.dirname(os.path.abspath(target)))
    runpy.run_path(target, run_name="__main__")
