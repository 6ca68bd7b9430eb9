"""The options of commands: of where and how to start, and those of a framework."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from fdtcore import options as declared
from fdtcore import user_program
from fdtcore.launcher.machines import MachineRequest
from fdtcore.options import FrameworkOptions
from fdtcore.text_values import write_number, write_s


@dataclasses.dataclass(frozen=True)
class Request:
    """The options of ``run`` that no framework reads a meaning of its own into.

    Args:
        size: What ``-np`` says; None where it was not given.
        module: Whether `script` is the name of a module.
        hosts: Machines and their slots, as ``-H`` takes them; None without it.
        hostfile: Path of a file that names them; None without it.
        launcher: What starts the processes, or ``"auto"``.
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

    @property
    def path(self) -> str:
        """The program's file, as each machine must have it; empty for a module."""
        return "" if self.module else self.script

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


def program_options(
    *, required: bool = True
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds ``-m``, ``script`` and ``args`` to a command: a program of the user's.

    Args:
        required: Whether there must be one.
    """
    parameters = (
        click.option(
            "-m", "module", is_flag=True, help="SCRIPT is the name of a module."
        ),
        click.argument("script", required=required),
        click.argument("args", nargs=-1, type=click.UNPROCESSED),
    )

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for parameter in reversed(parameters):
            command = parameter(command)
        return command

    return add


def machine_options() -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds machines to a command, as ``place``: a `MachineRequest`."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            names = [field.name for field in dataclasses.fields(MachineRequest)]
            place = MachineRequest(**{name: given.pop(name) for name in names})
            command(place=place, **given)

        for parameter in reversed((*_MACHINES, _INTERFACE)):
            parameter(run)
        return run

    return add


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


def run_options(
    program: str, launchers: Sequence[str], ranks: str = "processes"
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds the options of `Request` to a command, whose first argument it becomes.

    Args:
        program: Name of the framework's command.
        launchers: What can start its processes.
        ranks: What ``-np`` counts, for the help text.
    """

    def add(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            names = [field.name for field in dataclasses.fields(Request)]
            command(Request(**{name: given.pop(name) for name in names}), **given)

        # Help shows the last one first.
        for parameter in reversed(_parameters(program, launchers, ranks)):
            parameter(run)
        return run

    return add


def option_flags(
    cls: type[FrameworkOptions], without: Collection[str] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds a framework's options to a command, under the names of their fields.

    What is given is text, or True for a switch; ``cls.to_variables`` reads it.

    Args:
        cls: The framework's class of options, whose fields they are.
        without: Fields that the command does not have.
    """
    fields = [f for f in dataclasses.fields(cls) if f.name not in without]
    known = declared.options_of(cls)

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for field in reversed(fields):  # help shows the last one first
            option = known[field.name]
            if not option.has_flag:
                continue
            text = option.help.replace("`", "")
            if option.flag_value:
                text = text.removeprefix(f"{option.flag_value}: ")
                text = text[0].upper() + text[1:]
            elif field.default:
                text += f"  [default: {_shown(field.default, option.unit)}]"
            command = click.option(
                option.flag(field.name),
                field.name,
                help=text,
                # False would make click take a value that begins with - for an option.
                is_flag=option.is_bare or None,
                metavar=None if option.is_bare else option.metavar or None,
            )(command)
        return command

    return add


def _shown(default: object, unit: str) -> str:
    if isinstance(default, float):
        return write_s(default) if unit == "seconds" else write_number(default)
    return str(default)


_MACHINES = (
    click.option(
        "-H", "--hosts", metavar="HOST:N,...", help="Machines and their slots."
    ),
    click.option("--hostfile", metavar="FILE", help="Lines like: node1 slots=4"),
)


_INTERFACE = click.option(
    "--interface",
    metavar="NAME|NETWORK",
    default="",
    help="Network between the machines, if not the one that is found.",
)


def _parameters(
    program: str, launchers: Sequence[str], ranks: str
) -> tuple[Callable[..., Any], ...]:
    return (
        click.option("-np", "--np", "-n", "size", type=int, help=f"Number of {ranks}."),
        *_MACHINES,
        click.option(
            "--launcher",
            default="auto",
            show_default=True,
            type=click.Choice(["auto", *launchers]),
            help="What starts the processes.",
        ),
        click.option(
            "-x",
            "forward",
            metavar="NAME",
            multiple=True,
            help="A variable that processes on other machines get as well.",
        ),
        click.option(
            "--output",
            "directory",
            metavar="DIR",
            type=click.Path(path_type=Path),
            help="Folder for the output of ranks 1, 2, ... "
            f"[default: {program}-logs/DATE-TIME-PID]",
        ),
        click.option(
            "--verbose", is_flag=True, help="Show TensorFlow's and MPI's messages."
        ),
        click.option(
            "--debug",
            is_flag=True,
            help=f"Keep {program.upper()}'s own frames in tracebacks.",
        ),
        program_options(),
    )
