"""Operations among the ranks, by Horovod; the identity on one rank.

The only module that calls Horovod's operations. A name marks an operation: ranks
match what they send by it, so it must be the same everywhere and unique among those
under way.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf


class HorovodCommunicator:
    """Operations among the ranks of a process set.

    Args:
        rank: Index of this rank in the set.
        size: Number of ranks in the set.
        process_set: Horovod's process set; None for all ranks.
    """

    def __init__(self, rank: int, size: int, process_set: Any = None):
        self.rank, self.size = rank, size
        self.process_set = process_set

    def among(self, sets: Sequence[Sequence[int]]) -> HorovodCommunicator:
        """Returns the operations among the ranks of the set that holds this rank.

        Every rank calls it with the same sets.

        Raises:
            ValueError: A rank is in no set, or in two.
        """
        if sorted(rank for ranks in sets for rank in ranks) != list(range(self.size)):
            raise ValueError(
                "process_sets must hold each rank once. Received: "
                f"{[list(s) for s in sets]} for {self.size} ranks."
            )
        if len(sets) == 1:
            return self
        import horovod.tensorflow as hvd

        if os.environ.get("HOROVOD_DYNAMIC_PROCESS_SETS") != "1":
            raise RuntimeError(
                "process sets must be announced before Horovod starts. Received: "
                "process_sets in a job that runs already. Start the job with "
                "HOROVOD_DYNAMIC_PROCESS_SETS=1 in its environment."
            )
        made = [hvd.add_process_set(list(ranks)) for ranks in sets]
        own = next(i for i, ranks in enumerate(sets) if self.rank in ranks)
        rank = sorted(sets[own]).index(self.rank)
        return HorovodCommunicator(rank, len(sets[own]), made[own])

    def operation(
        self,
        kind: str,
        tensors: Sequence[tf.Tensor],
        name: str,
        call: Callable[[Sequence[tf.Tensor]], list[tf.Tensor]],
    ) -> list[tf.Tensor]:
        """Runs one operation of Horovod's; each of them comes through here.

        Args:
            kind: What it is called in messages.
            tensors: This rank's.
            name: Of the operation.
            call: Horovod's own, from the tensors to their results.
        """
        del kind, name
        return call(tensors)

    def note_work(self, name: str, begun_s: float, ended_s: float) -> None:
        """Is told of the work of this rank around some operations; nobody asks."""

    def sum(self, tensors: Sequence[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Sums each tensor over the ranks."""
        return self._combined("Sum", tensors, name)

    def maximum(self, tensors: Sequence[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Takes the largest of all ranks' values, element by element."""
        return self._combined("Max", tensors, name)

    def _combined(
        self, op: str, tensors: Sequence[tf.Tensor], name: str
    ) -> list[tf.Tensor]:
        if self.size == 1 or not tensors:
            return list(tensors)
        hvd, options = self._hvd()
        # A group is of one type.
        found: dict[int, tf.Tensor] = {}
        for dtype in dict.fromkeys(t.dtype for t in tensors):
            places = [i for i, t in enumerate(tensors) if t.dtype == dtype]
            group = [tf.convert_to_tensor(tensors[i]) for i in places]
            wire = f"{name}.{dtype.name}"
            reduce = functools.partial(
                hvd.grouped_allreduce, op=getattr(hvd, op), name=wire, **options
            )
            values = self.operation(op.lower(), group, wire, reduce)
            found.update(zip(places, values, strict=True))
        return [found[i] for i in range(len(tensors))]

    def adasum(self, tensors: Sequence[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Combines each tensor by Adasum."""
        if self.size == 1:
            return list(tensors)
        hvd, options = self._hvd()

        def reduce(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
            return [
                hvd.allreduce(t, op=hvd.Adasum, name=f"{name}.{i}", **options)
                for i, t in enumerate(tensors)
            ]

        return self.operation("adasum", tensors, name, reduce)

    def allgather(self, tensors: Sequence[tf.Tensor], name: str) -> list[tf.Tensor]:
        """Joins each tensor's rows over the ranks, in order of rank."""
        if self.size == 1 or not tensors:
            return list(tensors)
        hvd, options = self._hvd()
        gather = functools.partial(hvd.grouped_allgather, name=name, **options)
        return self.operation("allgather", list(tensors), name, gather)

    def alltoall(self, tensor: tf.Tensor, splits: tf.Tensor, name: str) -> tf.Tensor:
        """Sends ``splits[r]`` rows to each rank r and joins what arrives, by rank."""
        hvd, options = self._hvd()

        def send(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
            return [hvd.alltoall(*tensors, splits=splits, name=name, **options)[0]]

        return self.operation("alltoall", [tensor], name, send)[0]

    def broadcast(self, tensor: tf.Tensor, name: str, root: int = 0) -> tf.Tensor:
        """Returns the tensor of rank ``root``."""
        if self.size == 1:
            return tensor
        hvd, options = self._hvd()
        if self.process_set is not None:
            root = sorted(self.process_set.ranks)[root]  # Horovod counts all ranks

        def send(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
            return [hvd.broadcast(*tensors, root, name=name, **options)]

        return self.operation("broadcast", [tensor], name, send)[0]

    def broadcast_bytes(self, data: bytes, name: str, *, even: bool = False) -> bytes:
        """Returns rank 0's bytes.

        Args:
            data: This rank's; only rank 0's are sent.
            name: Of the operation.
            even: Whether all ranks have equally many.
        """
        if self.size == 1:
            return data
        buffer = np.frombuffer(data, np.uint8)
        if not even:
            length = self.broadcast(tf.constant([len(data)]), f"{name}.length")
            if self.rank:
                buffer = np.zeros(int(length[0]), np.uint8)
        return self.broadcast(tf.constant(buffer), name).numpy().tobytes()

    def allgather_bytes(
        self, data: bytes, name: str, *, even: bool = False
    ) -> list[bytes]:
        """Returns every rank's bytes, by rank.

        Args:
            data: This rank's.
            name: Of the operation.
            even: Whether all ranks have equally many.
        """
        if self.size == 1:
            return [data]
        buffer = tf.constant(np.frombuffer(data, np.uint8))
        lengths = np.full(self.size, len(data))
        if not even:
            own = tf.constant([len(data)])
            lengths = self.allgather([own], f"{name}.lengths")[0].numpy()
        joined = self.allgather([buffer], name)[0].numpy().tobytes()
        ends = np.cumsum(lengths)
        return [joined[end - n : end] for n, end in zip(lengths, ends, strict=True)]

    def _hvd(self) -> tuple[Any, dict[str, Any]]:
        import horovod.tensorflow as hvd

        options: dict[str, Any] = {"ignore_name_scope": True}
        if self.process_set is not None:
            options["process_set"] = self.process_set
        return hvd, options
