"""The words of ``run`` as a user gave them, and the rules that they are held to."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fdtcore import user_program
from fdtcore.launcher.discovery import Discovery
from fdtcore.launcher.elastic import Limits
from fdtcore.launcher.engines.choice import SLOTS_TIMEOUT_S, Choice
from fdtcore.text_values import read_s

RESTARTS = 3
START_TIMEOUT_S = 600.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """The options of ``run`` that no framework reads a meaning of its own into.

    Args:
        size: What ``-np`` says; None where it was not given.
        module: Whether `script` is the name of a module.
        hosts: Machines and their slots, as ``-H`` takes them; None without it.
        hostfile: Path of a file that names them; None without it.
        launcher: What starts the processes, or ``"auto"``.
        on: The engine whose machines they run on; None for none.
        slots_timeout: How long to wait for slots there; None for the usual time.
        dry_run: Whether what would be started is shown, and not started.
        restarts: Failures in a row that are no end; None for the usual number.
        min_size: Number of processes below which the job waits; None for `size`.
        max_size: Number of processes that it never exceeds; None for `size`.
        hosts_from: Path of a program that names the machines; None without one.
        start_timeout: How long to wait for them; None for the usual time.
        warm_spares: Whether processes are kept ready for the next start.
        forward: Names of variables that processes on other machines get as well.
        directory: Folder for what all ranks but one print; None for a new one.
        verbose: Whether TensorFlow's and MPI's messages are shown.
        debug: Whether the framework's own frames stay in tracebacks.
        script: Path of the program, or its module's name.
        args: The program's own arguments.
    """

    size: int | None
    module: bool
    hosts: str | None
    hostfile: str | None
    launcher: str
    on: str | None
    slots_timeout: str | None
    dry_run: bool
    restarts: int | None
    min_size: int | None = None
    max_size: int | None = None
    hosts_from: str | None = None
    start_timeout: str | None
    warm_spares: bool = False
    forward: tuple[str, ...]
    directory: Path | None
    verbose: bool
    debug: bool
    script: str
    args: tuple[str, ...]

    def command(self, package: str) -> tuple[str, ...]:
        """Returns what each rank runs: the program, under ``python -m package``.

        Raises:
            ValueError: The program is not there, or is no Python.
        """
        program = checked_program(self.script, self.args, module=self.module)
        return (sys.executable, "-m", package, *program)

    def command_of_batch(self, package: str, logs: Path) -> tuple[str, ...]:
        """Returns what a batch job runs: this command, within its allocation.

        Args:
            package: Of the framework, whose options stand in the environment.
            logs: Folder of its output.

        Raises:
            ValueError: The program is not there, or is no Python.
        """
        switches = {"--verbose": self.verbose, "--debug": self.debug}
        return (
            *(sys.executable, "-m", f"{package}.cli", "run", "--output", str(logs)),
            *(word for name in self.forward for word in ("-x", name)),
            *(name for name, is_given in switches.items() if is_given),
            *checked_program(self.script, self.args, module=self.module),
        )

    @property
    def path(self) -> str:
        """The program's file, as each machine must have it; empty for a module."""
        return "" if self.module else self.script

    def engine(self) -> Choice | None:
        """Returns the engine that ``--on`` names; None without one.

        Raises:
            ValueError: No engine has that name, or something else chooses machines.
        """
        if self.on is None:
            return None
        given = {"-H": self.hosts, "--hostfile": self.hostfile}
        others = [name for name, value in given.items() if value is not None]
        if self.launcher != "auto":
            others.append("--launcher")
        if others:
            raise ValueError(
                "--on lets an engine choose machines and start the processes. "
                f"Received: --on {self.on} and {', '.join(others)}. Drop one of them."
            )
        return Choice.parse(self.on)

    @property
    def slots_timeout_s(self) -> float:
        """How long to wait for slots of an engine.

        Raises:
            ValueError: What is given is no time.
        """
        return _time_s("--slots-timeout", self.slots_timeout, SLOTS_TIMEOUT_S)

    @property
    def is_elastic(self) -> bool:
        """Whether the job is started again where it has lost processes."""
        return bool(self._elastic_words())

    def _elastic_words(self) -> list[str]:
        given = {
            "--restarts": self.restarts,
            "--min-np": self.min_size,
            "--max-np": self.max_size,
            "--hosts-from": self.hosts_from,
        }
        return [word for word, value in given.items() if value is not None]

    def limits(self, size: int) -> Limits:
        """Returns how far the job may change.

        Args:
            size: Number of processes that it begins with.

        Raises:
            ValueError: The numbers contradict each other, or something else restarts.
        """
        if self.on is not None:
            raise ValueError(
                "an engine that --on names starts processes in its own ways. Received: "
                f"--on {self.on} and {', '.join(self._elastic_words())}. "
                "Drop these: start the same command again with --resume auto."
            )
        if self.restarts is not None and self.restarts < 0:
            raise ValueError(
                f"--restarts must be an integer >= 0. Received: {self.restarts}. "
                f"Write {RESTARTS}, or 0 for none."
            )
        free = self.hosts_from is not None and self.size is None
        least = self.min_size or (1 if free else size)
        most = self.max_size or (sys.maxsize if free else size)
        if self.min_size == 0 or not least <= size <= most:
            raise ValueError(
                "--min-np, -np and --max-np must be in this order, and at least 1. "
                f"Received: {least if self.min_size != 0 else 0}, {size} and {most}. "
                "Lower --min-np, or raise --max-np."
            )
        restarts = RESTARTS if self.restarts is None else self.restarts
        return Limits(restarts, least, most, self.start_timeout_s)

    @property
    def start_timeout_s(self) -> float:
        """How long a job waits for machines.

        Raises:
            ValueError: What is given is no time.
        """
        return _time_s("--start-timeout", self.start_timeout, START_TIMEOUT_S)

    def discovery(self, say: Callable[[str], None]) -> Discovery | None:
        """Returns what names the machines, where a program does.

        Args:
            say: Writes a line for the user.

        Raises:
            ValueError: Machines are named twice.
        """
        if self.hosts_from is None:
            return None
        if self.hosts is not None or self.hostfile is not None:
            raise ValueError(
                "machines must be named once. Received: --hosts-from and -H or "
                "--hostfile. Drop one of them."
            )
        return Discovery(self.hosts_from, say)

    def variables(self, environ: Mapping[str, str]) -> tuple[str, ...]:
        """Returns the names that ``-x`` gives.

        Raises:
            ValueError: A variable is not set, or is written with a value.
        """
        for name in self.forward:
            if name not in environ:
                way_out = f"Try: export {name}" if "=" in name else "Set it first"
                raise ValueError(
                    "-x must name a variable that is set. "
                    f"Received: -x {name}. {way_out}; its value is taken from there."
                )
        return self.forward


def checked_program(
    script: str, args: Sequence[str], *, module: bool
) -> tuple[str, ...]:
    """Returns a program of the user's as ``python`` takes it.

    Args:
        script: Its path, or its module's name.
        args: Arguments of the program itself.
        module: Whether it is a module.

    Raises:
        ValueError: The program does not exist, or is not valid Python.
    """
    (user_program.check_module if module else user_program.check_script)(script)
    return (*(("-m",) if module else ()), script, *args)


def _time_s(name: str, text: str | None, usual_s: float) -> float:
    try:
        found_s = usual_s if text is None else read_s(text)
    except ValueError:
        found_s = 0
    if not found_s > 0:
        raise ValueError(
            f"{name} must be a time > 0. "
            f"Received: {text}. Write for example 30s, 5min or 1h."
        )
    return found_s
