"""Trains the CNN for one epoch; one worker may have several times as much to compute.

A slow machine computes all the time. A worker that slept instead would leave its core
to the others, whose steps would then be shorter than those that were measured when all
compute: so the slow one computes each batch several times over.
"""

import argparse
import os
from typing import Any

import keras

from benchmarks.contenders import shared
from fdtcore.process import Process


class Repeating(keras.Model):
    """A model whose steps take several times as long, and have the same gradients.

    Args:
        times: How often each sample of a batch stands in it.
        **parts: Inputs and outputs.
    """

    def __init__(self, times: int, **parts: Any) -> None:
        super().__init__(**parts)
        self.times = times

    def train_step(self, data: Any) -> Any:
        """Train on the batch with all samples repeated: losses are means."""
        return super().train_step(
            keras.tree.map_structure(
                lambda part: keras.ops.repeat(part, self.times, axis=0), data
            )
        )


def options() -> argparse.Namespace:
    """Read what the benchmark wants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True, help="of all workers")
    parser.add_argument("--slowdown", type=int, default=1, help="of one worker")
    parser.add_argument("--slow-rank", type=int, default=-1)
    return parser.parse_args()


def main() -> None:
    """Compile and fit; the trace has the times."""
    chosen = options()
    images, labels, _ = shared.read_data(chosen.batch * chosen.steps)
    plain = shared.build_model("cnn")
    is_slow = Process.from_environ(os.environ).rank == chosen.slow_rank
    times = chosen.slowdown if is_slow else 1
    model = Repeating(times, inputs=plain.inputs, outputs=plain.outputs)
    model.compile(shared.build_optimizer(), shared.build_loss(), metrics=["accuracy"])
    model.fit(images, labels, batch_size=chosen.batch, epochs=1, verbose=0)


if __name__ == "__main__":
    main()
