"""The description of a group of variables, with which a worker opens it on servers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fdtcore.compression import specification
from fdtcore.compression.factory import Reader
from fdtcore.compression.layout import Layout, is_large
from fdtcore.compression.specification import Specification
from fdtcore.validation import is_number
from nfdt.protocol import serialization
from nfdt.protocol.gradients import WIRE_TYPES, unpack_gradient
from nfdt.protocol.messages import Message, as_bytes
from nfdt.rules.blocks import empty_like
from nfdt.rules.corrections import Vector

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_BYTES = 1 << 26  # of a spec as text; a variable takes about a hundred


@dataclasses.dataclass(frozen=True)
class GroupSpec:
    """A group of variables, its optimizer, and how it travels.

    It crosses the network and lies in checkpoints as JSON: text, numbers, lists and
    mappings, and nothing that is code.

    Args:
        algorithm: Name of the algorithm, as in ``nfdt.algorithms``.
        optimizer: The optimizer that the servers run, as Keras serialises it:
            ``class_name``, ``config`` and more.
        variables: Path and shape of each variable, in the order of the vector.
        dtype: Type of the parameters, a key of ``gradients.WIRE_TYPES``.
        wire: Type of gradients on the way, of the same.
        constraints: Each variable's constraint as Keras serialises it, or None; empty
            where no variable has one.
        undecayed: Paths of the variables that are excluded from weight decay, which
            no configuration of an optimizer holds.
        shard: Index of the server whose part of the vector is opened.
        opened_by: Index of the worker that has opened the group; -1 until a server
            has noted it.
        returned: Type of the parameters that answer a push, of the same as ``wire``;
            empty: that of the parameters.
        answered: Part of the parameters that answer a push; 0: all.
        compression: What is sent of gradients, as users write it; empty: all.
    """

    algorithm: str
    optimizer: Mapping[str, Any]
    variables: tuple[tuple[str, tuple[int, ...]], ...]
    dtype: str
    wire: str
    constraints: tuple[Any, ...] = ()
    undecayed: tuple[str, ...] = ()
    shard: int = 0
    opened_by: int = -1
    returned: str = ""
    answered: float = 0.0
    compression: str = ""

    @functools.cached_property
    def layout(self) -> Layout:
        """Where each variable lies, and which are not compressed."""
        shapes = tuple(shape for _, shape in self.variables)
        return Layout(shapes, tuple(not is_large(shape) for shape in shapes))

    @functools.cached_property
    def _reader(self) -> Reader:
        chosen = Specification.parse(self.compression)
        return Reader(chosen, self.layout, WIRE_TYPES[self.wire])

    def read(self, push: Message, vector: Vector) -> None:
        """Writes the gradient of a push into a vector.

        Args:
            push: As it was sent.
            vector: The shard's, [P]; zeros where the push says nothing.

        Raises:
            ValueError: The payload is no gradient of this group.
        """
        if push.parts >= 0:
            unpack_gradient(push.parts, push.payload, vector, self.wire)
            return
        self._reader.read(as_bytes(push.payload), vector)

    @property
    def size(self) -> int:
        """Elements of the whole vector."""
        return sum(size_of(shape) for _, shape in self.variables)

    def to_json(self) -> dict[str, Any]:
        """Returns the fields by name, of what JSON knows."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, found: Any) -> GroupSpec:
        """Returns the spec of what :meth:`to_json` made, sent or read from a file.

        Raises:
            ValueError: A field is missing, unknown or of another kind.
        """
        try:
            spec = cls(**found)
            made = dataclasses.replace(
                spec,
                variables=tuple((p, tuple(shape)) for p, shape in spec.variables),
                constraints=tuple(spec.constraints),
                undecayed=tuple(spec.undecayed),
            )
            wrong = _wrong_field(made)
        except (TypeError, ValueError) as error:
            wrong = str(error)
        if wrong:
            raise ValueError(
                "a group of variables must be described by the fields of GroupSpec. "
                f"Received: {str(found)[:200]} ({wrong}). "
                "Use the same version of NFDT on all processes."
            )
        return made

    def pack(self, values: Vector) -> bytes:
        """Returns the payload of an OPEN.

        Args:
            values: First values of the shard, [P].
        """
        return serialization.pack(self.to_json(), values)


