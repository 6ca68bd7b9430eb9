"""What ranks tell each other beside gradients: values, texts, sums, arrivals."""

from __future__ import annotations

import contextlib
import hashlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from fdtcore.glue import calls, metrics, state
from fdtcore.process import Process


class Collectives(Protocol):
    """Operations among the ranks; a name marks one, the same on every rank."""

    def sum(self, tensors: Sequence[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Sums each tensor over the ranks."""

    def broadcast_bytes(self, data: bytes, name: str) -> bytes:
        """Returns rank 0's bytes."""

    def allgather_bytes(self, data: bytes, name: str) -> list[bytes]:
        """Returns every rank's bytes, by rank."""


class Line(Protocol):
    """Where a rank notes which joint call it is in, for messages."""

    def enter(self, label: str) -> None:
        """Notes the beginning of a joint call."""

    def leave(self) -> None:
        """Notes its end."""


class Exchange:
    """The part of an engine that needs no optimizer.

    Args:
        process: This process.
        collectives: Operations among the ranks.
        line: Tells the other ranks what this one does.
        name: The framework's, which begins the names of its operations.
    """

    def __init__(
        self, process: Process, collectives: Collectives, line: Line, name: str
    ):
        self.process = process
        self.collectives = collectives
        self.line = line
        self.name = name
        self.tells = True  # whether joint calls are told to the other ranks
        self._is_joining = False
        self._calls: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def agree(self, text: str, what: str) -> None:
        """Raises ValueError where ``text``, which describes ``what``, differs."""
        digest = hashlib.sha256(text.encode()).digest()
        with calls.joined(self, f"comparison of {what}"):
            digests = self.collectives.allgather_bytes(digest, f"{self.name}.agree")
            if len(set(digests)) == 1:
                return
            texts = self.collectives.allgather_bytes(
                text.encode(), f"{self.name}.texts"
            )
        raise ValueError(_difference([t.decode() for t in texts], what))

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Gives every variable rank 0's value."""
        if self.process.size == 1 or not variables:
            return
        arrays = [np.asarray(v.numpy()) for v in variables]
        own = b"".join(a.tobytes() for a in arrays)
        with calls.joined(self, "broadcast of variables"):
            data = self.collectives.broadcast_bytes(own, f"{self.name}.variables")
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
            return self.collectives.broadcast_bytes(data, f"{self.name}.bytes")

    def allgather_text(self, text: str) -> list[str]:
        """Returns every rank's text."""
        with calls.joined(self, "exchange of state"):
            texts = self.collectives.allgather_bytes(
                text.encode(), f"{self.name}.alltext"
            )
        return [t.decode() for t in texts]

    def allgather(self, arrays: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        """Returns every rank's arrays, whose shapes and types are the same."""
        own = b"".join(a.tobytes() for a in arrays)
        with calls.joined(self, "exchange of arrays"):
            brought = self.collectives.allgather_bytes(own, f"{self.name}.arrays")
        ends = np.cumsum([a.nbytes for a in arrays])
        return [
            [
                np.frombuffer(data[end - a.nbytes : end], a.dtype).reshape(a.shape)
                for a, end in zip(arrays, ends, strict=True)
            ]
            for data in brought
        ]

    def agree_on_values(self, trained: list[Any]) -> None:
        """Raises where values differ that an eager step has used: too late to mend."""
        own = state.digest(trained).encode()
        digests = self.collectives.allgather_bytes(own, f"{self.name}.digest")
        if len(set(digests)) == 1:
            return
        raise ValueError(
            "an eager loop must begin with the same weights on every rank. Received: "
            "a model that was not built when it was distributed, so each rank drew "
            "its own. Build it first (model.build(input_shape), or call it on a "
            f"batch), then call {self.name}.distribute."
        )

    def sum(self, tensors: Sequence[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Sums each tensor over the ranks."""
        wire = f"{self.name}.{name.replace(' ', '_')}.{self.call()}"
        with calls.joined(self, name):
            return self.collectives.sum(tensors, wire)

    def average(self, variables: Sequence[Any]) -> None:
        """Gives every variable the mean over the ranks."""
        if self.process.size == 1 or not variables:
            return
        sums = self.sum([tf.identity(v.value) for v in variables], "average")
        for variable, total in zip(variables, sums, strict=True):
            variable.assign(total / self.process.size)

    def settle(self, model: Any) -> None:
        """Brings what drifts apart together, before a model is saved."""
        self.average(metrics.moving_statistics(model))

    def on_batch(
        self, model: Any, name: str, arguments: Any, run: Callable[[], Any]
    ) -> Any:
        """Runs a call on one batch as it is."""
        del model, name, arguments
        return run()

    def barrier(self) -> None:
        """Returns when every rank has arrived."""
        self.sum([tf.constant(0)], "barrier")

    @contextlib.contextmanager
    def joining(self, label: str) -> Iterator[None]:
        """Surrounds a call that the others have to join; inner ones are part of it."""
        if self._is_joining or not self.tells:
            yield
            return
        self._is_joining = True
        self.line.enter(label)
        try:
            yield
        finally:
            self._is_joining = False
            self.line.leave()

    def call(self) -> int:
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
