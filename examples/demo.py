"""Trains the digits on one process and on two, the same script, and compares.

    python examples/demo.py

Last line: the picture is demo.png
"""

import argparse
import csv
import dataclasses
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import matplotlib

from fdtcore import output

SCRIPT = Path(__file__).with_name("digits_single.py")
LAST_LINE = re.compile(
    r"test accuracy (?P<accuracy>[\d.]+), .* in (?P<time_s>[\d.]+) s, "
    r"(?P<images_per_s>\d+) images/s"
)


@dataclasses.dataclass(frozen=True)
class Options:
    """What may be chosen on the command line."""

    processes: int = 2  # of the second run
    epochs: int = 15  # of both runs
    picture: str = "demo.png"  # where the loss curves are drawn


class Run(NamedTuple):
    """What one run of the script came to."""

    title: str
    accuracy: float
    time_s: float  # of ``fit``, with TensorFlow's tracing
    images_per_s: int
    losses: list[float]  # one an epoch, as are the next
    validation_losses: list[float]


def train(title: str, program: list[str], epochs: int) -> Run:
    """Runs the script as a user would, and reads its last line and its CSV file.

    Args:
        title: Name of the run.
        program: What the script is run by.
        epochs: Handed to the script.

    Raises:
        SystemExit: The script failed; its words stand on the terminal.
    """
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder, "history.csv")
        command = [*program, str(SCRIPT), "--epochs", str(epochs)]
        command += ["--history", str(history)]
        print(f"{title} ...", flush=True)
        with output.quiet():  # a plain process says what TensorFlow says at its start
            done = subprocess.run(
                command, env=_environment(), stdout=subprocess.PIPE, text=True
            )
        if done.returncode:
            raise SystemExit(done.returncode)
        rows = list(csv.DictReader(history.read_text().splitlines()))
    last = done.stdout.splitlines()[-1]
    if not (found := LAST_LINE.fullmatch(last)):
        raise SystemExit(f"the script must end with its result. Received: {last!r}.")
    return Run(
        title,
        float(found["accuracy"]),
        float(found["time_s"]),
        int(found["images_per_s"]),
        [float(row["loss"]) for row in rows],
        [float(row["val_loss"]) for row in rows],
    )


def draw(one: Run, several: Run, path: str) -> None:
    """Draws both runs' losses, the second as dots on the first one's lines."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    epochs = range(1, len(one.losses) + 1)
    for name, color in (("losses", "tab:blue"), ("validation_losses", "tab:orange")):
        word = "training" if name == "losses" else "validation"
        label = f"{word}, {one.title}"
        axes.plot(epochs, getattr(one, name), color=color, alpha=0.5, lw=4, label=label)
        label = f"{word}, {several.title}"
        axes.plot(epochs, getattr(several, name), "o", color=color, ms=4, label=label)
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("cross-entropy")
    axes.set_title("Handwritten digits: the same script on one process and on several")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    figure.savefig(path, dpi=150)


def table(runs: list[Run]) -> str:
    """Returns one line a run below a heading."""
    lines = [f"{'':12} {'accuracy':>9} {'loss':>10} {'time':>8} {'images/s':>9}"]
    for run in runs:
        lines.append(
            f"{run.title:12} {run.accuracy:9.4f} {run.losses[-1]:10.6f} "
            f"{run.time_s:6.1f} s {run.images_per_s:9}"
        )
    return "\n".join(lines)


def main(options: Options) -> None:
    """Trains twice, draws, and prints the table."""
    several_by = [sys.executable, "-m", "hfdt.cli", "run"]
    several_by += ["-np", str(options.processes)]
    one = train("1 process", [sys.executable], options.epochs)
    title = f"{options.processes} processes"
    several = train(title, several_by, options.epochs)
    draw(one, several, options.picture)
    apart = max(abs(a - b) for a, b in zip(one.losses, several.losses, strict=True))
    print(f"\n{table([one, several])}\n")
    cores = len(os.sched_getaffinity(0))
    print(f"one process uses all of the {cores} cores, and so do several")
    print(f"the losses of the epochs differ by {apart:.0e} at most")
    print(f"the picture is {options.picture}")


def _environment() -> dict[str, str]:
    # TensorFlow's start-up messages, of which `hfdt run` rids its own ranks.
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


def parse_options() -> Options:
    """Reads the command line, which has an option for each field."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for field in dataclasses.fields(Options):
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(name, type=type(field.default), default=field.default)
    return Options(**vars(parser.parse_args()))


if __name__ == "__main__":
    main(parse_options())
