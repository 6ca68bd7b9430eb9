"""Keras's own tests, which its wheel ships, under one process and under several.

As a script it runs them both ways and prints how many pass::

    python tests/hfdt/keras_suite.py [-np N] [FILE ...]
"""

from __future__ import annotations

import argparse
import collections
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(importlib.util.find_spec("keras").origin).parent / "src"
FOLDERS = ("optimizers", "trainers", "callbacks", "losses", "metrics", "saving")
OUTCOME = re.compile(
    r"(\S*::\S.*?) (PASSED|FAILED|SKIPPED|XFAIL|ERROR)\b", re.MULTILINE
)
EXCEPTIONS: dict[str, str] = {}


def files() -> list[str]:
    """Returns the test files, relative to Keras's source."""
    found = [p for folder in FOLDERS for p in (SOURCE / folder).rglob("*_test.py")]
    return sorted(str(path.relative_to(SOURCE)) for path in found)


def run(file: str, size: int | None, timeout_s: float = 600) -> list[dict[str, str]]:
    """Runs the tests of one file.

    Args:
        file: The file, relative to Keras's source.
        size: Number of ranks; None for plain Python.
        timeout_s: Time after which the job is ended.

    Returns:
        Outcome of each test by its name, for each rank.
    """
    with tempfile.TemporaryDirectory() as folder:
        logs = pathlib.Path(folder, "logs")
        (config := pathlib.Path(folder, "pytest.ini")).write_text("[pytest]\n")
        launch = ["-m", "hfdt.cli", "run", "-np", str(size), "--output", str(logs)]
        words = [
            *(launch if size else []),
            *("-m", "pytest", "-v", "-p", "no:cacheprovider", "-W", "ignore"),
            *("--tb=short", "-c", str(config), f"--rootdir={SOURCE}"),
            *(f"--deselect={name}" for name in EXCEPTIONS if name.startswith(file)),
            str(SOURCE / file),
        ]
        # The first rank's output goes to a file: nothing waits for it to be read.
        with open(pathlib.Path(folder, "out"), "w+") as out:
            process = subprocess.Popen(
                [sys.executable, *words],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait(30)
            out.seek(0)
            texts = [out.read()]
        for rank in range(1, size or 1):
            log = logs / f"rank-{rank}.log"
            texts.append(log.read_text() if log.exists() else "")
    if keep := os.environ.get("KERAS_SUITE_KEEP"):
        name = file.replace("/", "-") + f".{size}"
        pathlib.Path(keep, name).write_text("\n=== RANK ===\n".join(texts))
    return [outcomes(text) for text in texts]


def outcomes(text: str) -> dict[str, str]:
    """Reads the outcome of each test from pytest's verbose output."""
    return {
        name.split("keras/src/")[-1]: outcome for name, outcome in OUTCOME.findall(text)
    }


def lost(plain: dict[str, str], ranks: list[dict[str, str]]) -> list[str]:
    """Returns the tests that pass on one process but not on every rank."""
    passed = [name for name, outcome in plain.items() if outcome == "PASSED"]
    return [n for n in passed if any(rank.get(n) != "PASSED" for rank in ranks)]


def main() -> int:
    """Prints a line for each file and the tests that several ranks lose."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-np", type=int, default=2, help="number of ranks")
    parser.add_argument("files", nargs="*", default=files())
    arguments = parser.parse_args()
    total: collections.Counter[str] = collections.Counter()
    missing = []
    for file in arguments.files:
        (plain,), ranks = run(file, None), run(file, arguments.np)
        gone = lost(plain, ranks)
        counts = collections.Counter(plain.values())
        total += counts
        total["lost"] += len(gone)
        missing += gone
        print(f"{file:60} {counts['PASSED']:5} passed, {len(gone)} lost", flush=True)
    print(f"one process: {dict(total)}; not on {arguments.np} ranks:", *missing, sep="\n")
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
