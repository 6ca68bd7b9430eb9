"""A call of a function by a job, and its results, on their way between processes.

On this machine they are pickled, in files that this user alone can read. To other
machines the call goes by the function's name, and all values as JSON: to unpickle is to
run code, so nothing is unpickled that came over a network.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import linecache
import operator
import os
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from fdtcore.shadow_files.shadow import REAL

_CALL = "call.pickle"


class Surroundings(NamedTuple):
    """What a function finds where it is defined, beside what is pickled with it."""

    path: Sequence[str]  # where modules are looked for
    sources: Mapping[str, list[str]]  # lines of code that is in no file: cells

    @classmethod
    def here(cls) -> Surroundings:
        """Returns those of this process."""
        path = [os.path.abspath(entry) for entry in sys.path]
        entries: Mapping[str, Any] = linecache.cache
        texts = {name: e[2] for name, e in entries.items() if _is_cell(name, e)}
        return cls(path, texts)

    def enter(self) -> None:
        """Makes them those of this process."""
        sys.path[:0] = [entry for entry in self.path if entry not in sys.path]
        for name, lines in self.sources.items():
            size = sum(map(len, lines))
            linecache.cache.setdefault(name, (size, None, list(lines), name))


def _is_cell(name: str, entry: tuple[Any, ...]) -> bool:
    # One that is yet to be read has one part, and that of a file has a time.
    return len(entry) == 4 and entry[1] is None and not os.path.exists(name)


class PickledCalls:
    """A call and its results in a folder that this user alone can enter.

    Args:
        folder: The folder, on this machine.
    """

    def __init__(self, folder: str):
        self.folder = Path(folder)

    def write(self, function: Callable[..., Any], args: Sequence[Any]) -> None:
        """Keeps a call for the ranks; raises what pickling it raises."""
        import cloudpickle

        with _private(self.folder / _CALL) as file:
            pickle.dump(tuple(Surroundings.here()), file)
            cloudpickle.dump((function, tuple(args)), file)

    def read(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Returns the call, on a rank."""
        with REAL.open(self.folder / _CALL, "rb") as file:
            Surroundings(*pickle.load(file)).enter()  # before modules are imported
            return pickle.load(file)

    def keep(self, rank: int, result: Any) -> None:
        """Keeps the result of a rank.

        Raises:
            TypeError: The result cannot be pickled.
        """
        import cloudpickle

        path = self.folder / f".{rank}"
        try:
            with _private(path) as file:
                cloudpickle.dump(result, file)
        except OSError:
            raise
        except Exception as error:  # whatever a class does when it is pickled
            raise TypeError(
                f"the result must be picklable. Received on rank {rank}: "
                f"{type(result).__name__}: {one_line(error)}. Return numbers, arrays "
                "or texts made of it."
            ) from None
        REAL.replace(path, self._result(rank))

    def result(self, rank: int) -> Any:
        """Returns the result of a rank; its file is gone then.

        Raises:
            FileNotFoundError: The rank has kept none.
        """
        path = self._result(rank)
        with path.open("rb") as file:
            found = pickle.load(file)
        path.unlink()
        return found

    def _result(self, rank: int) -> Path:
        return self.folder / f"result-{rank}.pickle"


class PlainCalls:
    """A call of a function by its name, and its results, as JSON.

    Args:
        folder: The job's folder, on each machine.
        text: The call, as ``written`` makes it.
    """

    def __init__(self, folder: str | os.PathLike[str], text: str):
        self.folder = Path(folder)
        self._call: Mapping[str, Any] = json.loads(text)

    @staticmethod
    def written(job: str, function: Callable[..., Any], args: Sequence[Any]) -> str:
        """Returns a call as a text.

        Args:
            job: A name that no other job has.
            function: A function that its module's name leads to.
            args: Plain data.
        """
        call = {
            "job": job,
            "module": function.__module__,
            "name": function.__qualname__,
            "args": list(args),
            "path": Surroundings.here().path,
        }
        return json.dumps(call)

    def read(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Returns the call, on a rank."""
        Surroundings(self._call["path"], {}).enter()
        module = importlib.import_module(self._call["module"])
        function = operator.attrgetter(self._call["name"])(module)
        return function, tuple(self._call["args"])

    def keep(self, rank: int, result: Any) -> None:
        """Keeps the result of a rank.

        Raises:
            TypeError: The result is no plain data.
        """
        if not is_plain(result):
            raise TypeError(
                "the result must be plain data where other machines take part: None, "
                "numbers, texts, lists and dicts of them. Received on rank "
                f"{rank}: {type(result).__name__}. Return such data, or let rank 0 "
                "write a file."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f".result-{rank}"
        record = {"job": self._call["job"], "rank": rank, "result": result}
        with _private(path) as file:
            file.write(f"{json.dumps(record)}\n".encode())
        REAL.replace(path, self.folder / f"result-{rank}.json")

    def results(self, text: str) -> dict[int, Any]:
        """Returns the results that files of ranks hold, by rank.

        Args:
            text: The lines of these files; those of other jobs are passed over.
        """
        # A shell over there may greet whoever logs in.
        lines = [line for line in text.splitlines() if line.startswith('{"job": ')]
        records = map(json.loads, lines)
        own = [record for record in records if record["job"] == self._call["job"]]
        return {record["rank"]: record["result"] for record in own}


def is_plain(value: object) -> bool:
    """Whether JSON has a form for a value; a tuple arrives as a list."""
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(k, str) and is_plain(v) for k, v in value.items())
    return value is None or isinstance(value, bool | int | float | str)


def one_line(error: BaseException) -> str:
    """Returns what an exception says, without line ends and full stop."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _private(path: Path) -> IO[bytes]:
    """Opens a new file of this user's; under its name, also where ranks have views."""
    with contextlib.suppress(FileNotFoundError):
        REAL.unlink(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    return REAL.open(REAL.os_open(path, flags, 0o600), "wb")
