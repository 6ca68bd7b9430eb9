"""Trains the digits on one process and on several in two ways, and compares.

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
from nfdt.telemetry.summary import Summary

SCRIPT = Path(__file__).with_name("digits_single.py")
LAST_LINE = re.compile(
    r"test accuracy (?P<accuracy>[\d.]+), .* in (?P<time_s>[\d.]+) s, "
    r"(?P<images_per_s>\d+) images/s"
)


@dataclasses.dataclass(frozen=True)
class Options:
    """What may be chosen on the command line."""

    processes: int = 2  # that train, in the runs with several
    epochs: int = 15  # of each run
    picture: str = "demo.png"  # where the loss curves are drawn


class Run(NamedTuple):
    """What one run of the script came to."""

    title: str
    accuracy: float
    time_s: float  # of ``fit``, with TensorFlow's tracing
    images_per_s: int
    losses: list[float]  # one an epoch, as are the next
    validation_losses: list[float]
    staleness: float | None  # mean, in updates; None where no gradient is ever late


def train(title: str, program: list[str], processes: int, epochs: int) -> Run:
    """Runs the script as a user would, and reads its last line and its CSV file.

    Args:
        title: Name of the run.
        program: What the script is run by.
        processes: That train.
        epochs: Handed to the script.

    Raises:
        SystemExit: The script failed; its words stand on the terminal.
    """
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder, "history.csv")
        own, jobs = [], Path(folder)
        if program[-1] == "run":
            framework = program[-2].partition(".")[0]
            jobs = Path(f"{framework}-logs", "demo")  # kept: its line names them
            own = ["--output", str(jobs), "-np", str(processes)]
        command = [*program, *own, str(SCRIPT), "--epochs", str(epochs)]
        command += ["--history", str(history)]
        print(f"{title} ...", flush=True)
        with output.quiet():  # a plain process says what TensorFlow says at its start
            done = subprocess.run(
                command, env=_environment(), stdout=subprocess.PIPE, text=True
            )
        if done.returncode:
            raise SystemExit(done.returncode)
        rows = list(csv.DictReader(history.read_text().splitlines()))
        summary = jobs / "summary.json"
        staleness = None
        if summary.exists():
            staleness = Summary.from_json(summary.read_text()).mean_staleness
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
        staleness,
    )


def draw(runs: list[Run], path: str) -> None:
    """Draws the losses of all runs: validation dashed."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    styles = (("tab:blue", 5, 0.4), ("tab:orange", 1.5, 1.0), ("tab:green", 1.5, 1.0))
    for run, (color, width, alpha) in zip(runs, styles, strict=True):
        epochs = range(1, len(run.losses) + 1)
        look = {"color": color, "lw": width, "alpha": alpha}
        axes.plot(epochs, run.losses, label=run.title, **look)
        axes.plot(epochs, run.validation_losses, ls="--", **look)
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("cross-entropy")
    axes.set_title("Handwritten digits, one script: training and (dashed) validation")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    figure.savefig(path, dpi=150)


def table(runs: list[Run]) -> str:
    """Returns one line a run below a heading."""
    heading = ("accuracy", "loss", "time", "images/s", "staleness")
    lines = [f"{'':15}" + "".join(f"{word:>11}" for word in heading)]
    for run in runs:
        late = "-" if run.staleness is None else f"{run.staleness:.1f}"
        lines.append(
            f"{run.title:15}{run.accuracy:11.4f}{run.losses[-1]:11.6f}"
            f"{run.time_s:9.1f} s{run.images_per_s:11}{late:>11}"
        )
    return "\n".join(lines)


def main(options: Options) -> None:
    """Trains three times, draws, and prints the table."""
    count = options.processes
    programs = {
        "1 process": [sys.executable],
        f"HFDT, {count} ranks": [sys.executable, "-m", "hfdt.cli", "run"],
        f"NFDT, {count} workers": [sys.executable, "-m", "nfdt.cli", "run"],
    }
    runs = [train(t, p, count, options.epochs) for t, p in programs.items()]
    draw(runs, options.picture)
    one, synchronous, _ = (run.losses for run in runs)
    apart = max(abs(a - b) for a, b in zip(one, synchronous, strict=True))
    print(f"\n{table(runs)}\n")
    cores = len(os.sched_getaffinity(0))
    print(f"one process uses all of the {cores} cores, and so do several")
    print(f"HFDT's losses differ from those of one process by {apart:.0e} at most")
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
