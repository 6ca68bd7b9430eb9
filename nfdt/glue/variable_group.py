"""The variables that one optimizer trains, of many shapes, and their flat vector."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from fdtcore import evidence
from fdtcore.glue import keras_internals, state
from fdtcore.keras_types import Optimizer, Variable
from nfdt.glue import learning_rates, optimizer_state
from nfdt.glue.compression import GradientCompression
from nfdt.glue.local_training import OnServers, WorkerPart
from nfdt.glue.optimizer_state import has_stepped, path_of
from nfdt.protocol.client import ShardedVector
from nfdt.protocol.gradients import Dense, Rows
from nfdt.rules.corrections import Vector

_ALIGNMENT_BYTES = 64  # of memory that TensorFlow takes over without a copy


def copied(vector: Vector) -> Vector:
    """Copies a vector to memory that TensorFlow takes over as it is."""
    room = np.empty(vector.nbytes + _ALIGNMENT_BYTES, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT_BYTES
    found = room[start : start + vector.nbytes].view(vector.dtype)
    np.copyto(found, vector)
    return found


def dtype_of(variables: Sequence[Variable]) -> str:
    """Returns the type of a vector that holds the values of all variables."""
    return str(np.result_type(*[np.dtype(state.dtype_of(v)) for v in variables]))


def _rows(start: int, values: np.ndarray, indices: np.ndarray) -> Rows:
    flat = values.reshape(len(indices), math.prod(values.shape[1:]))
    return Rows(start, flat.shape[1], indices, flat)


def check_real(variables: Sequence[Variable]) -> None:
    """Refuses variables whose values no vector of real numbers holds.

    Raises:
        ValueError: A variable is complex.
    """
    for variable in variables:
        dtype = np.dtype(state.dtype_of(variable))
        if np.issubdtype(dtype, np.complexfloating):
            raise ValueError(
                "a variable must be real to be trained through a parameter server. "
                f"Received: {dtype} for {getattr(variable, 'path', variable.name)}. "
                "Train its real and its imaginary part as two variables."
            )


class VariableGroup:
    """The variables that one optimizer trains, and their vector on the servers.

    Args:
        vector: Their values on the servers.
        optimizer: The user's optimizer, whose variables the group has.
        variables: Those with a gradient, in order.
        config: The optimizer as the servers make it.
        part: What this worker does besides sending gradients.
        local_optimizer: The optimizer of this worker's local steps, if it makes any.
        compression: What is done to gradients of which a part is sent.
    """

    def __init__(
        self,
        vector: ShardedVector,
        optimizer: Optimizer,
        variables: Sequence[Variable],
        *,
        config: Mapping[str, Any],
        part: WorkerPart,
        local_optimizer: Optimizer | None = None,
        compression: GradientCompression | None = None,
    ):
        self.vector, self.optimizer = vector, optimizer
        self.variables, self.config = list(variables), config
        self.part = part
        self._local_optimizer, self._compression = local_optimizer, compression
        self._kept: list[tuple[Variable, np.ndarray]] | None = None  # of it: _keep
        self._steps = 0  # since an exchange
        self._pending: Future | None = None  # a push whose answer is not used yet
        self._thread = ThreadPoolExecutor(1, "nfdt push")
        self._rate = learning_rates.of_number(optimizer)  # as the servers know it
        self._state: bytes | None = None  # of the optimizer, as the servers know it

    @property
    def version(self) -> tf.Tensor:
        """Updates so far, int64 scalar."""
        return tf.constant(self.vector.version, tf.int64)

    @property
    def has_own_steps(self) -> bool:
        """Whether steps of this worker's own are in no push yet."""
        return bool(self._steps)

    def flat(self) -> Vector:
        """Returns the variables' values as the vector."""
        return self.joined(self.variables)

    def joined(self, values: Sequence[Any]) -> Vector:
        """Returns values of the variables as the vector."""
        dtype = self.vector.params.dtype
        parts = [np.asarray(value).reshape(-1).astype(dtype) for value in values]
        return np.concatenate(parts)

    def values(self) -> list[tf.Tensor]:
        """Returns the vector that was pulled last, as values of the variables."""
        return self.split(self.vector.params)

    def split(self, vector: Vector) -> list[tf.Tensor]:
        """Returns the vector as values of the variables."""
        starts = self.vector.starts
        return [
            tf.constant(vector[start:stop].reshape(v.shape), v.dtype)
            for v, start, stop in zip(self.variables, starts, starts[1:], strict=False)
        ]

    def assign(self) -> None:
        """Gives the variables what was pulled last."""
        # A worker that gets no batch takes what the others have trained, and no more.
        evidence.note_exchange()
        for variable, value in zip(self.variables, self.values(), strict=True):
            variable.assign(value)
        if self.part.exchange is None:
            keras_internals.call_count(self.optimizer).assign(self.vector.version)

    def step(self, values: Sequence[Any], **about: Any) -> list[Any] | None:
        """Notes a step of this worker's own; exchanges parameters where it is time.

        Args:
            values: The variables after it.
            **about: Epoch, number and loss of the batch, by name, as for
                :meth:`nfdt.protocol.client.ShardedVector.step`.

        Returns:
            What to go on from; None without an exchange.
        """
        self._steps += 1
        if self.part.paces:
            if not self._is_to_exchange(about):
                return None
            about = {}  # the server knows of the batch
        elif self._steps < self.part.local_steps:
            return None
        return self.split(self._exchanged(self.joined(values), about))

    def _is_to_exchange(self, about: dict[str, Any]) -> bool:
        """Tells the server of a step; returns whether it wants what it has come to."""
        readings = b""
        if self.part.monitor is not None:
            readings = self.part.monitor.step(self.vector.step_s())
        return self.vector.step(**about, readings=readings)

    def flush(self) -> None:
        """Ends what is under way: an answer not used yet, steps not exchanged yet."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
            self.assign()
        if self._steps:
            found = self.split(self._exchanged(self.flat(), {}))
            for variable, value in zip(self.variables, found, strict=True):
                variable.assign(value)

    def _exchanged(self, own: Vector, about: dict[str, Any]) -> Vector:
        assert self.part.exchange is not None
        self._steps = 0
        found = self.part.exchange.exchange(own, OnServers(self.vector, about))
        self._keep()
        return found

    def begin_steps(self) -> None:
        """Is told before the first local step, with everything built."""
        if self._kept is None:
            self._keep()

    def _keep(self) -> None:
        """Keeps the state of the local optimizer, which exchanged steps have led to."""
        assert self._local_optimizer is not None
        self._kept = [
            (v, np.array(v))
            for v in self._local_optimizer.variables
            if "float" in state.dtype_of(v)
        ]

    def lose_steps(self) -> list[Any]:
        """Gives up local steps that have come to NaN; returns what to go on from.

        The state of the local optimizer would turn the next steps into NaN as well.
        """
        for variable, value in self._kept or ():
            if not np.isfinite(np.asarray(variable)).all():
                variable.assign(value)
        return self.values()

    def push_ahead(self, *args: Any, **about: Any) -> Vector:
        """As :meth:`push`, but returns what the push before was answered.

        Raises:
            NotFinite: The push before was refused; this one is yet to be made.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
        # Copied: they are written while the next gradient is computed.
        found = copied(self.vector.params)
        self._pending = self._thread.submit(self.push, *args, **about)
        return found

    def push(
        self,
        are_rows: Sequence[bool],
        values: Sequence[Any],
        *,
        rate: float = math.nan,
        **about: Any,
    ) -> None:
        """Sends a gradient.

        Args:
            are_rows: For each variable whether its gradient is ``IndexedSlices``;
                nothing where none is.
            values: The tensors: values, or values and indices, of which each stands
                once; one vector of all where none is ``IndexedSlices``.
            rate: What the optimizer's schedule has come to; NaN where it has none.
            **about: Epoch, number and loss of the batch, by name, as for
                :meth:`nfdt.protocol.client.ShardedVector.push`.
        """
        own = learning_rates.of_number(self.optimizer)
        changed = own if own != self._rate else math.nan
        if not learning_rates.is_served(self.config) and not math.isnan(rate):
            changed = rate
        gradients: Sequence[Dense | Rows] = self._gradients(are_rows, values)
        if self._compression is not None:
            of = about.get("epoch", -1), about.get("number", -1)
            gradients = self._compression.prepared(gradients, *of)
        if self.part.transform is not None:
            whole = np.zeros_like(self.vector.params)
            for gradient in gradients:
                gradient.add_to(whole)
            gradients = [Dense(0, self.part.transform.ahead(whole))]
        self.vector.push(gradients, rate=changed, **about)
        self._follow(own)

    def _gradients(
        self, are_rows: Sequence[bool], values: Sequence[Any]
    ) -> list[Dense | Rows]:
        if not are_rows:
            return [Dense(0, values[0])]
        tensors = iter(values)
        return [
            _rows(int(start), next(tensors), next(tensors))
            if has_rows
            else Dense(int(start), np.asarray(next(tensors)).reshape(-1))
            for has_rows, start in zip(are_rows, self.vector.starts, strict=False)
        ]

    def follow_rate(self) -> None:
        """Takes over the rate that the servers have, which may be of an earlier run."""
        self._follow(learning_rates.of_number(self.optimizer))

    def _follow(self, own: float) -> None:
        """Takes over a rate that another worker has changed."""
        theirs = self.vector.learning_rate
        self._rate = own
        if not math.isnan(own) and not math.isnan(theirs) and theirs != own:
            self.optimizer.learning_rate = theirs
            self._rate = learning_rates.of_number(self.optimizer)

    def is_as_pulled(self) -> bool:
        """Whether the variables are as they came from the servers."""
        starts = self.vector.starts
        for variable, start, stop in zip(
            self.variables, starts, starts[1:], strict=False
        ):
            own = np.asarray(variable).reshape(-1)
            pulled = self.vector.params[start:stop].astype(own.dtype, copy=False)
            if not np.array_equal(own.view(np.uint8), pulled.view(np.uint8)):
                return False
        return True

    def bring(self) -> None:
        """Makes the servers go on from what is here, where it differs."""
        values = self.flat()
        has_changed = values.tobytes() != self.vector.params.tobytes()
        # Never taken, it is not what the servers have, but nothing was done to it.
        known = self._state is not None
        if known and optimizer_state.digest(self.optimizer) != self._state:
            self._load(values)
        elif has_changed:
            self.vector.load(values)

    def bring_state(self) -> None:
        """Makes servers go on from an optimizer that has gone on without them."""
        if self.part.exchange is not None:
            return
        if not has_stepped(self.optimizer):
            return
        if self.vector.version < optimizer_state.call_count(self.optimizer):
            self._load(self.flat())

    def _load(self, values: np.ndarray) -> None:
        parts = optimizer_state.cut(
            self.optimizer, self.variables, self.vector.starts, self.vector.shards
        )
        self.vector.load(values, parts, optimizer_state.call_count(self.optimizer))
        self._state = optimizer_state.digest(self.optimizer)

    def take_state(self) -> None:
        """Gives the optimizer the state that the servers hold for it."""
        if not self.optimizer.built or self.part.exchange is not None:
            return
        found = [one["state"] for one in self.vector.state()]
        optimizer_state.take(self.optimizer, self.variables, self.vector.starts, found)
        keras_internals.call_count(self.optimizer).assign(self.vector.version)
        self._state = optimizer_state.digest(self.optimizer)

    def name_of(self, element: int) -> str:
        """Returns the path of the variable that an element of the vector is of."""
        index = int(np.searchsorted(self.vector.starts, element, "right")) - 1
        return path_of(self.variables[index])
