"""The rank program of a framework: ``python -m FRAMEWORK SCRIPT ARGS...``."""

from __future__ import annotations

import atexit
import dataclasses
import operator
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from fdtcore import output, settings, shutdown, tracebacks, user_program
from fdtcore.failures import JobError
from fdtcore.launcher import descendants
from fdtcore.options import is_set
from fdtcore.process import Process


@dataclasses.dataclass(frozen=True)
class RankProgram:
    """Runs an unchanged script as one process of a job.

    Works under the framework's own ``run`` and as well under plain ``mpirun``,
    ``srun`` and ``horovodrun``. Options come from variables such as ``HFDT_BATCH``.

    Args:
        name: The framework's; its variables begin with it.
        check: Refuses, by a ValueError or a JobError, an environment that no rank can
            start in.
        load: Imports what loads TensorFlow.
        run: Runs a script or module: ``run(target, args, module=...)``.
        leave: What a ``SystemExit`` of the script with an error does on this rank.
        who: Names the ranks whose output goes to files, for messages.
        sharing: Returns how many processes share the cores of a process's host.
    """

    name: str
    check: Callable[[Mapping[str, str]], Any]
    load: Callable[[], None]
    run: Callable[..., None]
    leave: Callable[[Process, SystemExit], None]
    who: Callable[[int, Path], str] = output.announce
    sharing: Callable[[Process], int] = operator.attrgetter("local_size")

    def main(self, argv: list[str]) -> int:
        """Runs the script or module that ``argv`` names.

        Args:
            argv: The arguments behind ``python -m FRAMEWORK``.

        Returns:
            The exit code.
        """
        output.open_standard()
        module = argv[:1] == ["-m"]
        words = argv[module:]
        if not words or words[0].startswith("-"):
            program = f"python -m {self.name}"
            print(
                f"usage: {program} SCRIPT ARGS...  or  {program} -m MODULE ARGS...",
                file=sys.stderr,
            )
            return 2
        process = Process.from_environ(os.environ)
        try:
            (user_program.check_module if module else user_program.check_script)(
                words[0]
            )
        except ValueError as error:
            return self.refuse(process, str(error))
        self.prepare(process)
        sys.excepthook = self.show_exception  # several ranks get one that tells others
        try:
            # Not below: there a refusal would be kept back until the others have ended.
            self.check(os.environ)
        except (ValueError, JobError) as error:
            return self.refuse(process, str(error))
        try:
            with output.quiet(verbose=self._is_set("VERBOSE")):
                self.load()
        except Exception as error:  # most likely the same on every rank
            self.show_exception(type(error), error, error.__traceback__)
            self._wait_for_others(process)
            return 1
        pid = os.getpid()
        try:
            self.run(words[0], words[1:], module=module)
        except BaseException as error:
            if os.getpid() != pid:
                _end_child(error)
            if isinstance(error, SystemExit) and error.code not in (None, 0):
                if process.size > 1:
                    self.leave(process, error)
            if isinstance(error, JobError) and sys.excepthook == self.show_exception:
                return self.refuse(process, str(error))
            if isinstance(error, Exception) and sys.excepthook == self.show_exception:
                # There is no control line yet: most likely the same on every rank.
                self.show_exception(type(error), error, error.__traceback__)
                self._wait_for_others(process)
                return 1
            raise
        if os.getpid() != pid:
            _end_child(SystemExit(0))
        return 0

    def refuse(self, process: Process, text: str) -> int:
        """Says once what keeps every rank from starting; returns the exit code."""
        if process.rank == 0 or output.has_file():
            print(f"{self.name}: {text}", file=sys.stderr, flush=True)
        self._wait_for_others(process)
        return 2

    def prepare(self, process: Process) -> None:
        """Sets up the environment and the output of this rank, before TensorFlow loads.

        Args:
            process: This rank.
        """
        if process.size > 1:
            descendants.end_with_parent()
        verbose = self._is_set("VERBOSE")
        settings.apply(self.sharing(process), os.environ, verbose=verbose)
        if network := os.environ.get(self._variable("INTERFACE")):
            os.environ.setdefault("OMPI_MCA_btl_tcp_if_include", network)
        variable = self._variable("JOB_DIR")
        directory = os.environ.get(variable)
        if directory is None and process.size > 1:
            name = output.job_name(os.environ)
            if name is not None:
                directory = os.environ[variable] = os.path.abspath(
                    os.path.join(f"{self.name}-logs", name)
                )
                if process.rank == 0:
                    words = self.who(process.size, Path(directory))
                    print(f"{self.name}: {words}", file=sys.stderr)
        output.redirect(
            process,
            None if directory is None else Path(directory),
            plain=self._is_set("PLAIN"),
            program=self.name,
        )

    def show_exception(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
    ) -> None:
        """Prints the user's traceback without our frames; a ``sys.excepthook``."""
        del kind, trace  # the error has both
        hidden = (self.name, "fdtcore")
        debug = self._is_set("DEBUG")
        text = tracebacks.format_traceback(error, hidden=hidden, debug=debug)
        sys.stderr.write(text)

    def _wait_for_others(self, process: Process) -> None:
        """Lets all ranks say why they end: mpirun ends all at the first that exits."""
        output.flush()
        if process.size > 1:
            directory = os.environ.get(self._variable("JOB_DIR"))
            ranks = range(process.size)
            shutdown.wait_for_others(directory, process.rank, ranks)

    def _variable(self, name: str) -> str:
        return f"{self.name.upper()}_{name}"

    def _is_set(self, name: str) -> bool:
        return is_set(os.environ, self._variable(name))


def _end_child(error: BaseException) -> NoReturn:
    """Ends a child that the script has forked, as Python would.

    But what the child has from TensorFlow is left as it is: it would wait there for
    threads that its parent alone has.
    """
    code: Any = 1
    if isinstance(error, SystemExit):
        code = 0 if error.code is None else error.code
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    elif isinstance(error, Exception | KeyboardInterrupt):
        sys.excepthook(type(error), error, error.__traceback__)
    atexit._run_exitfuncs()
    shutdown.leave(code & 0xFF)
