"""YAML text that YAML 1.1 and 1.2 read alike, as Python and Kubernetes differ in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

# Everything else is quoted. Kubernetes takes 1e3, which PyYAML leaves plain, for a
# number, and refuses one where text is due.
_PLAIN = re.compile(r"(?:-{0,2}[A-Za-z]|/)[\w./+-]*(?::[\w./+-]+)*", re.ASCII)
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


class _Dumper(yaml.SafeDumper):
    """Writes lists indented, and quotes all text that is not plainly text."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        del indentless
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _represent(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    is_plain = _PLAIN.fullmatch(text) and text.lstrip("-").lower() not in _WORDS
    style = None if is_plain else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent)


def dump(documents: Sequence[Any], comment: str) -> str:
    """Returns documents as one text, with the keys in the order they have.

    Args:
        documents: Dictionaries of dictionaries, lists, texts, numbers and switches.
        comment: Lines for the top of the text.
    """
    head = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    parts = [
        yaml.dump(
            one,
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=float("inf"),
        )
        for one in documents
    ]
    return head + "---\n".join(["", *parts])
