"""The user's program, checked before any process starts.

Runs a program as Python itself would; as a program itself, one that is examined.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys
import tokenize
import warnings
from pathlib import Path

from fdtcore.examination import safety


def check_script(path: str) -> None:
    """Refuses a script that cannot start.

    Args:
        path: A Python file, or a folder or archive with a ``__main__.py``.

    Raises:
        ValueError: The script is missing, unreadable or has a syntax error.
    """
    file = Path(path)
    if not file.exists():
        hint = " Write -m before the name of a module." if not file.suffix else ""
        raise ValueError(
            f"the script must exist. Received: {path}, looked for in {os.getcwd()}."
            f"{hint or ' Check the name and the folder.'}"
        )
    if file.is_dir():
        file /= "__main__.py"
        if not file.exists():
            raise ValueError(
                "a folder must hold a __main__.py to be run. "
                f"Received: {path}. Name a script in it."
            )
    if not os.access(file, os.R_OK):
        raise ValueError(
            f"the script must be readable. Received: {path}. Try: chmod u+r {path}."
        )
    if file.suffix == ".py":
        _check_syntax(file)


def _check_syntax(file: Path) -> None:
    try:
        with tokenize.open(file) as source, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python will say so when it runs
            compile(source.read(), str(file), "exec", dont_inherit=True)
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(
            f"the script must be valid Python. Received: {_describe(error, file)}"
        ) from None


def _describe(error: Exception, file: Path) -> str:
    if not isinstance(error, SyntaxError) or error.lineno is None:
        return f"{file}: {error}."
    text = f"{file}:{error.lineno}: {error.msg}."
    line = (error.text or "").rstrip()
    if line and error.offset:
        indent = len(line) - len(line.lstrip())
        caret = " " * max(0, error.offset - 1 - indent) + "^"
        text += f"\n    {line.strip()}\n    {caret}"
    return text


def check_module(name: str) -> None:
    """Refuses a module that cannot be found, as ``python -m`` would look for it.

    Only the top-level package is looked for: going deeper would import it.

    Args:
        name: Dotted name of the module, as after ``-m``.

    Raises:
        ValueError: No package of that name is found.
    """
    package = name.partition(".")[0]
    sys.path.insert(0, os.getcwd())
    try:
        found = package.isidentifier() and importlib.util.find_spec(package)
    except (ImportError, ValueError):
        found = None
    finally:
        sys.path.pop(0)
    if not found:
        raise ValueError(
            f"the module must be importable. Received: -m {name}, but there is no "
            f"{package!r} here or among the installed packages. Check the name, or "
            "set PYTHONPATH."
        )


def file_of(target: str, *, module: bool) -> str:
    """Returns the file of a script, or of a module's top-level package.

    Args:
        target: Path of a script, or name of a module.
        module: Whether ``target`` is a module.
    """
    if not module:
        return os.path.abspath(target)
    sys.path.insert(0, os.getcwd())
    try:
        found = importlib.util.find_spec(target.partition(".")[0])
    finally:
        sys.path.pop(0)
    return str(found.origin) if found is not None else target


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
