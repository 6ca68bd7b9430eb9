"""The fields of `Options` as options of commands; their checks stand there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

import click

from nfdt import consistency
from nfdt.options import Options

_CHOICES = (
    ("--algorithm", "NAME", "What is done to late gradients: see nfdt algorithms."),
    ("--consistency", "FORM", consistency.HELP),
    (
        "--servers",
        "N",
        "Processes that hold the parameters, in addition to the workers.",
    ),
    ("--wire", "TYPE", "Type of gradients during transfer, such as bfloat16."),
    ("--local-steps", "N", "Local steps of a worker between two pushes."),
    ("--on-worker-loss", "continue|abort", "When a worker dies."),
    ("--stall-timeout", "SECONDS", "Time that the remaining workers may take to end."),
    ("--refuse-at-most", "N", "Consecutive NaN gradients that end the job."),
    ("--trace", "DIR", "Record the run, for nfdt report DIR."),
    ("--checkpoint", "DIR", "Write checkpoints of the server."),
    ("--checkpoint-every", "SECONDS", "Time between two checkpoints; 30s or 30."),
    ("--resume", "DIR", "Continue from the newest checkpoint."),
)
_FLAGS = (("--overlap", "Compute while the gradient is being sent."),)


def option_fields(
    without: Collection[str] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds options to a command, by the names of the fields.

    Args:
        without: Options that the command does not have.
    """
    defaults = {f.name: f.default for f in dataclasses.fields(Options)}

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for name, text in _FLAGS:
            if name not in without:
                command = click.option(name, is_flag=True, help=text)(command)
        for name, metavar, text in reversed(_CHOICES):  # help shows the last one first
            if name not in without:
                default = defaults[name[2:].replace("-", "_")]
                shown = f"{text}  [default: {default}]" if default else text
                command = click.option(name, metavar=metavar, help=shown)(command)
        return command

    return add
