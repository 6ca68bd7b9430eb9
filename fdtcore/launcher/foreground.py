"""One job in the foreground, for every framework's command."""

from __future__ import annotations

import dataclasses
import datetime
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from fdtcore import output, settings
from fdtcore.failures import RECORD_NAME, read_record
from fdtcore.launcher.explanation import explain, number, stopped_by
from fdtcore.launcher.launchers import (
    Direct,
    Job,
    Launcher,
    forwarded,
    oversubscription,
)
from fdtcore.launcher.supervisor import supervise


@dataclasses.dataclass(frozen=True)
class Foreground:
    """How a command runs its jobs.

    Args:
        program: Name of the command; its variables begin with it, as ``HFDT_``.
        say: Writes one line of the command's own.
        verbose: True shows everything the launcher and TensorFlow say.
        others: What to call the ranks but 0, where not by their numbers.
        name: From rank and number of ranks to what messages call one.
    """

    program: str
    say: Callable[[str], None]
    verbose: bool = False
    others: str = ""
    name: Callable[[int, int], str] = number

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
            return self._run(job, launcher, environ, directory)
        except KeyboardInterrupt:  # before signals were taken over for the job
            self.say(stopped_by(signal.SIGINT))
            return 128 + signal.SIGINT

    def _run(
        self,
        job: Job,
        launcher: Launcher,
        environ: dict[str, str],
        directory: Path | None,
    ) -> int:
        logs = self._prepare(job, launcher, environ, directory)
        job = dataclasses.replace(job, forward=forwarded(environ, self.prefix))
        argv = launcher.argv(job)
        try:
            outcome = supervise(
                argv,
                environ,
                filtered=launcher.adds_text and not self.verbose,
                failed=lambda: logs is not None and (logs / RECORD_NAME).exists(),
            )
        except OSError as error:
            raise ValueError(
                f"the launcher must be executable. Received: {argv[0]}: "
                f"{error.strerror}. Choose another: --launcher."
            ) from None
        failure = read_record(logs) if logs is not None else None
        if line := explain(
            outcome, failure, size=job.size, directory=logs, name=self.name
        ):
            self.say(line)
        return outcome.code

    def _prepare(
        self,
        job: Job,
        launcher: Launcher,
        environ: dict[str, str],
        directory: Path | None,
    ) -> Path | None:
        """Completes the environment, warns, and makes the folder of the job."""
        environ.pop(f"{self.prefix}JOB_DIR", None)  # another job's
        environ |= settings.root_permission(environ, os.getuid())
        if isinstance(launcher, Direct):
            return None
        if warning := oversubscription(job, settings.available_cores()):
            self.say(f"{warning} Expect no speed-up beyond that.")
        usual = output.job_directory(
            Path(f"{self.program}-logs"), datetime.datetime.now(), os.getpid()
        )
        logs = _make((directory or usual).absolute())
        environ[f"{self.prefix}JOB_DIR"] = str(logs)
        if not sys.stdout.isatty():
            environ[f"{self.prefix}PLAIN"] = "1"
        if job.size > 1:
            self.say(output.announce(job.size, logs, self.others))
        return logs


def _make(logs: Path) -> Path:
    try:
        logs.mkdir(parents=True, exist_ok=True)
        # A folder used before must not report an earlier job's failure.
        (logs / RECORD_NAME).unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(
            "the output folder must be writable. "
            f"Received: {logs}: {error.strerror}. Choose one: --output DIR."
        ) from None
    return logs
