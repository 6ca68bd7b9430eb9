"""A job that is killed and goes on, beside one that is not: the picture of the README.

``python -m benchmarks.interruption docs/resume.png`` runs both, says whether they end
alike, and draws their losses over time.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.processes import Process, run

SCRIPT = Path(__file__).parent / "contenders" / "interrupted.py"
RUN = (sys.executable, "-m", "hfdt.cli", "run", "-np", "2")
SNAPSHOT = ("--snapshot", "s", "--resume", "auto", "--snapshot-every", "1s")
KILLED_AT = 300  # batches


class Loss(NamedTuple):
    """The loss after a batch."""

    seconds: float  # since the start
    batch: int  # from 1
    loss: float  # mean of the epoch so far


def read(text: str, start: float = 0.0) -> list[Loss]:
    """Returns the losses that a script has noted, in the order of its notes.

    Args:
        text: Lines of time, batch and loss; the last one may be cut short.
        start: When the job was started.
    """
    rows = [line.split() for line in text.splitlines(keepends=True) if "\n" in line]
    return [Loss(float(t) - start, int(n), float(loss)) for t, n, loss in rows]


def repeated(losses: list[Loss]) -> int:
    """Returns how many batches were trained again after an interruption."""
    return len(losses) - len({one.batch for one in losses})


def differing(one: list[Loss], other: list[Loss]) -> int:
    """Returns after how many batches two jobs had another loss, first or again."""
    expected = {row.batch: row.loss for row in one}
    return sum(expected.get(row.batch) != row.loss for row in other)


def draw(undisturbed: list[Loss], killed: list[Loss], again: int, path: Path) -> None:
    """Draws the losses of both jobs over time.

    Args:
        undisturbed: Of the job that runs through.
        killed: Of the job that was killed.
        again: Place in these of the first one after that.
        path: Where the picture is written.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")

    def line(rows: list[Loss], **style: Any) -> None:
        axes.plot([r.seconds for r in rows], [r.loss for r in rows], **style)

    line(undisturbed, color="0.6", label="undisturbed")
    line(killed[:again], color="C0", label="killed, then resumed")
    line(killed[again:], color="C0")
    axes.axvline(killed[again - 1].seconds, color="C3", ls="--", label="kill -9")
    axes.set(xlabel="seconds since the start", ylabel="loss", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=110)


def main(path: Path) -> None:
    """Runs both jobs, and draws them."""
    folder = Path(tempfile.mkdtemp())
    given = {"folder": folder, "lean": False}
    start = time.time()
    alone = run(*RUN, SCRIPT, LOSSES=str(folder / "alone"), **given)
    undisturbed = read((folder / "alone").read_text(), start)
    start, file = time.time(), folder / "killed"
    words = (*RUN, *SNAPSHOT, SCRIPT)
    with Process(*words, LOSSES=str(file), **given) as job:
        job.wait_until(
            lambda: file.exists() and len(read(file.read_text())) >= KILLED_AT,
            f"{KILLED_AT} batches",
        )
        job.end()
    before = len(read(file.read_text()))
    resumed = run(*words, LOSSES=str(file), **given)
    killed = read(file.read_text(), start)
    shutil.rmtree(folder)
    print(f"undisturbed: {alone.stdout.strip()}")
    print(f"resumed:     {resumed.stdout.strip()}")
    print(resumed.stderr.strip())
    print(
        f"{len(undisturbed)} batches; killed after {before}, of which "
        f"{repeated(killed)} were trained again; "
        f"{differing(undisturbed, killed)} losses differ"
    )
    draw(undisturbed, killed, before, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
