"""What a simulation costs beside the gradients that it computes.

python -m benchmarks.simulator [--quick]
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.ratios import spread
from nfdt.clusters.cluster import Cluster
from nfdt.clusters.machines import Link, Servers, WorkerGroup
from nfdt.clusters.step_times import Gamma
from nfdt.planning.forecast import forecast

RESULTS = Path(__file__).parent / "results" / "nfdt" / "simulator.json"
WORKERS, STEPS, BATCH = 16, 150, 64
MOST_RATIO = 1.25
MANY_WORKERS, MANY_PUSHES = 1000, 100_000
MOST_S, MOST_BYTES = 60.0, 2e9
_TOY_PARAMETERS = 10


class Large(NamedTuple):
    """What many workers with a toy model have taken."""

    seconds: float
    peak_bytes: float


def cluster(workers: int) -> Cluster:
    """Returns even workers with links and a server that take time."""
    line = Link(1e-4, 1.25e8)
    return Cluster(
        (WorkerGroup(workers, Gamma(0.02, 0.1), line),), Servers(1, 1e9, 1e-5)
    )


def large(workers: int, pushes: int) -> Large:
    """Simulates a toy model on many workers, in this process."""
    began_s = time.perf_counter()
    forecast(cluster(workers), _TOY_PARAMETERS, pushes)
    seconds = time.perf_counter() - began_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Large(seconds, float(peak))


def ratios(rounds: int, steps: int) -> list[float]:
    """Returns, by round, a simulated epoch's time over that of plain Keras.

    Both train the same network on the same batches; the first epoch of each, in which
    its step is traced, is not counted.
    """
    import keras

    import nfdt

    random = np.random.default_rng(0)
    x = random.normal(size=(steps * BATCH, 28, 28, 1)).astype("float32")
    y = random.integers(10, size=len(x))

    class Times(keras.callbacks.Callback):
        """Notes how long each epoch takes."""

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began_s = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.last_s = time.perf_counter() - self.began_s

    def model() -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                keras.layers.Conv2D(32, 3, activation="relu"),
                keras.layers.Conv2D(64, 3, activation="relu"),
                keras.layers.MaxPooling2D(),
                keras.layers.Flatten(),
                keras.layers.Dense(128, activation="relu"),
                keras.layers.Dense(10),
            ]
        )

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found = []
    for _ in range(rounds):
        plain, virtual = Times(), Times()
        own = model()
        own.compile(keras.optimizers.SGD(0.01), loss)
        own.fit(x, y, BATCH, epochs=2, verbose=0, callbacks=[plain])
        nfdt.simulate(
            model(),
            keras.optimizers.SGD(0.01),
            loss,
            (x, y),
            cluster=cluster(WORKERS),
            epochs=2,
            fit={"batch_size": BATCH, "verbose": 0, "callbacks": [virtual]},
        )
        found.append(virtual.last_s / plain.last_s)
        print(f"{WORKERS} workers: {found[-1]:.2f} of plain Keras", flush=True)
    return found


def main(rounds: int, results: Path | None, steps: int = STEPS) -> Sequence[float]:
    """Measures, prints, and writes what was found."""
    toy = large(MANY_WORKERS, MANY_PUSHES if results else 1000)
    print(
        f"{MANY_WORKERS} workers: {toy.seconds:.1f} s (at most {MOST_S:.0f}), "
        f"{toy.peak_bytes / 1e9:.2f} GB (at most {MOST_BYTES / 1e9:.0f})"
    )
    found = ratios(rounds, steps)
    middle = spread(found)
    print(
        f"{WORKERS} workers: {middle.median:.2f} ({middle.low:.2f} .. "
        f"{middle.high:.2f}) of plain Keras (at most {MOST_RATIO})"
    )
    if results is not None:
        text = json.dumps({"ratios": found, "large": toy._asdict()}, indent=1)
        results.write_text(f"{text}\n", encoding="utf-8")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    if parser.parse_args().quick:
        main(1, None, steps=5)
    else:
        main(5, RESULTS)
