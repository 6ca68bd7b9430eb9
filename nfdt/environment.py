"""The transfer of options to the ranks: from command line to environment."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

from nfdt.options import Options


def chosen(choices: Mapping[str, str | bool | None]) -> dict[str, str]:
    """Turns options of the command line into variables for the ranks.

    Args:
        choices: Name and value of each option; None or False where it was not given.
    """
    values = {
        name: "1" if value is True else str(value)
        for name, value in choices.items()
        if value is not None and value is not False
    }
    if "checkpoint_every" in values:
        values["checkpoint_every"] = values["checkpoint_every"].removesuffix("s")
    for name in ("trace", "checkpoint", "resume"):
        if name in values:
            values[name] = os.path.abspath(values[name])
    return {f"NFDT_{name.upper()}": value for name, value in values.items()}


def read_options(environ: Mapping[str, str]) -> Options:
    """Returns what the command line has chosen.

    Args:
        environ: The environment that the ranks get.

    Raises:
        ValueError: An option is out of range; its name is that of the command line.
    """
    try:
        return Options.from_environ(environ)
    except ValueError as error:
        # The user has written an option, not the variable that carries it.
        text = str(error)
        for field in reversed(dataclasses.fields(Options)):  # the longer name first
            option = f"--{field.name.replace('_', '-')}"
            text = text.replace(f"NFDT_{field.name.upper()}", option)
        raise ValueError(text) from None
