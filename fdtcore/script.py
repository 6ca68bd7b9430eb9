"""Runs a program as Python itself would; as a program itself, one that is examined."""

from __future__ import annotations

import os
import runpy
import sys

from fdtcore.examination import safety


def run(target: str, args: list[str], *, module: bool) -> None:
    """Runs a script or a module as ``__main__``.

    Args:
        target: Path of a script, or name of a module.
        args: The program's own arguments.
        module: Whether ``target`` is a module.
    """
    folder = os.environ.get(safety.VARIABLE)
    if folder:
        from fdtcore.glue import examination

        examination.install(folder)
    if module:
        sys.argv[:] = [target, *args]
        sys.path.insert(0, os.getcwd())
        runpy.run_module(target, run_name="__main__", alter_sys=True)
        return
    sys.argv[:] = [target, *args]
    sys.path.insert(0, os.path.dirname(os.path.abspath(target)))
    runpy.run_path(target, run_name="__main__")


def main(argv: list[str]) -> None:
    """Runs the program that ``python -m fdtcore.script`` is given."""
    module = argv[0] == "-m"
    target, *args = argv[module:]
    run(target, args, module=module)


if __name__ == "__main__":
    main(sys.argv[1:])
