"""Options of a framework as dataclasses, read from variables and compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any


def read(
    cls: Any, environ: Mapping[str, str], prefix: str, without: Collection[str] = ()
) -> dict[str, Any]:
    """Reads what variables such as ``HFDT_BATCH`` say of a dataclass's fields.

    Args:
        cls: The dataclass; a field's default tells its type.
        environ: The process's environment, as a launcher has set it.
        prefix: The beginning of the variables' names.
        without: Fields that no variable sets.

    Raises:
        ValueError: A value is not of its field's type.
    """
    values = {}
    for field in dataclasses.fields(cls):
        name = f"{prefix}{field.name.upper()}"
        if name in environ and field.name not in without:
            values[field.name] = _value(name, environ[name], field.default)
    return values


def difference(one: Any, other: Any) -> str:
    """Names the fields in which two sets of options differ, with both values."""
    pairs = [
        f"{f.name}={getattr(one, f.name)!r} and {getattr(other, f.name)!r}"
        for f in dataclasses.fields(one)
        if getattr(one, f.name) != getattr(other, f.name)
    ]
    return ", ".join(pairs)


def _value(name: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        return text == "1"
    if isinstance(default, str):
        return text
    try:
        return type(default)(text)
    except ValueError:
        raise ValueError(
            f"{name} must be of type {type(default).__name__}. Received: {text!r}."
        ) from None