def unpack(payload: Buffer) -> tuple[GroupSpec, Vector]:
    """Returns the spec and the first values in the payload of an OPEN.

    Raises:
        ValueError: The bytes are not what :meth:`GroupSpec.pack` makes.
    """
    found, values = serialization.unpack(payload, MAX_BYTES)
    spec = GroupSpec.from_json(found)
    dtype = WIRE_TYPES[spec.dtype]
    if values.nbytes % dtype.itemsize or values.nbytes > spec.size * dtype.itemsize:
        raise ValueError(
            "first values must be those of a shard. Received: "
            f"{values.nbytes} bytes for a group of {spec.size} {spec.dtype}."
        )
    first = np.frombuffer(values, dtype)
    own = empty_like(first)
    own[...] = first
    return spec, own


def size_of(shape: tuple[int, ...]) -> int:
    """Returns the number of elements of a shape."""
    product = 1
    for length in shape:
        product *= length
    return product


def _wrong_field(spec: GroupSpec) -> str:
    """Names the first field that is of another kind than it must be, if any."""
    shapes = [shape for _, shape in spec.variables]
    paths = [*(path for path, _ in spec.variables), *spec.undecayed]
    config = isinstance(spec.optimizer, Mapping) and spec.optimizer.get("config")
    fits = {
        "algorithm": isinstance(spec.algorithm, str),
        "optimizer": isinstance(config, Mapping),
        "variables": all(_is_count(n) for shape in shapes for n in shape),
        "paths": all(isinstance(path, str) for path in paths),
        "dtype": spec.dtype in WIRE_TYPES,
        "wire": spec.wire in WIRE_TYPES,
        "returned": spec.returned in ("", *WIRE_TYPES),
        "constraints": len(spec.constraints) in (0, len(shapes)),
        "shard": _is_count(spec.shard),
        "opened_by": _is_count(spec.opened_by) or spec.opened_by == -1,
        "answered": is_number(spec.answered, at_least=0) and spec.answered <= 1,
        "compression": not spec.compression
        or specification.is_stateful(spec.compression),
    }
    return next((name for name, is_fit in fits.items() if not is_fit), "")


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def difference(
    one: GroupSpec, other: GroupSpec, *, rates: bool = True
) -> tuple[str, str] | None:
    """Names the first difference between two specs of a group, if any.

    Args:
        one: What was said first.
        other: What is said now.
        rates: Whether learning rates count that are numbers. Among workers they do
            not: a callback may have changed one before another worker has begun.
    """
    if one.algorithm != other.algorithm:
        return f"algorithm {one.algorithm}", other.algorithm
    for index in range(max(len(one.variables), len(other.variables))):
        pair = [_variable(spec, index) for spec in (one, other)]
        if pair[0] != pair[1]:
            return pair[0], pair[1]
    mine, theirs = one.optimizer, other.optimizer
    if not rates:
        mine, theirs = _without_rate(mine), _without_rate(theirs)
    if mine != theirs:
        return _optimizers(mine, theirs)
    if one.undecayed != other.undecayed:
        mine_, theirs_ = list(one.undecayed), list(other.undecayed)
        return f"no weight decay of {mine_}", f"of {theirs_}"
    return None


def _variable(spec: GroupSpec, index: int) -> str:
    if index >= len(spec.variables):
        return "nothing"
    path, shape = spec.variables[index]
    return str([path, list(shape)])


def _without_rate(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(optimizer["config"])
    if isinstance(values.get("learning_rate"), int | float):
        del values["learning_rate"]
    return {**optimizer, "config": values}


def _optimizers(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, str]:
    """Names two optimizers: by their classes, or by the first setting that differs."""
    if one.get("class_name") != other.get("class_name"):
        return f"optimizer {one.get('class_name')}", str(other.get("class_name"))
    mine, theirs = one.get("config") or {}, other.get("config") or {}
    for key in (*mine, *theirs):
        if mine.get(key) != theirs.get(key):
            name = f"optimizer {one.get('class_name')} with {key}"
            return f"{name}={mine.get(key)!r}", f"{key}={theirs.get(key)!r}"
    return f"optimizer {one.get('class_name')}", "another of that name"
