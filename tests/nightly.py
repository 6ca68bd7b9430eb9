"""Tries the nightly of Keras: its contracts, then ten programs by both frameworks.

    python -m tests.nightly [FOLDER]

It is installed into a folder that stands in front of the environment's own Keras, or it
is what stands in FOLDER already. What has moved is named by the contracts; the programs
are compared with plain training by the same nightly.
"""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from tests.processes import LEAN, ROOT
from tests.tables import Rows

FOLDER = ROOT / "build" / "keras-nightly"
TABLE = ROOT / "tests" / "hfdt" / "equality_rows.py"
CONTRACTS = "tests/fdtcore/test_keras_internals.py"
ROWS = (
    *("sgd_momentum", "adamw_weight_decay", "float8", "steps_per_execution"),
    *("jit_compile", "on_batch", "dataset_of_unknown_length", "py_dataset"),
    *("own_train_step", "tape_loop_graph"),
)
TOLERANCE = 5e-4  # as between ranks
RANKS = [sys.executable, "-m", "hfdt.cli", "run", "-np", "2"]
SERVER = [sys.executable, "-m", "nfdt"]


def main(*folders: str) -> int:
    """Tries it; returns 0 where nothing of what we use has moved, and numbers agree."""
    folder = pathlib.Path(*folders) if folders else install()
    path = os.pathsep.join(map(str, (folder, LEAN, ROOT)))
    contracts = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "--durations=0", CONTRACTS],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
        text=True,
        capture_output=True,
    )
    told = contracts.stdout.splitlines()
    print(*[line for line in told if is_told(line)], sep="\n")
    wrong = programs(path)
    print(*wrong or [f"{len(ROWS)} programs: the numbers of plain training"], sep="\n")
    return int(contracts.returncode != 0 or bool(wrong))


def install() -> pathlib.Path:
    """Installs the nightly beside the environment; returns its folder."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--pre"]
    subprocess.run(
        [*command, "--no-deps", "--target", FOLDER, "keras-nightly"], check=True
    )
    return FOLDER


def is_told(line: str) -> bool:
    """Whether a line of pytest says which Keras was seen, or what has moved."""
    if line.startswith("PASSED"):
        return "seen_with" in line
    return line.startswith(("FAILED", "ERROR", "E   ")) or " in " in line[-20:]


def programs(path: str) -> list[str]:
    """Trains the programs in three ways; returns a line for each that differs."""
    with (
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        tempfile.TemporaryDirectory() as folder,
    ):
        jobs = {}
        for name, command, environ in (
            ("plain", [sys.executable], {}),
            ("hfdt", RANKS, {}),
            ("nfdt", SERVER, {"NFDT_ALGORITHM": "asgd"}),
        ):
            own = pathlib.Path(folder, name)
            own.mkdir()
            environ = {**environ, "PYTHONPATH": path}
            jobs[name] = Rows(pool, command, TABLE, own, ROWS, **environ)
        return [
            line
            for name in ("hfdt", "nfdt")
            for row in ROWS
            for line in differences(name, row, jobs["plain"], jobs[name])
        ]


def differences(name: str, row: str, plain: Rows, job: Rows) -> list[str]:
    """Compares one program; returns what to say of it, nothing where it is equal."""
    try:
        expected, found = plain.row(row), job.row(row)
    except AssertionError as error:
        return [f"{name}, {row}: {str(error).splitlines()[-1]}"]
    return [
        f"{name}, {row}: {key} differs"
        for key, value in expected.items()
        if not np.allclose(found[key], value, TOLERANCE, TOLERANCE / 10, equal_nan=True)
    ]


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
