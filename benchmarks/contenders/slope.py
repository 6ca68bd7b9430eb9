"""Fits of several lengths, timed; plain Keras, and HFDT and NFDT run it as it stands.

What a fit of six epochs takes more than one of two is four epochs in the steady state.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy.typing as npt

from benchmarks.contenders import networks, shared
from benchmarks.steps.works import Fit

MOMENTUM = 0.9


class Batches(keras.utils.PyDataset):
    """Arrays, read batch by batch in Python.

    Args:
        x: Inputs.
        y: Labels.
        size: Samples of a batch.
    """

    def __init__(self, x: npt.NDArray, y: npt.NDArray, size: int) -> None:
        super().__init__()
        self.x, self.y, self.size = x, y, size

    def __len__(self) -> int:
        return len(self.x) // self.size

    def __getitem__(self, index: int) -> tuple[npt.NDArray, npt.NDArray]:
        part = slice(index * self.size, (index + 1) * self.size)
        return self.x[part], self.y[part]


def generate(batches: Batches) -> Iterator[tuple[npt.NDArray, npt.NDArray]]:
    """Yield the batches again and again."""
    while True:
        yield from (batches[index] for index in range(len(batches)))


# Kind of data -> the arguments of ``fit`` for it. HFDT takes the steps of an epoch as
# those of each rank where a rank has whole batches, so all ranks' are not counted.
DATA: dict[str, Callable[[Batches, int], dict[str, Any]]] = {
    "arrays": lambda data, steps: {"x": data.x, "y": data.y, "batch_size": data.size},
    "pydataset": lambda data, steps: {"x": data},
    "generator": lambda data, steps: {"x": generate(data), "steps_per_epoch": steps},
}


def options(description: str) -> argparse.Namespace:
    """Read the options that every measurement of a slope takes.

    Args:
        description: First line of the help.

    Returns:
        ``model``, ``batch``, ``data``, ``ranks``, ``fits`` and ``tail``.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", choices=networks.NETWORKS, required=True)
    parser.add_argument("--batch", type=int, required=True, help="of each rank")
    parser.add_argument("--data", choices=DATA, default="arrays")
    parser.add_argument("--ranks", type=int, default=1, help="that share the data")
    parser.add_argument(
        "--fits", type=Fit.read, nargs="+", required=True, metavar="BATCHESxEPOCHS"
    )
    parser.add_argument(
        "--tail", type=Fit.read, help="a last, untimed fit", metavar="BATCHESxEPOCHS"
    )
    return parser.parse_args()


def optimizer() -> keras.optimizers.Optimizer:
    """Return the optimizer of all contenders."""
    return keras.optimizers.SGD(0.01, momentum=MOMENTUM)


def print_fits(
    fits: list[Fit], run: Callable[[Fit], None], trained: keras.optimizers.Optimizer
) -> None:
    """Run fits, and print the JSON line that the benchmark reads.

    It has the seconds and the page faults of each, all updates that were made, and the
    folder of the framework that trained, if one did.

    Args:
        fits: Their sizes, in order.
        run: Runs one.
        trained: The optimizer, which counts the updates.
    """
    found = []
    for fit in fits:
        start_s, before = time.perf_counter(), _page_faults()
        run(fit)
        seconds = time.perf_counter() - start_s
        found.append([*fit, round(seconds, 4), _page_faults() - before])
    framework = sys.modules.get("fdtcore")
    file = framework and framework.__file__
    code = str(Path(file).resolve().parent.parent) if file else ""
    updates = int(trained.iterations)
    print(json.dumps({"fits": found, "updates": updates, "code": code}), flush=True)


def _page_faults() -> int:
    """Return this process's page faults that needed no disk."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def main() -> None:
    """Compile, fit several times, print."""
    chosen = options("model.compile and model.fit")
    keras.utils.set_random_seed(1)
    model = networks.NETWORKS[chosen.model]()
    model.compile(optimizer(), shared.build_loss())
    most = max(fit.batches for fit in chosen.fits) * chosen.batch * chosen.ranks
    x, y = networks.samples(model, most)

    def run(fit: Fit) -> None:
        count = fit.batches * chosen.batch * chosen.ranks
        batches = Batches(x[:count], y[:count], chosen.batch)
        data = DATA[chosen.data](batches, fit.batches)
        model.fit(**data, epochs=fit.epochs, verbose=0)

    print_fits(chosen.fits, run, model.optimizer)
    if chosen.tail:
        run(chosen.tail)


if __name__ == "__main__":
    main()
