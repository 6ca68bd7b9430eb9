"""Short forms of the controllers: what ``--consistency`` takes.

A form is a name, and behind a colon its options with commas between them: an option is
``name=value``, the bare value of the first one, or a word that switches something on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from nfdt.protocol.controllers import (
    Asynchronous,
    Backup,
    BulkSynchronous,
    Controller,
    DynamicSynchronous,
    LocalSteps,
    Partial,
    StaleSynchronous,
)


class _Option(NamedTuple):
    """One option of a form."""

    field: str  # of the controller
    read: Callable[[str], Any]  # bool: a word that switches it on
    sample: str  # as a user writes it


class _Form(NamedTuple):
    """One name, and what may stand behind it."""

    controller: Callable[..., Controller]
    example: str  # as a user writes it, with some options
    about: str  # who waits
    bare: _Option | None = None  # whose value is written without its name; required
    named: Mapping[str, _Option] = {}


def _keep(text: str) -> bool:
    """Reads what becomes of late gradients."""
    return {"drop": False, "keep": True}[text]


_LATE = {"late": _Option("keeps_late", _keep, "late=keep")}
_FORMS: Mapping[str, _Form] = {
    "asp": _Form(Asynchronous, "asp", "nobody"),
    "bsp": _Form(BulkSynchronous, "bsp", "everybody"),
    "ssp": _Form(
        StaleSynchronous,
        "ssp:3",
        "who leads by more than 3 steps",
        _Option("max_lead", int, "3"),
    ),
    "dsp": _Form(
        DynamicSynchronous,
        "dsp:s=3,w=1",
        "everybody, at barriers that follow the workers' speeds",
        named={
            "s": _Option("stale", int, "s=3"),
            "w": _Option("weak", int, "w=1"),
            "s_min": _Option("stale_min", int, "s_min=1"),
            "s_max": _Option("stale_max", int, "s_max=10"),
            "fixed": _Option("fixed", bool, "fixed"),
        },
    ),
    "partial": _Form(
        Partial,
        "partial:0.8,late=keep",
        "a round, for 80 % of the workers",
        _Option("share", float, "0.8"),
        _LATE,
    ),
    "backup": _Form(
        Backup,
        "backup:2",
        "a round, for all workers but 2",
        _Option("spare", int, "2"),
        _LATE,
    ),
    "local": _Form(
        LocalSteps,
        "local:8",
        "everybody, after 8 local steps",
        _Option("steps", int, "8"),
    ),
}
EXAMPLES = tuple(form.example for form in _FORMS.values())
HELP = (
    f"Who waits: {', '.join(f'`{f.example}` ({f.about})' for f in _FORMS.values())}; "
    "more in `docs/consistency.md`."
)


def parse(consistency: str | Controller) -> Controller:
    """Returns the controller of a short form such as ``ssp:3``.

    Raises:
        ValueError: The form is unknown, or an option is out of its range.
    """
    if not isinstance(consistency, str):
        return consistency
    name, _, rest = consistency.partition(":")
    try:
        form = _FORMS[name]
        values = _values(form, [part for part in rest.split(",") if part])
    except (KeyError, ValueError):
        raise ValueError(
            f"consistency must be one of {', '.join(EXAMPLES)}. "
            f"Received: {consistency!r}. {_way_out(name)}"
        ) from None
    return form.controller(**values)


def _values(form: _Form, parts: list[str]) -> dict[str, Any]:
    """Returns the controller's arguments.

    Raises:
        KeyError: An option is not known.
        ValueError: A value is of another type, given twice, or missing.
    """
    values: dict[str, Any] = {}
    for index, part in enumerate(parts):
        name, equals, text = part.partition("=")
        if not equals and index == 0 and form.bare is not None:
            option, text = form.bare, part
        else:
            option = form.named[name]
            if bool(equals) is (option.read is bool):
                raise ValueError(part)
        if option.field in values:
            raise ValueError(part)
        values[option.field] = True if option.read is bool else option.read(text)
    if form.bare is not None and form.bare.field not in values:
        raise ValueError("its number is missing")
    return values


def _way_out(name: str) -> str:
    """Returns what may be written in place of a form that is none."""
    if name not in _FORMS:
        return "For at most three steps of lead write ssp:3."
    form = _FORMS[name]
    samples = ", ".join(option.sample for option in form.named.values())
    return f"Write {form.example}{f'; options: {samples}' if samples else ''}."
