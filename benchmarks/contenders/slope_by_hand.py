"""The same fits as loops by hand, with one grouped allreduce in a step."""

import horovod.tensorflow as hvd
import keras
import tensorflow as tf

from benchmarks.contenders import hand, networks, slope
from benchmarks.steps.works import Fit


def main() -> None:
    """Train on this rank's data; rank 0 prints."""
    chosen = slope.options("GradientTape and hvd.grouped_allreduce, from memory")
    hvd.init()
    keras.utils.set_random_seed(1)
    model = networks.NETWORKS[chosen.model]()
    optimizer = slope.optimizer()
    train_step = hand.averaging_step(model, optimizer)
    most = max(fit.batches for fit in chosen.fits) * chosen.batch
    x, y = (tf.constant(part) for part in networks.samples(model, most))

    def run(fit: Fit) -> None:
        count = fit.batches * chosen.batch
        # Gathering rows of what is in memory is the least that reading can cost.
        dataset = tf.data.Dataset.range(count).shuffle(count).batch(chosen.batch)
        dataset = dataset.map(lambda rows: (tf.gather(x, rows), tf.gather(y, rows)))
        for _ in range(fit.epochs):
            hand.train(dataset.prefetch(2), train_step)

    if hvd.rank() == 0:
        slope.print_fits(chosen.fits, run, optimizer)
    else:
        for fit in chosen.fits:
            run(fit)


if __name__ == "__main__":
    main()
