"""Loops without a data set: every worker makes every step, and one of them pushes.

What such a loop trains on only its own code knows, so no batch can be given to one
worker rather than another. All compute each step whole, at the same parameters; the
first worker that is left pushes its gradient, and what it is answered goes to all. So
there is one update a step, whatever the number of workers, and they stay alike even
where they draw differently.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from fdtcore import output
from fdtcore.glue import saving
from nfdt.protocol import serialization
from nfdt.protocol.messages import Kind


class Replicas:
    """What a worker does in the steps that all make.

    Args:
        engine: This worker's engine.
    """

    def __init__(self, engine: Any):
        self._engine = engine
        self.is_divided = False  # the script has asked for the number of workers
        self._is_away = False  # the servers do not wait for pushes of this worker
        self._has_spoken = False
        self._agreed: weakref.WeakSet[Any] = weakref.WeakSet()  # models

    def has_step(self, epoch: int) -> bool:
        """Whether a step is one that all workers make.

        Args:
            epoch: Of its batch; -1 where it is none of a data set.
        """
        engine = self._engine
        if epoch >= 0 or engine.training.is_shared or saving.is_alone():
            return False
        if engine.process.size > 1:
            self._speak()
        return not self.is_divided

    def begin(self, model: Any) -> None:
        """Gives all workers the first one's values of a model, once."""
        engine = self._engine
        if engine.process.size == 1 or model in self._agreed or not model.built:
            return
        if self.has_step(-1):
            self._agreed.add(model)
            engine.broadcast(model.variables)

    def step(self, push: Callable[[], bytes]) -> bytes:
        """Returns what the worker that pushes has come to.

        Args:
            push: Makes the push, and returns that.
        """
        engine = self._engine
        if engine.collectives.chief != engine.worker and not self._is_away:
            self._is_away = True
            engine.training.tell(Kind.AWAY)
        return bytes(engine.collectives.broadcast_made(push, "step of all workers"))

    def end(self) -> None:
        """The servers wait for this worker again: it is to push batches of its own."""
        if self._is_away:
            self._is_away = False
            self._engine.training.tell(Kind.BACK)

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
        output.say(self._engine.process, text)


def packed(group: Any) -> bytes:
    """Returns the parameters that a group has pulled, and what belongs to them."""
    about = {"version": group.version, "rate": group.learning_rate}
    return serialization.pack(about, group.params)


def unpacked(group: Any, data: bytes) -> None:
    """Gives a group what :func:`packed` returned on another worker."""
    about, values = serialization.unpack(data)
    group.take(values, about["version"], about["rate"])
