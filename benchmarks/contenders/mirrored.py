"""The same training as a custom loop under MultiWorkerMirroredStrategy."""

import tensorflow as tf

from benchmarks.contenders import shared


def main() -> None:
    """Train as one of the workers in TF_CONFIG; worker 0 prints the speed."""
    options = shared.options("MultiWorkerMirroredStrategy, custom loop")
    # Must be first: the strategy cannot start once TensorFlow has run an operation.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    workers = strategy.num_replicas_in_sync
    global_batch = options.batch * workers
    images, labels, source = shared.read_data(global_batch * options.steps)

    def read_part(context: tf.distribute.InputContext) -> tf.data.Dataset:
        whole = tf.data.Dataset.from_tensor_slices((images, labels))
        part = whole.shard(context.num_input_pipelines, context.input_pipeline_id)
        part = part.shuffle(4096).batch(options.batch, drop_remainder=True)
        return part.prefetch(2)

    dataset = strategy.distribute_datasets_from_function(read_part)
    with strategy.scope():
        model = shared.build_model(options.model)
        optimizer, loss_of = shared.build_optimizer(), shared.build_loss()
        optimizer.build(model.trainable_variables)

    def replica_step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True)) / workers
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    @tf.function
    def train_step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        losses = strategy.run(replica_step, args=(x, y))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    def run_epoch() -> None:
        for x, y in dataset:
            loss = train_step(x, y)
        float(loss)  # the epoch ends when its last step has been computed

    seconds = shared.time_epochs(run_epoch, options.epochs)
    if strategy.cluster_resolver.task_id == 0:
        timed = global_batch * options.steps * options.epochs
        shared.print_speed(timed, seconds, source)


if __name__ == "__main__":
    main()
