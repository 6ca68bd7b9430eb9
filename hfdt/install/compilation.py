"""A long compilation: its output in a log, one line of progress for the user."""

import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TextIO

from hfdt.install.stack import InstallError

Report = Callable[[str], object]

_ERROR = re.compile(
    r"error: |fatal error|undefined reference|CMake Error|No space left"
)
_PERCENT = re.compile(rb"^\s*\[\s*(\d+)%\]", re.MULTILINE)
_SHOWN_ERRORS = 6
_SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Shows elapsed time and percentage: in place on a terminal, else line by line."""

    def __init__(self, report: Report, terminal: TextIO | None) -> None:
        self.report = report
        self.terminal = terminal
        self.percent = 0
        self._reported_s = 0.0

    def show(self, elapsed_s: float) -> None:
        """Shows where the work is; called about once a second."""
        minutes, seconds = divmod(int(elapsed_s), 60)
        text = f"  {minutes}:{seconds:02d}  {self.percent:3d} %"
        if self.terminal:
            self.terminal.write(f"\r{text}")
            self.terminal.flush()
        elif elapsed_s - self._reported_s >= _SECONDS_BETWEEN_LINES:
            self._reported_s = elapsed_s
            self.report(text)

    def end(self) -> None:
        """Leaves the line, so that the next message starts a new one."""
        if self.terminal:
            self.terminal.write("\n")
            self.terminal.flush()


def run_logged(
    command: list[str],
    folder: Path,
    env: Mapping[str, str],
    *,
    log: Path,
    report: Report,
) -> None:
    """Runs a build command to its end, or ends all of it when interrupted.

    Args:
        command: Program and arguments, run without a shell.
        folder: Working directory of the command.
        env: Environment of the command.
        log: file that receives all output.
        report: receives lines of progress.

    Raises:
        InstallError: The command failed; the message has its last errors and the log's
            path.
    """
    progress = Progress(report, sys.stdout if sys.stdout.isatty() else None)
    with log.open("wb") as record:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert child.stdout is not None
        try:
            _follow(child.stdout, record, progress)
            code = child.wait()
        finally:
            progress.end()
            if child.poll() is None:
                # The compilers are grandchildren: the whole session ends.
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if code:
        raise InstallError(
            f"Compiling Horovod must succeed. Received: exit code {code} after\n"
            f"{last_errors(log)}\nThe whole log: {log}"
        )


def last_errors(log: Path) -> str:
    """Returns the last lines of a build log that name an error, else its last lines."""
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if _ERROR.search(line)]
    return "\n".join(f"  {line}" for line in (errors or lines)[-_SHOWN_ERRORS:])


def _follow(stream: IO[bytes], record: IO[bytes], progress: Progress) -> None:
    started_s = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        shown_s = 0.0
        while True:
            if selector.select(timeout=1.0):
                text = os.read(stream.fileno(), 65536)
                if not text:
                    return
                record.write(text)
                if found := _PERCENT.findall(text):
                    progress.percent = int(found[-1])
            elapsed_s = time.monotonic() - started_s
            if elapsed_s - shown_s >= 1.0:
                shown_s = elapsed_s
                progress.show(elapsed_s)
