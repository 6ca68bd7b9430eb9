"""A single-machine Keras script whose links may be changed between its epochs.

Before each epoch rank 0 writes a file ``ready-K`` into a folder and waits for
``go-K``. It prints one JSON line: when its first step began, and the time of its steps
in each epoch behind those before. Updates are counted by the optimizer, so that
NFDT's are those of all workers.
"""

import argparse
import json
import os
import time
from pathlib import Path

import keras
import numpy as np

from benchmarks.contenders import shared

WARM_UP = 2  # steps of an epoch that do not count: tracing, and what was under way
TAIL = 1  # at its end, where a worker may have no batch any more
LOOK_S = 0.02
RANKS = ("OMPI_COMM_WORLD_RANK", "HOROVOD_RANK", "PMI_RANK")


class Phases(keras.callbacks.Callback):
    """Times the steps of each epoch on rank 0, and waits before each.

    Args:
        folder: Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.first_step_s = 0.0  # seconds since the epoch of the clock
        self.found: list[dict[str, float]] = []
        self._ends: list[tuple[float, int]] = []  # time, updates

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Wait until the links are as the epoch wants them."""
        del logs
        self._ends = []
        if next((os.environ[name] for name in RANKS if name in os.environ), "0") == "0":
            (self.folder / f"ready-{epoch}").touch()
            while not (self.folder / f"go-{epoch}").exists():
                time.sleep(LOOK_S)

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Note the first step."""
        del batch, logs
        self.first_step_s = self.first_step_s or time.time()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Note the end of a step, which ends with the exchange."""
        del batch, logs
        updates = int(np.asarray(self.model.optimizer.iterations))
        self._ends.append((time.perf_counter(), updates))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Take down the epoch."""
        del epoch, logs
        counted = self._ends[WARM_UP - 1 : len(self._ends) - TAIL]
        (begun_s, before), (ended_s, after) = counted[0], counted[-1]
        self.found.append({"updates": after - before, "seconds": ended_s - begun_s})


def main() -> None:
    """Compile, fit, print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("width", "batch", "steps", "phases", "before"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    images = generator.random((options.batch * options.steps, 784), np.float32)
    labels = generator.integers(0, 10, len(images))
    if not options.width:
        images, model = images.reshape(-1, 28, 28, 1), shared.build_model("cnn")
    else:
        layers = keras.layers
        model = keras.Sequential(
            [
                layers.Input((784,)),
                layers.Dense(options.width, "relu"),
                layers.Dense(options.width, "relu"),
                layers.Dense(10),
            ]
        )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss)
    if options.before:
        model.fit(images, labels, options.batch, options.before, verbose=0)
    phases = Phases(options.folder)
    model.fit(
        images,
        labels,
        batch_size=options.batch,
        epochs=options.phases,
        verbose=0,
        callbacks=[phases],
    )
    line = {"first_step_s": phases.first_step_s, "phases": phases.found}
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
