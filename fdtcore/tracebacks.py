"""Tracebacks and stacks without the project's own frames."""

from __future__ import annotations

import linecache
import os
import sysconfig
import traceback
import types
from collections.abc import Collection, Iterator

_LIBRARIES = tuple(
    path + os.sep
    for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    if path
)
_INNER_FRAMES = 3  # library frames shown below the user's line in a stack


def format_traceback(
    error: BaseException, *, hidden: Collection[str] = (), debug: bool = False
) -> str:
    """Formats an exception with its chain, without the frames of some packages.

    Args:
        error: Exception to describe, with what it was raised from.
        hidden: Names of top-level packages whose frames are left out.
        debug: Whether the project's own frames stay in the traceback.

    Returns:
        The text that Python would print, ending in a newline.
    """
    summary = traceback.TracebackException.from_exception(error, compact=True)
    if not debug:
        files = {
            frame.f_code.co_filename
            for link in _chain(error)
            for frame, _ in traceback.walk_tb(link.__traceback__)
            if _is_hidden(frame, hidden)
        }
        _hide(summary, files)
    return "".join(summary.format())


def find_user_line(
    error: BaseException, *, hidden: Collection[str] = ()
) -> tuple[str, str]:
    """Finds the line of the user's code that an exception comes from.

    That is the innermost frame which is neither ours nor a library's; for an
    exception that has none, that of the exception it was raised from.

    Args:
        error: Exception to describe, with what it was raised from.
        hidden: Names of our top-level packages.

    Returns:
        ``("train.py:33", "loss = f(x)")``, or two empty strings.
    """
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{os.path.basename(error.filename)}:{error.lineno}"
        return place, (error.text or "").strip()
    for link in _chain(error):
        frames = list(traceback.walk_tb(link.__traceback__))
        for frame, line_number in reversed(frames):
            if _is_users(frame, hidden):
                path = frame.f_code.co_filename
                source = linecache.getline(path, line_number, frame.f_globals)
                return f"{os.path.basename(path)}:{line_number}", source.strip()
    return "", ""


def format_stack(
    frame: types.FrameType | None, *, hidden: Collection[str] = (), debug: bool = False
) -> str:
    """Formats where a running thread is, the user's own frames before all else.

    Args:
        frame: The thread's innermost frame.
        hidden: Names of top-level packages whose frames are left out.
        debug: Whether the project's own frames stay in the traceback.

    Returns:
        Frames in the order of the calls, then the innermost library frames on one
        line. Ends in a newline.
    """
    walked = list(traceback.walk_stack(frame))[::-1]
    if not debug:
        walked = [(f, line) for f, line in walked if not _is_hidden(f, hidden)]
    users = [(f, line) for f, line in walked if _is_users(f, hidden)]
    if debug or not users:
        return "".join(traceback.StackSummary.extract(iter(walked)).format())
    text = "".join(traceback.StackSummary.extract(iter(users)).format())
    below = walked[walked.index(users[-1]) + 1 :][-_INNER_FRAMES:]
    if below:
        calls = (f"{f.f_code.co_name} ({_short(f)}:{line})" for f, line in below)
        text += "  inside " + " > ".join(calls) + "\n"
    return text


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        implicit = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or implicit


def _hide(summary: traceback.TracebackException | None, files: Collection[str]) -> None:
    if summary is None:
        return
    kept = [line for line in summary.stack if line.filename not in files]
    if kept:  # an error of our own, with no caller to blame, stays as it is
        summary.stack = traceback.StackSummary.from_list(kept)
    _hide(summary.__cause__, files)
    _hide(summary.__context__, files)
    for member in getattr(summary, "exceptions", None) or ():
        _hide(member, files)


def _is_hidden(frame: types.FrameType, hidden: Collection[str]) -> bool:
    # `python -m hfdt` and the user's script are both called __main__; the spec
    # tells them apart.
    spec = frame.f_globals.get("__spec__")
    name = getattr(spec, "name", None) or frame.f_globals.get("__name__") or ""
    return name.partition(".")[0] in {*hidden, "runpy"}


def _is_users(frame: types.FrameType, hidden: Collection[str]) -> bool:
    path = frame.f_code.co_filename
    return not (
        path.startswith(("<", *_LIBRARIES))
        or "site-packages" in path
        or "dist-packages" in path
        or "__autograph_generated_file" in path
        or _is_hidden(frame, hidden)
    )


def _short(frame: types.FrameType) -> str:
    path = frame.f_code.co_filename
    return os.path.join(*path.split(os.sep)[-2:])
