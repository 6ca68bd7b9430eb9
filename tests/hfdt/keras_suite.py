"""Keras's own tests, which its wheel ships, on one process and on several.

As a script it runs them both ways and prints how many pass::

    python -m tests.hfdt.keras_suite [-np N] [GROUP ...]
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import importlib.util
import pathlib
import re
import sys
import tempfile

from tests.processes import Process

SOURCE = pathlib.Path(importlib.util.find_spec("keras").origin).parent / "src"
# One job each, so that a rank that is lost takes no more than its group along.
GROUPS = {
    "optimizers": "optimizers/**/*_test.py",
    "losses": "losses/*_test.py",
    "metrics": "metrics/*_test.py",
    "callbacks": "callbacks/*_test.py",
    "data adapters": "trainers/data_adapters/*_test.py",
    "trainers": "trainers/*_test.py",
    "saving": "saving/*_test.py",
}
OUTCOME = re.compile(r"keras/src/(\S+::.+?) (PASSED|FAILED|SKIPPED|XFAIL|ERROR)\b")
# Modules that some of the files import first and few of their tests use: Keras's own
# conftest.py, which is not in the wheel, and other frameworks. One that is installed
# is taken as it is; the tests that use one that is not fail on one process as well.
STAND_INS = {
    "conftest": "import pytest\n"
    "def skip_if_backend(*_): return pytest.mark.skipif(False, reason='')\n",
    "torch": "class Tensor: pass\n",  # SciPy asks for it where there is a torch
    **dict.fromkeys(("grain", "pandas"), ""),
    "jax/__init__": "numpy = Array = None\n",
    "jax/experimental/__init__": "",
    "jax/experimental/sparse": "",
}
# Keras must not find them when it looks for what is installed.
PLUGIN = """
import pathlib, sys
import keras
sys.path.append(str(pathlib.Path(__file__).parent / "stand-ins"))
"""
_HELD = "reads what an optimizer has accumulated so far, which is of this rank alone"
_RANK_0 = "looks on every rank at what the callback keeps or writes, on rank 0 only"
_STRATEGY = "makes a strategy of tf.distribute, which is refused"
_ACCUMULATION = "optimizers/optimizer_test.py::OptimizerTest::"
# What need not pass on several ranks, a test or a file, and why.
EXCEPTIONS = {
    f"{_ACCUMULATION}test_gradient_accumulation": _HELD,
    f"{_ACCUMULATION}test_overwrite_with_gradient_with_gradient_accumulation": _HELD,
    "callbacks/backup_and_restore_test.py": _RANK_0,
    "callbacks/csv_logger_test.py": _RANK_0,
    "callbacks/tensorboard_test.py": _RANK_0,
    "callbacks/swap_ema_weights_test.py::SwapEMAWeightsTest::"
    "test_swap_ema_weights_with_tf_distribute": _STRATEGY,
    "trainers/data_adapters/tf_dataset_adapter_test.py::TestTFDatasetAdapter::"
    "test_distributed_datasets_from_function_adapter_properties": _STRATEGY,
    "trainers/data_adapters/tf_dataset_adapter_test.py::TestTFDatasetAdapter::"
    "test_distributed_datasets_from_function_model_integration": _STRATEGY,
}


def files(group: str) -> list[str]:
    """Returns the test files of a group, relative to Keras's source."""
    return sorted(str(p.relative_to(SOURCE)) for p in SOURCE.glob(GROUPS[group]))


def run(names: list[str], size: int | None, timeout_s: float) -> list[dict[str, str]]:
    """Runs tests of Keras.

    Args:
        names: Files or single tests, relative to Keras's source.
        size: Number of ranks; None for plain Python.
        timeout_s: Time after which the job is ended.

    Returns:
        Outcome of each test by its name, for each rank.
    """
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)
        (here / "pytest.ini").write_text("[pytest]\n")
        launch = ["-m", "hfdt.cli", "run", "-np", str(size), "--output", "logs"]
        words = [
            *(launch if size else []),
            *("-m", "pytest", "-v", "-p", "no:cacheprovider", "-W", "ignore"),
            *(
                "-p",
                "keras_suite_stand_ins",
                "--continue-on-collection-errors",
                "--tb=short",
            ),
            *("-c", str(here / "pytest.ini"), f"--rootdir={SOURCE}"),
            # The others fail alike on all ranks, and pytest deselects by beginning.
            *(
                f"--deselect={n}"
                for n, why in EXCEPTIONS.items()
                if size and why != _HELD
            ),
            *(str(SOURCE / name) for name in names),
        ]
        log = here / "rank-0.log"
        _write_stand_ins(here)
        words = [sys.executable, *words]
        with Process(*words, folder=here, log=log, modules=[here], lean=False) as job:
            # What runs too long has no outcome, which the caller sees.
            with contextlib.suppress(AssertionError):
                job.ended(timeout_s)
        others = [here / "logs" / f"rank-{rank}.log" for rank in range(1, size or 1)]
        return [
            outcomes(log.read_text() if log.exists() else "")
            for log in [here / "rank-0.log", *others]
        ]


def _write_stand_ins(folder: pathlib.Path) -> None:
    (folder / "keras_suite_stand_ins.py").write_text(PLUGIN)
    for name, text in STAND_INS.items():
        package = name.partition("/")[0]
        if package == "conftest" or importlib.util.find_spec(package) is None:
            path = (folder / "stand-ins" / name).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def outcomes(text: str) -> dict[str, str]:
    """Reads the outcome of each test from pytest's verbose output."""
    return dict(OUTCOME.findall(text))


def excepted(name: str) -> bool:
    """Whether a test need not pass on several ranks."""
    return name in EXCEPTIONS or name.partition("::")[0] in EXCEPTIONS


def lost(plain: dict[str, str], ranks: list[dict[str, str]]) -> list[str]:
    """Returns the tests that pass on one process but not on every rank."""
    passed = [n for n, found in plain.items() if found == "PASSED" and not excepted(n)]
    return [n for n in passed if any(rank.get(n) != "PASSED" for rank in ranks)]


def main() -> int:
    """Prints a line for each group and the tests that several ranks lose."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-np", type=int, default=2, help="number of ranks")
    parser.add_argument("groups", nargs="*", default=list(GROUPS))
    arguments = parser.parse_args()
    missing = []
    for group in arguments.groups:
        (plain,) = run(files(group), None, 3600)
        ranks = run(files(group), arguments.np, 3600)
        counts = collections.Counter(plain.values())
        left_out = sum(excepted(n) for n, found in plain.items() if found == "PASSED")
        gone = lost(plain, ranks)
        missing += gone
        print(
            f"{group}: {counts['PASSED']} pass on one process; on {arguments.np} "
            f"{counts['PASSED'] - left_out - len(gone)} pass, {left_out} are left out",
            *(f"  lost: {name}" for name in gone),
            sep="\n",
            flush=True,
        )
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
