"""One training step of a worker on a batch of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras.src.backend.tensorflow import trainer as tf_trainer

from fdtcore.glue import batches, state
from fdtcore.glue.step import Step, under_way
from fdtcore.glue.steps import TracedStep
from nfdt.glue.leasing import unmarked


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

    def __call__(self, data: Any) -> Any:
        mark, batch = unmarked(data)
        if _is_built(self.model, batch):
            self.step = _after_data(getattr(self.model, self.__name__))
        step = MarkedStep(self.engine, self.model, batches.count(batch), mark)
        with under_way(step):
            if tf.executing_eagerly():
                logs = self.step(batch)
            else:
                logs = self.traced(batch)()
            self.engine.batch_done(mark)
        return logs


def _is_built(model: Any, batch: Any) -> bool:
    """Whether Keras's own step finds all variables made, which it makes else."""
    if type(model).train_step is not tf_trainer.TensorFlowTrainer.train_step:
        return False
    parts = [model._compile_loss, model._compile_metrics]
    return state.build(model, batch) and all(p is None or p.built for p in parts)


def _after_data(step: Callable) -> Callable:
    """Keeps what does not look at the batch from running where there is none."""

    @functools.wraps(step)
    def run(data: Any) -> Any:
        tensors = [leaf for leaf in tf.nest.flatten(data, True) if tf.is_tensor(leaf)]
        with tf.control_dependencies(tensors):
            return step(data)

    return run
