"""One training step of a worker on a batch of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from fdtcore.glue import aggregation, batches
from fdtcore.glue.step import Step, under_way
from fdtcore.glue.steps import TracedStep
from nfdt.glue.batch_iterator import Execution
from nfdt.glue.leased_data import unmarked


class MarkedStep(Step):
    """A step on a batch that is marked.

    Args:
        engine: The engine.
        model: The model.
        num_samples: Scalar int32 tensor.
        mark: Epoch and number of the batch, int64 [2].
    """

    def __init__(
        self, engine: Any, model: Any, num_samples: tf.Tensor, mark: tf.Tensor
    ):
        super().__init__(engine, model, num_samples)
        self.mark = mark


class LeasedStep(TracedStep):
    """Wraps a model's step: takes the mark off the batch, and says when it is done."""

    engine: Any

    def function(self, inner: Callable) -> Callable:
        """Returns the function of a training step, which Keras's loop calls.

        Args:
            inner: Keras's own, for batches that nobody has taken yet.
        """
        step = self.model._autoconvert_optionals(self)

        def on_taken(batch: Any) -> Any:
            return step(batch.get_value())

        if not self.model.run_eagerly:
            on_taken = tf.function(on_taken, autograph=False)

        def run(batches: Any) -> Any:
            if not isinstance(batches, Execution):
                return inner(batches)
            for batch in batches:
                logs = on_taken(batch)
            return logs

        return run

    def __call__(self, data: Any) -> Any:
        mark, batch = unmarked(data)
        step = MarkedStep(self.engine, self.model, batches.count(batch), mark)
        with under_way(step), aggregation.observed(self.model, step):
            if tf.executing_eagerly():
                logs = self.step(batch)
            else:
                run = self.traced(batch)
                self.engine.tallies.see(self.model)  # if tracing has built it
                logs = run()
            self.engine.batch_done(mark)
        return logs

    def ran(self) -> None:
        """Looks at what the first steps of an epoch have done."""
        taken, at_once = self.engine.epochs.taken, self.model.steps_per_execution
        self.engine.tallies.stepped(self.model, lambda: min(taken, at_once))
