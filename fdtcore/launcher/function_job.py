"""A function as a job: what ``hfdt.run`` and ``nfdt.run`` have in common.

The command ``run`` is started, with a module as its program that calls the function on
each rank. So a job from a notebook or a program is looked at, supervised, explained and
ended as any other. Its output is read here, since a notebook shows what this process
writes, and not what its children do.
"""

from __future__ import annotations

import codecs
import contextlib
import datetime
import difflib
import importlib
import inspect
import itertools
import os
import secrets
import selectors
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TextIO

from fdtcore import output
from fdtcore.failures import EXCEPTION, RECORD_NAME, RunError, read_record
from fdtcore.function_calls import PickledCalls, PlainCalls, is_plain, one_line
from fdtcore.launcher import jobs, preflight
from fdtcore.launcher.hosts import Host, is_local
from fdtcore.options import FrameworkOptions, options_of
from fdtcore.validation import is_count

# What a command that is asked to end may take, with all that it has started.
END_S = 20.0
_LOOK_S = 0.5
_FETCH_S = 60.0
_REFUSED = 2  # exit code of a command that has started nothing
_TAIL = 8_000  # characters of what the command said last
# The kernel takes no longer text in the environment of a process (Linux).
_CALL_BYTES = 100_000


class FunctionRequest(NamedTuple):
    """Where and how a function runs.

    Args:
        options: Of the framework.
        np: Number of ranks whose results are wanted.
        hosts: Machines and their slots, as ``-H`` takes them; None: this one.
        output: Folder for the output of the ranks but 0; None for a new one.
        verbose: Whether TensorFlow's and MPI's messages are shown.
        may_lose: Whether a job succeeds without a rank that died.
    """

    options: FrameworkOptions
    np: int
    hosts: str | None
    output: str | os.PathLike[str] | None
    verbose: bool
    may_lose: bool = False

    @property
    def program(self) -> str:
        """The framework's command."""
        return self.options.program


def refuse_unknown(cls: type[FrameworkOptions], given: Mapping[str, Any]) -> None:
    """Refuses keywords that are no options.

    Args:
        cls: The framework's class of options, whose names are suggested.
        given: Keywords that nothing else has taken.

    Raises:
        TypeError: A keyword is no option.
    """
    for name in given:
        known = [*options_of(cls), *FunctionRequest._fields[1:5]]
        near = difflib.get_close_matches(name, known, n=1)
        way_out = (
            f"Did you mean {near[0]}?" if near else f"See help({cls.program}.run)."
        )
        raise TypeError(
            f"a keyword of {cls.program}.run must be an option. "
            f"Received: {name}. {way_out}"
        )


def run(
    function: Callable[..., Any], args: Sequence[Any], request: FunctionRequest
) -> list[Any]:
    """Calls a function on each rank of a job of its own.

    Args:
        function: What is called.
        args: What it is called with, in order.
        request: Where and how.

    Returns:
        What each rank returned, in their order; None for a rank that the job could
        lose, and has lost.

    Raises:
        TypeError: The function is none, or its arguments are no tuple.
        ValueError: A value is out of range, or something cannot be pickled.
        RunError: A rank has failed, or the job could not start.
    """
    _check(function, args, request)
    environ = os.environ | request.options.to_environ(os.environ)
    jobs.refuse_nesting(environ, request.program)
    hosts = jobs.choose_place(request.hosts, None, environ).hosts
    try:
        if all(is_local(host.name) for host in hosts):
            return _run_here(function, args, request, environ)
        return _run_there(function, args, request, environ, hosts)
    except RunError as error:
        raise error.with_traceback(None) from None  # it says where, on the rank


