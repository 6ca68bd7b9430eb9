"""A single-machine Keras script; HFDT and NFDT run it as it stands."""

import time

import keras

from benchmarks.contenders import shared, slowing


class Stopwatch(keras.callbacks.Callback):
    """Times the epochs after the first, down to the given last one.

    It acts at epoch ends only: there Keras has read the epoch's loss, so the work is
    done, and a hook at batch ends would slow ``fit`` down by itself.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs
        self.start_s = 0.0
        self.seconds = 0.0

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Start after the untimed epoch, stop after the last timed one."""
        del logs
        if epoch == 0:
            self.start_s = time.perf_counter()
        if epoch == self.epochs:
            self.seconds = time.perf_counter() - self.start_s


def main() -> None:
    """Compile, fit, print the speed."""
    options = shared.options("model.compile and model.fit")
    images, labels, source = shared.read_data(options.batch * options.steps)
    model = shared.build_model(options.model)
    model.compile(shared.build_optimizer(), shared.build_loss(), metrics=["accuracy"])
    stopwatch = Stopwatch(options.epochs)
    model.fit(
        images,
        labels,
        batch_size=options.batch,
        epochs=1 + options.epochs + options.tail,
        verbose=0,
        callbacks=[stopwatch, *slowing.callbacks(options)],
    )
    timed = options.batch * options.steps * options.epochs
    shared.print_speed(timed, stopwatch.seconds, source)


if __name__ == "__main__":
    main()
