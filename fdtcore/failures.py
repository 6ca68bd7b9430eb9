"""The record of one failure: what, where, on which rank; equal on every rank."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import tempfile
from collections.abc import Collection, Mapping
from typing import Any

from fdtcore import tracebacks
from fdtcore.process import Process

RECORD_NAME = "failure.json"
EXCEPTION = "exception"  # the rank raised it
GONE = "gone"  # the rank's process vanished
CUT_OFF = "cut off"  # the rank's machine cannot be reached
STALL = "stall"  # the rank never joined a call that others wait in
ENDED = "ended"  # the framework has ended the job, and says why

# Type of a failure by which a job has lost a process, whoever says so.
PROCESS_GONE = "ProcessGone"

_KINDS = (EXCEPTION, GONE, CUT_OFF, STALL, ENDED)
_LIMITS = {"message": 4_000, "traceback": 64_000}  # characters
_OTHER_LIMIT = 500
_HEADLINE_LIMIT = 400
_COLOURS = re.compile(r"\x1b\[\d*m")
_CALLED = re.compile(r"Exception encountered when calling (.+?)\.?")
_GRAPH = "Graph execution error:"
# Not the error, but where the graph was made.
_ABOUT_NODES = ("Detected at node", "<stack", " ", "\t", "Original stack", "...")
# What TensorFlow writes around a sentence.
_NODES = re.compile(r"^\s*\{\{[^}]*\}\} ?|\s*\[Op:[^\]]*\].*$|\s*\[\[.*$")
_ROOT_ERROR = re.compile(r"^\s*\(\d+\) +[A-Z_]+: +(.+)$", re.MULTILINE)
_ERROR_LINE = re.compile(r"^\s*(\w+(?:Error|Exception): .+)$", re.MULTILINE)


class JobError(RuntimeError):
    """The processes of a job cannot come together; one line says why."""


class RunError(JobError):
    """A function has failed on a rank, or its job could not start.

    Args:
        message: What happened, and the traceback that the rank had.
        rank: The rank at fault, under NFDT a worker; None where it is none's.
        host: Host of that rank, if it is known.
        exit_code: That of the job.
    """

    def __init__(
        self,
        message: str,
        *,
        rank: int | None = None,
        host: str = "",
        exit_code: int = 1,
    ) -> None:
        super().__init__(message)
        self.rank, self.host, self.exit_code = rank, host, exit_code


class RankCountError(JobError):
    """MPI finds another number of processes than the launcher has started."""


@dataclasses.dataclass(frozen=True)
class Failure:
    """The first thing that went wrong in a job.

    Args:
        rank: The rank at fault.
        size: Number of ranks of the job.
        host: Host of that rank.
        type: Name of the exception's class, ``"Stall"`` or ``"ProcessGone"``.
        message: The exception's text, or what was observed.
        where: The user's line as ``"train.py:33"``, or empty.
        source_line: The text of that line, or empty.
        traceback: The user's traceback, or the report of a stall.
        kind: ``"exception"``, ``"gone"``, ``"cut off"``, ``"stall"`` or ``"ended"``.
        who: What messages call that rank; empty for ``"rank 1/4"``.
    """

    rank: int
    size: int
    host: str
    type: str
    message: str
    where: str = ""
    source_line: str = ""
    traceback: str = ""
    kind: str = EXCEPTION
    who: str = ""

    @classmethod
    def from_exception(
        cls,
        process: Process,
        error: BaseException,
        *,
        hidden: Collection[str] = (),
        debug: bool = False,
    ) -> Failure:
        """Records an exception of this process.

        Args:
            process: This process: its rank, the number of ranks, its host.
            error: The exception, with its traceback.
            hidden: Names of top-level packages whose frames are left out.
            debug: Whether the project's own frames stay in the traceback.
        """
        where, source_line = tracebacks.find_user_line(error, hidden=hidden)
        text = tracebacks.format_traceback(error, hidden=hidden, debug=debug)
        return cls(
            rank=process.rank,
            size=process.size,
            host=_clip(process.host, _OTHER_LIMIT),
            type=_clip(type(error).__name__, _OTHER_LIMIT),
            message=_clip_middle(_message_of(error), _LIMITS["message"]),
            where=_clip(where, _OTHER_LIMIT),
            source_line=_clip(source_line, _OTHER_LIMIT),
            # The end of a traceback says most.
            traceback=text[-_LIMITS["traceback"] :],
        )

    @classmethod
    def ended(cls, rank: int, size: int, text: str, type: str = "JobEnded") -> Failure:
        """Records why the framework itself ends a job.

        Args:
            rank: Whose output says more.
            size: Number of processes of the job.
            text: Why, in a sentence for the user.
            type: Kind of the reason, one word; `PROCESS_GONE` where the same job may
                well end otherwise when it is started again.
        """
        text = _clip_middle(text, _LIMITS["message"])
        return cls(rank, size, "", type, text, kind=ENDED)

    def headline(self) -> str:
        """Says it in one line, e.g. ``rank 1/4 (a) failed: ValueError: bad (t.py:3)``.

        Returns:
            One line without a newline.
        """
        message = " ".join(telling_line(self.message).split())
        message = _clip(message, _HEADLINE_LIMIT)
        if self.kind != EXCEPTION:
            return message
        who = self.who or f"rank {self.rank}/{self.size}"
        text = f"{who} ({self.host}) failed: {self.type}"
        if message:
            text += f": {message}"
        if self.where:
            line = f": {self.source_line}" if self.source_line else ""
            text += f" ({self.where}{line})"
        return text

    def sentence(self) -> str:
        """Returns the line that a user reads of it, with a full stop.

        The one place where it is made: the launcher prints it, and a job of servers
        tells it to all workers.
        """
        line = self.headline()
        return line if line.endswith(("?", "!")) else line.rstrip(".") + "."

    def text(self) -> str:
        """Returns all that a user reads of it where no launcher shortens it."""
        return self.sentence() if self.kind == EXCEPTION else self.message

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a JSON object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: Any) -> Failure:
        """Reads what ``to_json`` wrote.

        Args:
            fields: A decoded JSON value, from a file or a peer.

        Raises:
            ValueError: The text is not exactly such a record, or too long.
        """
        if not isinstance(fields, Mapping):
            raise ValueError(f"A failure is a JSON object. Received: {type(fields)}.")
        expected = {field.name for field in dataclasses.fields(cls)}
        if set(fields) != expected:
            odd = sorted(expected ^ set(fields))
            raise ValueError(f"A failure has fixed fields. Received: {odd} amiss.")
        for name, value in fields.items():
            _check(name, value)
        if not 0 <= fields["rank"] < fields["size"]:
            raise ValueError(
                "rank must lie in 0..size-1. "
                f"Received: rank={fields['rank']}, size={fields['size']}."
            )
        return cls(**fields)


class PeerFailure(RuntimeError):
    """Raised on a rank that has to stop because another one failed.

    Args:
        failure: What happened on the other rank.
        process: This process: its rank, the number of ranks, its host.
    """

    def __init__(self, failure: Failure, process: Process) -> None:
        super().__init__(f"{process} stops: {failure.headline()}")
        self.failure = failure
        self.process = process


def telling_line(message: str) -> str:
    """Returns the line that says what is wrong: the first, or one below headings.

    Keras names the layer first that was called, TensorFlow the node of the graph and
    where it was made; the error itself stands below.
    """
    first, _, rest = _COLOURS.sub("", message).strip().partition("\n")
    if called := _CALLED.fullmatch(first):
        below = telling_line(rest.split("\nArguments received by")[0])
        return f"{called[1]}: {below}" if below else first
    first = _NODES.sub("", first)
    if not first.endswith(":"):
        return first
    if found := _ERROR_LINE.search(rest) or _ROOT_ERROR.search(rest):
        return _NODES.sub("", found[1])
    if first == _GRAPH:
        lines = [line for line in rest.splitlines() if line.strip()]
        told = [line for line in lines if not line.startswith(_ABOUT_NODES)]
        return _NODES.sub("", told[-1]) if told else first
    return first


def write_record(directory: str | os.PathLike[str], failure: Failure) -> bool:
    """Writes ``failure.json`` in one step, unless some rank already has.

    Args:
        directory: The job's directory.
        failure: Failure to record.

    Returns:
        Whether this record is the one that stays.
    """
    descriptor, draft = tempfile.mkstemp(prefix=f".{RECORD_NAME}.", dir=directory)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump(failure.to_json(), file, indent=1)
        # A link, unlike a rename, never replaces what is there.
        os.link(draft, pathlib.Path(directory, RECORD_NAME))
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
    return True


def try_record(directory: str | os.PathLike[str] | None, failure: Failure) -> bool:
    """Leaves a failure to whoever started the job, where that is possible.

    Args:
        directory: The job's directory; None where nobody looks there.
        failure: Failure to record.

    Returns:
        Whether a failure stands there now: this one, or an earlier one.
    """
    if directory is None:
        return False
    try:
        write_record(directory, failure)
    except OSError:  # a full disk must not keep a job from its end
        return False
    return True


def read_record(directory: str | os.PathLike[str]) -> Failure | None:
    """Reads the job's first failure.

    Args:
        directory: The job's directory.

    Returns:
        The failure, or None where nothing was recorded.

    Raises:
        ValueError: The file is not such a record.
    """
    try:
        text = pathlib.Path(directory, RECORD_NAME).read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    return Failure.from_json(json.loads(text))


def _message_of(error: BaseException) -> str:
    try:
        if isinstance(error, KeyError) and "\n" in str(error.args[0]):
            return str(error.args[0])  # it is a text, where a key would be quoted
        return str(error)
    except Exception as inner:  # a broken __str__ must not hide the failure
        return f"<str() of the exception raised {type(inner).__name__}>"


def _clip_middle(text: str, limit: int) -> str:
    """Keeps the beginning and the end: TensorFlow's error stands below its graph."""
    if len(text) <= limit:
        return text
    head = limit // 4
    return f"{text[:head]}\n...\n{text[head + 5 - limit :]}"


def _clip(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _check(name: str, value: Any) -> None:
    if name in ("rank", "size"):
        good = isinstance(value, int) and not isinstance(value, bool)
    elif name == "kind":
        good = value in _KINDS
    else:
        limit = _LIMITS.get(name, _OTHER_LIMIT)
        good = isinstance(value, str) and len(value) <= limit
    if not good:
        raise ValueError(f"A failure's {name} is malformed. Received: {value!r:.80}.")