def _check(
    function: Callable[..., Any], args: Sequence[Any], request: FunctionRequest
) -> None:
    program = request.program
    if not callable(function):
        raise TypeError(
            f"{program}.run takes a function. Received: {type(function).__name__}. "
            f"Write {program}.run(train, (x, y)), and not {program}.run(train(x, y))."
        )
    if not isinstance(args, tuple | list):
        raise TypeError(
            "args must be a tuple or a list of the function's arguments. "
            f"Received: {type(args).__name__}. Write (x,) for one argument x."
        )
    if not is_count(request.np, 1):
        raise ValueError(
            f"np must be an integer >= 1. Received: np={request.np!r}. Use np=1 for a "
            "single process."
        )


def _directory(request: FunctionRequest) -> Path:
    """Returns the folder of the job; of several at one moment each has its own."""
    if request.output is not None:
        found = Path(request.output).absolute()
        with contextlib.suppress(OSError):  # an earlier job's; the command says more
            (found / RECORD_NAME).unlink()
        return found
    now, parent = datetime.datetime.now(), Path(f"{request.program}-logs")
    usual = output.job_directory(parent.absolute(), now, os.getpid())
    if request.np > 1:
        for number in itertools.count(2):
            try:
                usual.mkdir(parents=True)
                break
            except FileExistsError:
                usual = usual.with_name(f"{usual.name.partition('.')[0]}.{number}")
            except OSError as error:
                raise ValueError(
                    f"the output folder must be writable. Received: {usual}: "
                    f"{error.strerror}. Choose one: output=DIR."
                ) from None
    return usual


def _run_here(
    function: Callable[..., Any],
    args: Sequence[Any],
    request: FunctionRequest,
    environ: Mapping[str, str],
) -> list[Any]:
    with tempfile.TemporaryDirectory(prefix=f"{request.program}-") as folder:
        calls = PickledCalls(folder)
        try:
            calls.write(function, args)
        except ImportError:
            raise ValueError(
                "cloudpickle must be installed to pass a function to other processes. "
                "Received: no module of that name. Try: pip install cloudpickle."
            ) from None
        except OSError:
            raise
        except Exception as error:  # whatever a class does when it is pickled
            _refuse_pickling(function, args, error)
        directory = _directory(request)
        code, tail = _command(request, environ, directory, "local", folder)
        if code:
            _fail(request, code, tail, directory, Path(folder))
        found = {}
        for rank in range(request.np):
            with contextlib.suppress(FileNotFoundError):
                found[rank] = calls.result(rank)
    return _in_order(found, request)


def _run_there(
    function: Callable[..., Any],
    args: Sequence[Any],
    request: FunctionRequest,
    environ: Mapping[str, str],
    hosts: Sequence[Host],
) -> list[Any]:
    _check_plain(function, args, request)
    text = PlainCalls.written(secrets.token_hex(8), function, args)
    if len(text) > _CALL_BYTES:
        raise ValueError(
            "args must be small where other machines take part. Received: "
            f"{len(text)} bytes as JSON, of {_CALL_BYTES} at most. Pass the path of a "
            "file that all machines have."
        )
    variable = request.options.variable("CALL")
    words = ("plain", request.program)
    directory = _directory(request)
    code, tail = _command(request, {**environ, variable: text}, directory, *words)
    if code:
        _fail(request, code, tail, directory, directory)
    calls = PlainCalls(directory, text)
    pattern = "result-*.json"
    here = "".join(path.read_text() for path in directory.glob(pattern))
    found = calls.results(here)
    for host in hosts:
        if len(found) < request.np and not is_local(host.name):
            # Not on a disk that both share, or not seen there yet.
            found |= calls.results(_fetched(host, f"{directory}/", pattern, environ))
    return _in_order(found, request)


