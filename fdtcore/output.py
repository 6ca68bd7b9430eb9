"""The output of a job: rank 0 keeps the terminal, other ranks write to files.

Works on file descriptors, so that C++ libraries and child processes obey as well.

What the framework itself has to say: once, by rank 0, on standard error.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from fdtcore.process import Process

if TYPE_CHECKING:
    from typing_extensions import Buffer

# TensorFlow's libraries log before their log level is read. Information and
# warnings go; of the errors only those that say that there is no GPU.
_CHATTER = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog"
    rb"|[IW]\d{4} \d\d:\d\d:[\d.]+ +\d+ \S+\.cc:\d+\]"
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:[\d.]+: [IW] "
    rb"|To enable the following instructions:"
    rb"|.*(failed call to cuInit|Unable to register cu\w+ (factory|plugin))"
)

_terminal: TextIO | None = None
_real_output: list[int] = []  # descriptor of the real standard output
_cut: dict[Path, str] = {}  # log that is not whole -> what is to be said of it


class _NoTerminal(io.TextIOWrapper):
    """A standard output that reports that it is not a terminal."""

    def isatty(self) -> bool:
        return False


class _Log(io.FileIO):
    """A descriptor of a log, whose full disk is no failure of the program's.

    Args:
        descriptor: Where to write.
        path: The file, for the message.
        program: Name of the framework, for the message.
    """

    def __init__(self, descriptor: int, path: Path, program: str):
        super().__init__(descriptor, "w", closefd=False)
        self._path, self._program = path, program

    def write(self, data: Buffer) -> int:
        try:
            return super().write(data)
        except OSError as error:
            line = (
                f"{self._program}: {_shown(self._path)} is cut off: {error.strerror}."
            )
            _cut.setdefault(self._path, line)
            return memoryview(data).nbytes


def open_standard() -> None:
    """Opens what standard streams this process was started without, on nothing.

    Else the next file that is opened takes such a descriptor, and what is printed
    goes into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            stream = open(descriptor, "w", errors="replace", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def flush() -> None:
    """Writes out what was printed, before the process ends; says what was cut off."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    while _cut:
        _, line = _cut.popitem()
        with contextlib.suppress(OSError, ValueError):
            print(line, file=terminal(), flush=True)


def _shown(path: Path) -> str:
    """A path as the user would write it."""
    with contextlib.suppress(ValueError):
        path = Path(path).relative_to(Path.cwd())
    return str(path)


def job_directory(parent: Path, now: datetime.datetime, pid: int) -> Path:
    """Returns the folder of one job, ``parent/date-time-pid``; makes nothing."""
    return parent / f"{now:%Y%m%d-%H%M%S}-{pid}"


def job_name(environ: Mapping[str, str]) -> str | None:
    """Returns a name that all ranks of this job, and no other job, would give it.

    For jobs started by ``mpirun``, ``srun`` or ``horovodrun`` themselves, whose ranks
    have to agree on a folder before they can talk.

    Args:
        environ: The environment of a rank.

    Returns:
        The name, fit for a file, or None where the launcher left none, or where each
        rank has a pod of Kubernetes, which keeps its output.
    """
    if "JOB_COMPLETION_INDEX" in environ and environ.get("HOROVOD_LOCAL_SIZE") == "1":
        return None
    name = environ.get("PMIX_NAMESPACE")
    if name is None and "SLURM_STEP_ID" in environ:
        name = f"slurm-{environ.get('SLURM_JOB_ID')}.{environ['SLURM_STEP_ID']}"
    if name is None and "HOROVOD_GLOO_RENDEZVOUS_PORT" in environ:
        address = environ.get("HOROVOD_GLOO_RENDEZVOUS_ADDR", "")
        name = f"gloo-{address}-{environ['HOROVOD_GLOO_RENDEZVOUS_PORT']}"
    if name is None and "PMI_HOSTNAME" in environ:
        name = (control := _hydras_control()) and f"mpich-{control}"
    return name and re.sub(r"[^\w.-]", "-", name)


def _hydras_control() -> str | None:
    """Returns where MPICH's launcher takes reports; its daemons have it in their argv.

    It tells ranks no name of their job, and this is one on all machines.
    """
    import psutil

    with contextlib.suppress(psutil.Error):
        for parent in psutil.Process().parents():
            found = re.search(r" --control-port (\S+)", " ".join(parent.cmdline()))
            if found:
                return found[1]
    return None


def log_file(directory: Path, rank: int) -> Path:
    """Returns where the output of ``rank`` goes."""
    return directory / f"rank-{rank}.log"


def redirect(
    process: Process,
    directory: Path | None,
    *,
    plain: bool = False,
    program: str = "hfdt",
) -> TextIO:
    """Sends this rank's output where it belongs; call before TensorFlow loads.

    Args:
        process: This rank. Rank 0 keeps the terminal.
        directory: Where the other ranks' files go; None leaves them alone too.
        plain: True makes rank 0's standard output own to being no terminal. Open
            MPI gives ranks a terminal even where its own output is a file, and
            progress bars would then fill that file with control characters.
        program: Name of the framework, which begins its lines.

    Returns:
        The stream that still reaches the real standard error.
    """
    global _terminal
    if _terminal is None:
        _terminal = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
        _real_output.append(os.dup(1))
    if process.rank != 0 and directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        _replace_output(log_file(directory, process.rank), program)
    elif plain and sys.stdout is not None and sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout = _NoTerminal(
            open(1, "wb", closefd=False),
            sys.stdout.encoding,
            sys.stdout.errors,
            line_buffering=True,
        )
    return _terminal


def _replace_output(path: Path, program: str) -> None:
    flush()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        before = getattr(sys, name)
        stream = io.TextIOWrapper(
            io.BufferedWriter(_Log(descriptor, path, program)),
            before.encoding,
            before.errors,
            # A rank that is killed must leave what it said in the file.
            line_buffering=True,
        )
        setattr(sys, name, stream)
    atexit.register(flush)


def restore() -> None:
    """Gives this process the terminal: the rank that had it is gone."""
    if _terminal is None:
        return
    flush()
    os.dup2(_real_output[0], 1)
    os.dup2(_terminal.fileno(), 2)


def has_file() -> bool:
    """Whether what this process prints goes to a file of its own."""
    return not os.path.sameopenfile(2, terminal().fileno())


def terminal() -> TextIO:
    """Returns a stream to the real standard error, also after `redirect`."""
    return _terminal or sys.__stderr__ or sys.stderr


@contextlib.contextmanager
def quiet(*, verbose: bool = False) -> Iterator[None]:
    """Drops TensorFlow's start-up chatter from standard error while it is imported.

    What is not chatter is passed on at the end, whatever happened.

    Args:
        verbose: Whether everything is shown, and nothing is dropped.
    """
    if verbose:
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            kept = [line for line in file if not _CHATTER.match(line)]
            with contextlib.suppress(OSError):  # the log's disk is full
                os.write(2, b"".join(kept))


def announce(size: int, directory: Path, who: str = "") -> str:
    """Says in one line where the output of the ranks but 0 goes.

    Args:
        size: Number of ranks of the job.
        directory: The folder of their files.
        who: What to call them, where not by their numbers.
    """
    ranks = who or ("rank 1" if size == 2 else f"ranks 1-{size - 1}")
    file = log_file(directory, 1) if size == 2 else directory / "rank-N.log"
    return f"output of {ranks} goes to {_shown(file)}"


_said: set[str] = set()
_program = ["hfdt"]


def speak_as(program: str) -> None:
    """Sets the name that lines begin with: that of the framework in use."""
    _program[0] = program


def write(text: str, stream: TextIO) -> None:
    """Writes a text at once; where nobody reads it any more, the job still goes on."""
    with contextlib.suppress(OSError, ValueError):
        stream.write(text)
        stream.flush()


def shout(text: str) -> None:
    """Prints a line of any rank where the user sees it."""
    write(f"{_program[0]}: {text}\n", terminal())


def say(process: Process, text: str) -> None:
    """Prints a line, once in a job.

    Args:
        process: This process; only rank 0 of several prints.
        text: The line, without the program's name and the newline.
    """
    if process.rank == 0 and process.size > 1 and text not in _said:
        _said.add(text)
        print(f"{_program[0]}: {text}", file=sys.stderr, flush=True)
