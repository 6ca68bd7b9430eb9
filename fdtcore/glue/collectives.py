"""Collectives over the values of Keras, made of those over bytes and tensors."""

from __future__ import annotations

import contextlib
import hashlib
import weakref
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from fdtcore.engine import Array
from fdtcore.glue import calls
from fdtcore.keras_types import Variable
from fdtcore.process import Process


class Communicator(Protocol):
    """Operations among some ranks; a name marks one, the same on every rank.

    Bytes are ``even`` where all ranks know that they have equally many: then their
    number need not be exchanged first.
    """

    def sum(self, tensors: Sequence[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Sums each tensor over the ranks."""

    def broadcast_bytes(self, data: bytes, name: str, *, even: bool = False) -> bytes:
        """Returns rank 0's bytes."""

    def allgather_bytes(
        self, data: bytes, name: str, *, even: bool = False
    ) -> list[bytes]:
        """Returns every rank's bytes, by rank."""


class Line(Protocol):
    """Where a rank notes which joint call it is in, for messages."""

    def enter(self, label: str) -> None:
        """Notes the beginning of a joint call."""

    def leave(self) -> None:
        """Notes its end."""


class CommunicatorCollectives:
    """Collectives by the operations of a communicator; see ``fdtcore.engine``.

    Args:
        process: This process: its rank, the number of ranks, its host.
        communicator: Operations among the ranks.
        name: The framework's, which begins the names of its operations.
        line: Tells the other ranks what this one does; None where they need not know.
    """

    def __init__(
        self,
        process: Process,
        communicator: Communicator,
        name: str,
        line: Line | None = None,
    ):
        self.process = process
        self._communicator = communicator
        self._line = line
        self._name = name
        self._is_joining = False
        self._calls: weakref.WeakKeyDictionary[tf.Graph, int] = (
            weakref.WeakKeyDictionary()
        )

    def agree(self, text: str, what: str) -> None:
        """Raises ValueError where ``text``, which describes ``what``, differs."""
        digest = hashlib.sha256(text.encode()).digest()
        with calls.joined(self, f"comparison of {what}"):
            name = f"{self._name}.agree"
            digests = self._communicator.allgather_bytes(digest, name, even=True)
            if len(set(digests)) == 1:
                return
            texts = self._communicator.allgather_bytes(
                text.encode(), f"{self._name}.texts"
            )
        raise ValueError(_difference([t.decode() for t in texts], what))

    def broadcast(self, variables: Sequence[Variable]) -> None:
        """Gives every variable rank 0's value."""
        if self.process.size == 1 or not variables:
            return
        arrays = [np.asarray(v.numpy()) for v in variables]
        own = b"".join(a.tobytes() for a in arrays)
        with calls.joined(self, "broadcast of variables"):
            name = f"{self._name}.variables"
            data = self._communicator.broadcast_bytes(own, name, even=True)
        start = 0
        for variable, array in zip(variables, arrays, strict=True):
            stop = start + array.nbytes
            if data[start:stop] != array.tobytes():
                value = np.frombuffer(data[start:stop], array.dtype)
                variable.assign(value.reshape(array.shape))
            start = stop

    def broadcast_text(self, text: str) -> str:
        """Returns rank 0's text."""
        return self.broadcast_bytes(text.encode()).decode()

    def broadcast_bytes(self, data: bytes) -> bytes:
        """Returns rank 0's bytes."""
        with calls.joined(self, "broadcast of rank 0's state"):
            return self._communicator.broadcast_bytes(data, f"{self._name}.bytes")

    def allgather_bytes(self, data: bytes) -> list[bytes]:
        """Returns every rank's bytes."""
        with calls.joined(self, "exchange of state"):
            return self._communicator.allgather_bytes(data, f"{self._name}.allbytes")

    def allgather_text(self, text: str) -> list[str]:
        """Returns every rank's text."""
        with calls.joined(self, "exchange of state"):
            texts = self._communicator.allgather_bytes(
                text.encode(), f"{self._name}.alltext"
            )
        return [t.decode() for t in texts]

    def allgather(self, arrays: Sequence[Array]) -> list[list[Array]]:
        """Returns every rank's arrays, whose shapes and types are the same."""
        own = b"".join(a.tobytes() for a in arrays)
        with calls.joined(self, "exchange of arrays"):
            name = f"{self._name}.arrays"
            brought = self._communicator.allgather_bytes(own, name, even=True)
        ends = np.cumsum([a.nbytes for a in arrays])
        return [
            [
                np.frombuffer(data[end - a.nbytes : end], a.dtype).reshape(a.shape)
                for a, end in zip(arrays, ends, strict=True)
            ]
            for data in brought
        ]

    def sum(self, tensors: Sequence[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Sums each tensor over the ranks."""
        wire = f"{self._name}.{name.replace(' ', '_')}.{self.call_number()}"
        with calls.joined(self, name):
            return self._communicator.sum(tensors, wire)

    def average(self, variables: Sequence[Variable]) -> None:
        """Gives every variable the mean over the ranks."""
        if self.process.size == 1 or not variables:
            return
        sums = self.sum([tf.identity(v.value) for v in variables], "average")
        for variable, total in zip(variables, sums, strict=True):
            variable.assign(total / self.process.size)

    def barrier(self) -> None:
        """Returns when every rank has arrived."""
        self.sum([tf.constant(0)], "barrier")

    @contextlib.contextmanager
    def joining(self, label: str) -> Iterator[None]:
        """Surrounds a call that the others have to join; inner ones are part of it."""
        line = self._line
        if self._is_joining or line is None:
            yield
            return
        self._is_joining = True
        line.enter(label)
        try:
            yield
        finally:
            self._is_joining = False
            line.leave()

    def call_number(self) -> int:
        """Numbers the operations of one graph, so that their names differ."""
        if tf.executing_eagerly():
            return 0
        graph = tf.compat.v1.get_default_graph()
        self._calls[graph] = self._calls.get(graph, -1) + 1
        return self._calls[graph]


def _difference(texts: list[str], what: str) -> str:
    first = texts[0].splitlines()
    other = next(r for r, text in enumerate(texts) if text != texts[0])
    lines = texts[other].splitlines()
    for i in range(max(len(first), len(lines))):
        mine = first[i] if i < len(first) else "nothing"
        theirs = lines[i] if i < len(lines) else "nothing"
        if mine != theirs:
            break
    return (
        f"{what} must be the same on every rank. Received: variable {i} is "
        f"{mine!r} on rank 0 and {theirs!r} on rank {other}. Build the model from the "
        "same code and the same arguments everywhere."
    )