def _check_plain(
    function: Callable[..., Any], args: Sequence[Any], request: FunctionRequest
) -> None:
    """Refuses what cannot go to other machines."""
    way_out = f"{request.program} run -H {request.hosts or 'HOST:N,...'} train.py."
    name = getattr(function, "__qualname__", type(function).__name__)
    module = getattr(function, "__module__", None) or "__main__"
    found: Any = None
    if module != "__main__":
        with contextlib.suppress(ImportError, AttributeError):
            found = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
    if found is not function:
        raise ValueError(
            "a function for other machines must be importable there by its name; none "
            f"is unpickled that came over a network. Received: {name} of {module}. "
            f"Move it into a module, or write a script: {way_out}"
        )
    for number, value in enumerate(args):
        if not is_plain(value):
            raise ValueError(
                "args for other machines must be plain data: None, numbers, texts, "
                f"lists and dicts of them. Received: args[{number}] is of type "
                f"{type(value).__name__}. Let the function read it from a file, or "
                f"write a script: {way_out}"
            )


def _fetched(host: Host, folder: str, pattern: str, environ: Mapping[str, str]) -> str:
    """Returns what files on another machine hold; nothing where there are none."""
    words = [*preflight.agent(environ), host.name.strip("[]")]
    there = f"cat -- {shlex.quote(folder)}{pattern}"
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [*words, there],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
            timeout=_FETCH_S,
            check=False,
        )
        return done.stdout.decode()
    return ""


def _in_order(found: Mapping[int, Any], request: FunctionRequest) -> list[Any]:
    lacking = [rank for rank in range(request.np) if rank not in found]
    if lacking and not (request.may_lose and found):
        raise RunError(
            f"rank {lacking[0]}/{request.np} ended before the function returned.",
            rank=lacking[0],
        )
    return [found.get(rank) for rank in range(request.np)]


def _refuse_pickling(
    function: Callable[..., Any], args: Sequence[Any], error: Exception
) -> NoReturn:
    """Names what it is that cannot be pickled."""
    parts = {f"args[{number}]": value for number, value in enumerate(args)}
    name = getattr(function, "__name__", type(function).__name__)
    with contextlib.suppress(TypeError, ValueError):  # not a function of Python's
        used = inspect.getclosurevars(inspect.unwrap(function))
        parts |= {
            f"{key} in {name}": v
            for key, v in {**used.globals, **used.nonlocals}.items()
        }
    for what, value in parts.items():
        try:
            _dumps(value)
        except Exception as found:
            raise ValueError(
                "the function, its variables and args must be picklable. Received: "
                f"{what}, of type {type(value).__name__}: {one_line(found)}. Make it "
                "inside the function."
            ) from None
    raise ValueError(
        "the function, its variables and args must be picklable. Received: "
        f"{name}: {one_line(error)}. Make what it uses inside the function."
    ) from None


def _dumps(value: Any) -> bytes:
    import cloudpickle

    return cloudpickle.dumps(value)


def _fail(
    request: FunctionRequest, code: int, tail: str, directory: Path, folder: Path
) -> NoReturn:
    """Raises the first failure: the job's, that of its only rank, or what was said."""
    failure = read_record(directory) or read_record(folder)
    if request.output is None:
        with contextlib.suppress(OSError):  # where nothing has started, it is empty
            directory.rmdir()
    if failure is not None and failure.kind == EXCEPTION:
        text = failure.sentence()
        if failure.where:
            text += f"\n\n{failure.traceback.rstrip()}"
    else:
        # What the command says of a rank that could say nothing; or of itself.
        begin = f"{request.program}: "
        said = [line for line in tail.splitlines() if line.startswith(begin)]
        text = f"the job ended with exit code {code}."
        if said:
            text = said[-1].removeprefix(begin)
    if failure is not None:
        raise RunError(text, rank=failure.rank, host=failure.host, exit_code=code)
    is_started = request.np == 1 and code != _REFUSED
    raise RunError(text, rank=0 if is_started else None, exit_code=code)


