"""The options of a framework as Markdown: the README's table, and a page on each.

``make options`` writes both.
"""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Sequence

from fdtcore.options import FrameworkOptions, options_of
from fdtcore.text_values import FALSE, TRUE

HEAD = "keyword | `{program} run` | default | meaning"
_WORDS = [", ".join(f"`{word}`" for word in words) for words in (TRUE, FALSE)]
_PAGE = f"""\
# Options

Each stands in `hfdt/options.py` or `nfdt/options.py`, once; `make options` writes this
page, and the tables of the README. An option can be given

* as a keyword of `distribute`, which wins over a variable. Under `nfdt run` and
  `python -m nfdt` the servers have their options when the script begins: there a
  keyword that differs is refused. HFDT reads `stall_timeout` when the job starts;
* as an option of `run`, which sets the variable for all processes;
* as a variable of the environment, under any launcher.

A time is a number of seconds; on a command line and in a variable also `20ms`, `30s`,
`5min` or `1h`. In a variable a switch is on by {_WORDS[0]}, and off
by {_WORDS[1]}. A variable that begins with `HFDT_` or `NFDT_` and is
not known is refused: by `run` before a process starts, under other launchers by the
processes."""


def table(cls: type[FrameworkOptions]) -> str:
    """Returns one row for each option: keyword, option of ``run``, default, meaning."""
    rows = [f"| {HEAD.format(program=cls.program)} |", "|---|---|---|---|"]
    for field in dataclasses.fields(cls):
        option = options_of(cls)[field.name]
        written = f"`{option.flag(field.name)}`" if option.has_flag else "none"
        default = repr(field.default).replace("'", '"')
        row = (f"`{field.name}`", written, f"`{default}`", option.meaning)
        rows.append(f"| {' | '.join(row)} |")
    return "\n".join(rows)


def replaced(text: str, cls: type[FrameworkOptions]) -> str:
    """Returns a text whose table of options is that of the code.

    Args:
        text: Markdown with such a table, which an empty line ends.
        cls: The framework's class of options, which the table lists.
    """
    head = re.escape(f"| {HEAD.format(program=cls.program)} |")
    found = re.compile(rf"^{head}\n(?:\|.*\n)*", re.MULTILINE)
    assert len(found.findall(text)) == 1, head
    return found.sub(lambda _: f"{table(cls)}\n", text)


def page(frameworks: Sequence[type[FrameworkOptions]]) -> str:
    """Returns a page with all that is declared of each option."""
    parts = [_PAGE]
    for cls in frameworks:
        parts.append(f"## {cls.program.upper()}")
        parts += [_section(cls, field) for field in dataclasses.fields(cls)]
    return "\n\n".join(parts) + "\n"


def _section(cls: type[FrameworkOptions], field: dataclasses.Field[object]) -> str:
    option = options_of(cls)[field.name]
    ways = [f"keyword `{field.name}`"]
    if option.has_flag:
        value = "" if option.is_bare else f" {option.metavar}"
        ways.append(f"`{cls.program} run {option.flag(field.name)}{value}`")
    if option.read is not None:
        ways.append(f"variable `{cls.variable(field.name)}`")
    default = repr(field.default).replace("'", '"')
    facts = f"{', '.join(ways)}; default `{default}`."
    if option.known:
        facts += f" One of {', '.join(f'`{word}`' for word in option.known)}."
    text = f"{option.meaning} {option.details}".strip()
    paragraphs = [facts[0].upper() + facts[1:], text]
    return "\n\n".join(
        [f"### `{field.name}`", *(textwrap.fill(p, 100) for p in paragraphs)]
    )
