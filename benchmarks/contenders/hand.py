"""The same training, written by hand on Horovod's operations."""

from collections.abc import Callable, Sequence

import horovod.tensorflow as hvd
import keras
import tensorflow as tf

from benchmarks.contenders import shared

Step = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def main() -> None:
    """Train on this rank's part of the data; rank 0 prints the speed."""
    options = shared.options("GradientTape and hvd.grouped_allreduce")
    hvd.init()
    images, labels, source = shared.read_data(
        options.batch * options.steps * hvd.size()
    )
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    dataset = dataset.shard(hvd.size(), hvd.rank()).shuffle(4096)
    dataset = dataset.batch(options.batch, drop_remainder=True).prefetch(2)
    accuracy = keras.metrics.SparseCategoricalAccuracy()
    train_step = averaging_step(
        shared.build_model(options.model), shared.build_optimizer(), [accuracy]
    )

    def run_epoch() -> None:
        train(dataset, train_step)

    seconds = shared.time_epochs(run_epoch, options.epochs)
    if hvd.rank() == 0:
        timed = options.batch * options.steps * options.epochs * hvd.size()
        shared.print_speed(timed, seconds, source)


def averaging_step(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    metrics: Sequence[keras.metrics.Metric] = (),
) -> Step:
    """Return a step with one grouped allreduce; all ranks have rank 0's values.

    Args:
        model: Built, not compiled.
        optimizer: Not built.
        metrics: Of this rank's own outputs.
    """
    optimizer.build(model.trainable_variables)
    hvd.broadcast_variables([v.value for v in model.variables], root_rank=0)
    hvd.broadcast_variables([v.value for v in optimizer.variables], root_rank=0)
    loss_of = shared.build_loss()

    @tf.function
    def train_step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            outputs = model(x, training=True)
            loss = loss_of(y, outputs)
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        gradients = hvd.grouped_allreduce(gradients, op=hvd.Average)
        optimizer.apply(gradients, model.trainable_variables)
        for metric in metrics:
            metric.update_state(y, outputs)
        return loss

    return train_step


def train(dataset: tf.data.Dataset, train_step: Step) -> None:
    """Train one epoch; it ends when its last step has been computed."""
    for x, y in dataset:
        loss = train_step(x, y)
    float(loss)


if __name__ == "__main__":
    main()