def _command(
    request: FunctionRequest, environ: Mapping[str, str], directory: Path, *words: str
) -> tuple[int, str]:
    """Runs the command ``run``; returns its exit code, and what it said last."""
    argv = [
        *(sys.executable, "-m", "fdtcore.launcher.attached", str(os.getpid())),
        *(f"{request.program}.cli", "run", "-np", str(request.np)),
        *(("-H", request.hosts) if request.hosts is not None else ()),
        *("--output", str(directory)),
        *(("--verbose",) if request.verbose else ()),
        *("-m", "fdtcore.function_program", *words),
    ]
    child = subprocess.Popen(
        argv,
        env=_with_project(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # An interrupt of this process's group is passed on once, from here.
        start_new_session=True,
    )
    shown = _Shown(child)
    try:
        shown.follow()
    except BaseException as error:
        is_interrupt = isinstance(error, KeyboardInterrupt)
        _end(child, shown, signal.SIGINT if is_interrupt else signal.SIGTERM)
        raise
    finally:
        shown.close()
    return child.wait(), shown.tail


def _with_project(environ: Mapping[str, str]) -> dict[str, str]:
    """Lets another Python find this project where ``sys.path`` alone leads to it."""
    folder = str(Path(__file__).parents[2])
    path = environ.get("PYTHONPATH", "")
    if os.path.basename(folder) in ("site-packages", "dist-packages"):
        return dict(environ)
    if folder in path.split(os.pathsep):
        return dict(environ)
    return {**environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, folder]))}


class _Shown:
    """What a command says, passed on as it comes: in a notebook, into the cell.

    Args:
        child: The command.
    """

    def __init__(self, child: subprocess.Popen[bytes]):
        self.tail = ""  # of its standard error
        self._child = child
        self._selector = selectors.DefaultSelector()
        for stream, name in ((child.stdout, "stdout"), (child.stderr, "stderr")):
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            assert stream is not None
            self._selector.register(stream, selectors.EVENT_READ, (name, decoder))

    def follow(self, until_s: float | None = None) -> None:
        """Shows what is said, until the command has ended.

        Args:
            until_s: When to return in any case, as ``time.monotonic`` counts.
        """
        while self._selector.get_map():
            ready = self._selector.select(_LOOK_S)
            for key, _ in ready:
                self._pass_on(key)
            # What it has left behind may hold its streams open.
            if not ready and self._child.poll() is not None:
                break
            if until_s is not None and time.monotonic() > until_s:
                return
        left_s = None if until_s is None else max(0.0, until_s - time.monotonic())
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(left_s)

    def _pass_on(self, key: selectors.SelectorKey) -> None:
        name, decoder = key.data
        data = os.read(key.fd, 65536)
        text = decoder.decode(data, final=not data)
        if not data:
            self._selector.unregister(key.fileobj)
        if name == "stderr":
            self.tail = (self.tail + text)[-_TAIL:]
        stream: TextIO | None = getattr(sys, name)  # as it is now: it may be redirected
        if text and stream is not None:
            # A progress bar is no ASCII, which a stream may be.
            encoding = getattr(stream, "encoding", None) or "utf-8"
            known = text.encode(encoding, "replace").decode(encoding)
            output.write(known, stream)

    def close(self) -> None:
        """Closes the streams."""
        self._selector.close()
        for stream in (self._child.stdout, self._child.stderr):
            assert stream is not None
            stream.close()


def _end(child: subprocess.Popen[bytes], shown: _Shown, number: int) -> None:
    """Ends a command as its terminal would, and shows what it says of that."""
    ends_s = time.monotonic() + END_S
    while child.poll() is None and time.monotonic() < ends_s:
        with contextlib.suppress(ProcessLookupError):
            # Its ranks get an interrupt, too, as from a terminal.
            (os.killpg if number == signal.SIGINT else os.kill)(child.pid, number)
        # An interrupt once more, or nothing can be shown: it ends in any case.
        with contextlib.suppress(KeyboardInterrupt, Exception):
            shown.follow(ends_s)
    if child.poll() is None:
        child.kill()  # the ranks end with it
        child.wait()
