"""Loops without a data set: every worker makes every step, and one of them pushes.

What such a loop trains on only its own code knows, so no batch can be given to one
worker rather than another. All compute each step whole, at the same parameters; the
first worker that is left pushes its gradient, and what it is answered goes to all. So
there is one update a step, whatever the number of workers, and they stay alike even
where they draw differently.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator

from fdtcore import output
from fdtcore.glue import saving
from fdtcore.keras_types import Model
from nfdt.glue.absence import Absence
from nfdt.glue.collectives import WorkerCollectives
from nfdt.protocol import serialization
from nfdt.protocol.client import ShardedVector


class ReplicatedSteps:
    """What a worker does in the steps that all make.

    Args:
        collectives: Those of the workers.
        absence: Tells the servers whether this worker pushes.
    """

    def __init__(self, collectives: WorkerCollectives, absence: Absence):
        self._collectives, self._absence = collectives, absence
        self._suspensions = 0  # fits and loops whose batches are each worker's own
        self.is_divided = False  # the script has asked for the number of workers
        self._is_away = False  # the servers do not wait for pushes of this worker
        self._has_spoken = False
        self._agreed: weakref.WeakSet[Model] = weakref.WeakSet()  # models

    def has_step(self, epoch: int) -> bool:
        """Whether a step is one that all workers make.

        Args:
            epoch: Of its batch; -1 where it is none of a data set.
        """
        if epoch >= 0 or self._suspensions or saving.is_alone():
            return False
        if self._collectives.process.size > 1:
            self._speak()
        return not self.is_divided

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """Makes steps inside those of this worker, on batches of its own."""
        self._suspensions += 1
        try:
            yield
        finally:
            self._suspensions -= 1

    def begin(self, model: Model) -> None:
        """Gives all workers the first one's values of a model, once."""
        is_only = self._collectives.process.size == 1
        if is_only or model in self._agreed or not model.built:
            return
        if self.has_step(-1):
            self._agreed.add(model)
            self._collectives.broadcast(model.variables)

    def step(self, push: Callable[[], bytes]) -> bytes:
        """Returns what the worker that pushes has come to.

        Args:
            push: Makes the push, and returns that.
        """
        workers = self._collectives
        if workers.communicator.chief != workers.worker and not self._is_away:
            self._is_away = True
            self._absence.begin()
        return workers.communicator.broadcast_made(push, "step of all workers")

    def end(self) -> None:
        """The servers wait for this worker again: it is to push batches of its own."""
        if self._is_away:
            self._is_away = False
            self._absence.end()

    def _speak(self) -> None:
        if self._has_spoken:
            return
        self._has_spoken = True  # on all workers, whoever speaks for the job later
        if self.is_divided:
            text = (
                "this loop divides its work itself, as it has called nfdt.size(): "
                "every worker's gradients are updates."
            )
        else:
            text = (
                "this loop trains in replica: every worker computes whole batches, "
                "and one update is made a step, which is correct but no faster. Use "
                "fit, or iterate a batched tf.data.Dataset with a for statement (in a "
                "script that imports nfdt: its shard(nfdt.size(), nfdt.rank())) to "
                "share the work."
            )
        output.say(self._collectives.process, text)


def packed(vector: ShardedVector) -> bytes:
    """Returns the parameters that were pulled, and what belongs to them."""
    about = {"version": vector.version, "rate": vector.learning_rate}
    return serialization.pack(about, vector.received)


def unpacked(vector: ShardedVector, data: bytes) -> None:
    """Gives a vector what :func:`packed` returned on another worker."""
    about, values = serialization.unpack(data)
    vector.take(values, about["version"], about["rate"])
