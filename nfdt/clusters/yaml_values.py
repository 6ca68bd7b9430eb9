"""Values of a YAML file that know where they stand, for errors that say so."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple, TypeVar

import yaml

T = TypeVar("T")


class ClusterFileError(ValueError):
    """A file is not as it must be; the message says where."""


class Value(NamedTuple):
    """One value of a file.

    Args:
        node: It, as PyYAML composed it.
        source: What errors call the file.
        key: How it is reached, such as ``workers[0].step``; empty for the whole.
    """

    node: yaml.Node
    source: str
    key: str = ""

    def error(self, text: str) -> ClusterFileError:
        """Returns an error about this value: file, line and key, then the text."""
        where = f"{self.source}:{self.node.start_mark.line + 1}: "
        return ClusterFileError(where + (f"{self.key}: " if self.key else "") + text)

    @contextlib.contextmanager
    def placed(self) -> Iterator[None]:
        """Says of what is refused inside that it stands here, if nobody has said where.

        Raises:
            ClusterFileError: The block raised ValueError; its text gets file, line and
                key.
        """
        try:
            yield
        except ClusterFileError:
            raise
        except ValueError as error:
            raise self.error(str(error)) from error

    def fields(self, known: Collection[str], *required: str) -> dict[str, Value]:
        """Returns the values of a mapping, by key.

        Args:
            known: The keys that there are.
            *required: Those that must be there.

        Raises:
            ClusterFileError: The value is not a mapping, or has other keys.
        """
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(
                f"this must have keys: {', '.join(known)}. Received: "
                f"{self._shown()}. Write {{{(*required, *known)[0]}: ...}}."
            )
        found: dict[str, Value] = {}
        for node, content in self.node.value:
            name = str(node.value)
            child = Value(node, self.source, f"{self.key}.{name}".lstrip("."))
            if name not in known:
                raise child.error(_unknown(name, known))
            if name in found:
                raise child.error(f"a key must appear once. Received: {name} again.")
            found[name] = child._replace(node=content)
        for name in required:
            if name not in found:
                raise self.error(
                    f"{name} must be given. Received: {', '.join(found) or 'nothing'}."
                    f" Add a line with {name}."
                )
        return found

    def kind(self, kinds: Mapping[str, Collection[str]]) -> str:
        """Returns which of several kinds a mapping is of.

        Args:
            kinds: The key that makes it one -> all keys of that kind.

        Raises:
            ClusterFileError: The value has none of the keys, or several.
        """
        known = dict.fromkeys(key for keys in kinds.values() for key in keys)
        found = self.fields(known)
        chosen = [kind for kind in kinds if kind in found]
        if len(chosen) != 1:
            raise self.error(
                f"this must have one of the keys {', '.join(kinds)}. Received: "
                f"{', '.join(found) or 'none'}. Write one of them."
            )
        return chosen[0]

    def items(self) -> list[Value]:
        """Returns the values of a list.

        Raises:
            ClusterFileError: The value is not a list.
        """
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error(
                f"this must be a list. Received: {self._shown()}. Begin each of its "
                "lines with a dash."
            )
        nodes = enumerate(self.node.value)
        return [Value(node, self.source, f"{self.key}[{i}]") for i, node in nodes]

    @property
    def is_scalar(self) -> bool:
        """Whether it is one word or number."""
        return isinstance(self.node, yaml.ScalarNode)

    def read(self, read: Callable[[str], T]) -> T:
        """Returns what a word or number means.

        Args:
            read: From its text to that, or to a ValueError.

        Raises:
            ClusterFileError: The value is a list or a mapping, or ``read`` refuses it.
        """
        if not self.is_scalar:
            raise self.error(
                f"this must be one value. Received: {self._shown()}. Write it after "
                "the key."
            )
        with self.placed():
            return read(str(self.node.value))

    def _shown(self) -> str:
        if self.is_scalar:
            return str(self.node.value) or "nothing"
        return "keys" if isinstance(self.node, yaml.MappingNode) else "a list"


def compose(text: str, source: str) -> Value:
    """Returns what a YAML file holds; no object is ever made of it.

    Args:
        text: Text of the file.
        source: What errors call the file.

    Raises:
        ClusterFileError: The text is not YAML, or is empty.
    """
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ClusterFileError(
            f"{source}:{line}: this must be YAML. Received: {error.problem}. Look at "
            "quotes, brackets and indentation there."
        ) from error
    except yaml.YAMLError as error:
        raise ClusterFileError(
            f"{source}: this must be YAML. Received: {error}. Save it as UTF-8 text."
        ) from error
    if node is None:
        raise ClusterFileError(
            f"{source}:1: the file must have keys. Received: nothing. Begin with "
            "workers: and a list below."
        )
    return Value(node, source)


def _unknown(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    way_out = f"Did you mean {near[0]}?" if near else "Use one of these."
    return f"a key here must be one of {', '.join(known)}. Received: {name}. {way_out}"
