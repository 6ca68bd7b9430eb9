"""The options of commands: of where and how to start, and those of a framework."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import click

from fdtcore import options as declared
from fdtcore.launcher.engines.choice import NAMES, SLOTS_TIMEOUT_S
from fdtcore.launcher.machines import MachineRequest
from fdtcore.launcher.request import RESTARTS, START_TIMEOUT_S, Request
from fdtcore.options import FrameworkOptions
from fdtcore.text_values import write_number, write_s


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


def run_options(
    program: str,
    launchers: Sequence[str],
    ranks: str = "processes",
    *,
    resizes: bool = True,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds the options of `Request` to a command, whose first argument it becomes.

    Args:
        program: Name of the framework's command.
        launchers: What can start its processes.
        ranks: What ``-np`` counts, for the help text.
        resizes: Whether a job that is started again may have another number of them.
    """

    def add(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            names = [field.name for field in dataclasses.fields(Request)]
            own = {name: given.pop(name) for name in names if name in given}
            command(Request(**own), **given)

        # Help shows the last one first.
        for parameter in reversed(_parameters(program, launchers, ranks, resizes)):
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


_RESTARTS_OF_RESIZED = (
    "Start again on what is left when processes or machines are lost; end after N "
    f"failures in a row without a new snapshot.  [default: {RESTARTS} with any of the "
    "next three, else 0]"
)
_RESTARTS = (
    "Start again from the newest checkpoint when processes or machines are lost that "
    "the job cannot go on without; end after N failures in a row without a new one.  "
    "[default: 0]"
)


def _resizing(ranks: str) -> tuple[Callable[..., Any], ...]:
    return (
        click.option(
            "--min-np",
            "min_size",
            metavar="N",
            type=int,
            help=f"Number of {ranks} to go on with at least.  [default: -np]",
        ),
        click.option(
            "--max-np",
            "max_size",
            metavar="N",
            type=int,
            help=f"Number of {ranks} to grow to at most.  [default: -np]",
        ),
        click.option(
            "--hosts-from",
            metavar="PROGRAM",
            help="Prints the machines, as lines like `node1 slots=4`; asked again and "
            "again.".replace("`", "'"),
        ),
        click.option(
            "--warm-spares",
            is_flag=True,
            help="Keep as many processes ready on this machine, which have loaded "
            "TensorFlow: a restart takes less time, and they take memory.",
        ),
    )


def _parameters(
    program: str, launchers: Sequence[str], ranks: str, resizes: bool
) -> tuple[Callable[..., Any], ...]:
    resizing = _resizing(ranks) if resizes else ()
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
            "--on",
            metavar="ENGINE[=WHERE]",
            help=f"Run on a cluster of another system: {', '.join(NAMES)}; WHERE is "
            "the address of its scheduler, head or master, or options of sbatch.",
        ),
        click.option(
            "--slots-timeout",
            metavar="TIME",
            help="How long to wait there until all processes can start.  [default: "
            f"{write_s(SLOTS_TIMEOUT_S)}]",
        ),
        click.option(
            "--restarts",
            metavar="N",
            type=int,
            help=_RESTARTS_OF_RESIZED if resizes else _RESTARTS,
        ),
        *resizing[:-1],
        click.option(
            "--start-timeout",
            metavar="TIME",
            help="How long to wait for machines, when there are too few.  [default: "
            f"{write_s(START_TIMEOUT_S)}]",
        ),
        *resizing[-1:],
        click.option(
            "--dry-run", is_flag=True, help="Show what would be started, and no more."
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
