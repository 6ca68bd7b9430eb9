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
    ("--servers", "N", "Processes that hold the parameters, beside the workers."),
    ("--wire", "TYPE", "Type of gradients on the way, such as bfloat16."),
    ("--local-steps", "N", "Steps that a worker makes by itself between two pushes."),
    ("--on-worker-loss", "continue|abort", "When a worker dies."),
    ("--stall-timeout", "SECONDS", "Time for the end of the last workers."),
    ("--refuse-at-most", "N", "NaN gradients in a row that end the job."),
    ("--trace", "DIR", "Write what happens, for nfdt report DIR."),
    ("--checkpoint", "DIR", "Write checkpoints of the server."),
    ("--checkpoint-every", "SECONDS", "Time between two of them; 30s or 30."),
    ("--resume", "DIR", "Go on from the newest checkpoint."),
)
_FLAGS = (("--overlap", "Compute while the gradient is on its way."),)


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
