"""One job in the foreground, for every framework's command."""

from __future__ import annotations

import dataclasses
import datetime
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fdtcore import interfaces, output, settings
from fdtcore.failures import (
    GONE,
    PROCESS_GONE,
    RECORD_NAME,
    Failure,
    read_record,
    try_record,
)
from fdtcore.launcher import network, preflight
from fdtcore.launcher.explanation import exit_code, explain, number, stopped_by
from fdtcore.launcher.hosts import addresses
from fdtcore.launcher.launchers import (
    Direct,
    Job,
    Launcher,
    forwarded,
    oversubscription,
)
from fdtcore.launcher.preflight import Requirements
from fdtcore.launcher.supervisor import Outcome, supervise


class Completed(NamedTuple):
    """A job that has come to its end, or was ended."""

    code: int  # to pass on
    outcome: Outcome
    failure: Failure | None  # what a rank has reported first
    line: str | None  # what a user reads of it


@dataclasses.dataclass(frozen=True)
class Foreground:
    """How a command runs its jobs.

    Args:
        program: Name of the command; its variables begin with it, as ``HFDT_``.
        say: Writes one line of the command's own.
        verbose: True shows everything the launcher and TensorFlow say.
        others: What to call the ranks but 0, where not by their numbers.
        name: From rank and number of ranks to what messages call one.
        distributions: Whose versions must be the same on all machines.
        last_file: File of the job that its last process writes; empty for none.
        again: How a job that was ended goes on from where it was.
        stops_itself: Whether the ranks keep a snapshot and end when they are asked to.
    """

    program: str
    say: Callable[[str], None]
    verbose: bool = False
    others: str = ""
    name: Callable[[int, int], str] = number
    distributions: tuple[str, ...] = ()
    last_file: str = ""
    again: str = ""
    stops_itself: bool = False

    @property
    def prefix(self) -> str:
        """The beginning of the names of the framework's variables."""
        return f"{self.program.upper()}_"

    def run(
        self,
        job: Job,
        launcher: Launcher,
        environ: dict[str, str],
        directory: Path | None,
    ) -> int:
        """Runs a job to its end.

        Args:
            job: What to run, on how many ranks and which hosts.
            launcher: Makes the command line that starts the ranks.
            environ: The environment the ranks get; completed here.
            directory: Folder for the files of the ranks but 0; None for the usual.

        Returns:
            The exit code to pass on.

        Raises:
            ValueError: The folder cannot be made, or the launcher cannot be started.
        """
        try:
            done = self.run_once(job, launcher, environ, directory)
        except KeyboardInterrupt:  # before signals were taken over for the job
            self.say(stopped_by(signal.SIGINT))
            return 128 + signal.SIGINT
        if done.line:
            self.say(done.line)
        return done.code

    def run_once(
        self,
        job: Job,
        launcher: Launcher,
        environ: dict[str, str],
        directory: Path | None,
        wanted: Callable[[], bool] = lambda: True,
        others: Callable[[], set[int]] = set,
    ) -> Completed:
        """Runs a job to its end, and leaves what is said of that to the caller.

        Args:
            job: What to run, on how many ranks and which hosts.
            launcher: Makes the command line that starts the ranks.
            environ: The environment the ranks get; completed here.
            directory: Folder for the files of the ranks but 0; None for the usual.
            wanted: See `supervise`.
            others: As well.

        Raises:
            ValueError: The folder cannot be made, or the launcher cannot be started.
        """
        logs = self._prepare(job, launcher, environ, directory)
        names = {*job.forward, *forwarded(environ, self.prefix)}
        job = dataclasses.replace(job, forward=tuple(sorted(names)))
        argv = launcher.argv(job)
        try:
            outcome = supervise(
                argv,
                environ,
                filtered=launcher.adds_text and not self.verbose,
                stops_itself=self.stops_itself,
                failed=lambda: _is_there(logs, RECORD_NAME),
                finished=lambda: _is_there(logs, self.last_file),
                wanted=wanted,
                others=others,
            )
        except OSError as error:
            raise ValueError(
                f"the launcher must be executable. Received: {argv[0]}: "
                f"{error.strerror}. Choose another: --launcher."
            ) from None
        failure = read_record(logs) if logs is not None else None
        line = explain(
            outcome,
            failure,
            size=job.size,
            directory=logs,
            name=self.name,
            again=self.again,
        )
        if line and failure is None and logs is not None and outcome.ended is not None:
            rank, host, *_ = outcome.ended
            gone = Failure(rank, job.size, host, PROCESS_GONE, line, kind=GONE)
            try_record(logs, gone)  # for programs, which read no lines
        return Completed(exit_code(outcome, failure), outcome, failure, line)

    def folder(self, directory: Path | None) -> Path:
        """Returns the folder of a job's files.

        Args:
            directory: The one that the user has named; None for the usual.
        """
        return folder_of(self.program, directory)

    def requirements(self, script: str, logs: Path) -> Requirements:
        """Returns what a machine must have to take part in a job.

        Args:
            script: Path of the program; empty for none.
            logs: The folder of the job's files.
        """
        folder = os.getcwd()
        path = os.path.join(folder, script) if script else ""
        return Requirements(self.program, self.distributions, folder, path, str(logs))

    def _prepare(
        self,
        job: Job,
        launcher: Launcher,
        environ: dict[str, str],
        directory: Path | None,
    ) -> Path | None:
        """Completes the environment, warns, and makes the folder of the job."""
        for name in ("JOB_DIR", "LAUNCHER"):  # of another job
            environ.pop(f"{self.prefix}{name}", None)
        environ |= settings.root_permission(environ, os.getuid())
        if isinstance(launcher, Direct):
            return None
        warning = oversubscription(job, settings.available_cores())
        if warning and not launcher.chooses_hosts:
            self.say(f"{warning} Expect no speed-up beyond that.")
        logs = self.folder(directory)
        if not job.is_local:
            if launcher.logs_in and not job.allocated:
                self._look_at_machines(job, environ, logs)
            environ[f"{self.prefix}LAUNCHER"] = socket.gethostname()
            interface = environ.get(f"{self.prefix}INTERFACE", "")
            own = interfaces.interfaces()
            environ |= network.variables(interface, len(job.hosts), environ, own)
        _make(logs, self.last_file)
        environ[f"{self.prefix}JOB_DIR"] = str(logs)
        if not sys.stdout.isatty():
            environ[f"{self.prefix}PLAIN"] = "1"
        if job.size > 1:
            self.say(output.announce(job.size, logs, self.others))
        return logs

    def _look_at_machines(self, job: Job, environ: dict[str, str], logs: Path) -> None:
        """Looks at all machines before anything starts, and finds their network.

        Raises:
            ValueError: A machine cannot take part.
        """
        wanted = self.requirements(job.script, logs)
        machines = preflight.ask(job.hosts, wanted, environ)
        problems = preflight.problems(machines, wanted)
        for problem in problems[:-1]:
            self.say(problem)
        if problems:
            raise ValueError(problems[-1])
        for warning in preflight.warnings(machines, wanted):
            self.say(warning)
        name = f"{self.prefix}INTERFACE"
        found = environ.get(name) or network.common(machines, addresses(job.hosts))
        if found:
            environ[name] = found


def folder_of(program: str, directory: Path | None) -> Path:
    """Returns the folder of a job's files.

    Args:
        program: Name of the command.
        directory: The one that the user has named; None for the usual.
    """
    usual = output.job_directory(
        Path(f"{program}-logs"), datetime.datetime.now(), os.getpid()
    )
    return (directory or usual).absolute()


def _is_there(logs: Path | None, name: str) -> bool:
    return logs is not None and bool(name) and (logs / name).exists()


def _make(logs: Path, last_file: str) -> Path:
    try:
        logs.mkdir(parents=True, exist_ok=True)
        # A folder used before must not tell of an earlier job.
        for name in filter(None, (RECORD_NAME, last_file)):
            (logs / name).unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(
            "the output folder must be writable. "
            f"Received: {logs}: {error.strerror}. Choose one: --output DIR."
        ) from None
    return logs
