"""The same training, written by hand on Horovod's operations."""

import horovod.tensorflow as hvd
import keras
import tensorflow as tf

from benchmarks.contenders import shared


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
    model = shared.build_model(options.model)
    optimizer, loss_of = shared.build_optimizer(), shared.build_loss()
    accuracy = keras.metrics.SparseCategoricalAccuracy()
    optimizer.build(model.trainable_variables)
    hvd.broadcast_variables([v.value for v in model.variables], root_rank=0)
    hvd.broadcast_variables([v.value for v in optimizer.variables], root_rank=0)

    @tf.function
    def train_step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            outputs = model(x, training=True)
            loss = loss_of(y, outputs)
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        gradients = hvd.grouped_allreduce(gradients, op=hvd.Average)
        optimizer.apply(gradients, model.trainable_variables)
        accuracy.update_state(y, outputs)
        return loss

    def run_epoch() -> None:
        for x, y in dataset:
            loss = train_step(x, y)
        float(loss)  # the epoch ends when its last step has been computed

    seconds = shared.time_epochs(run_epoch, options.epochs)
    if hvd.rank() == 0:
        timed = options.batch * options.steps * options.epochs * hvd.size()
        shared.print_speed(timed, seconds, source)


if __name__ == "__main__":
    main()
