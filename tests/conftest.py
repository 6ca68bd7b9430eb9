"""What several test files look at: each of these runs once."""

from __future__ import annotations

import concurrent.futures
import os
import sys

import pytest

from tests.commands import ROOT, run
from tests.tables import Rows

# All rows there are; not imported, as this file is loaded for pure tests as well.
TABLE = ROOT / "tests" / "nfdt" / "keras_rows.py"
CORES = 2  # of the machines that the tests are to be fast on


@pytest.fixture(autouse=True)
def environment():
    """What a test sets for its process is not passed on to the programs of others."""
    before = dict(os.environ)
    yield
    # Other threads start programs meanwhile: there must be no moment without a PATH.
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def pool():
    """Waits for jobs of the tables."""
    with concurrent.futures.ThreadPoolExecutor(CORES) as threads:
        yield threads


@pytest.fixture(scope="session")
def plain(tmp_path_factory, pool):
    """What plain Keras gives for each row, in one process that knows of no framework.

    It trains in the background until a row is asked for.
    """
    folder = tmp_path_factory.mktemp("plain")
    job = Rows(pool, [sys.executable], TABLE, folder)
    yield job
    job.stop()


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """What `make demo` leaves in its folder, and its output; of fewer epochs."""
    folder = tmp_path_factory.mktemp("demo")
    program = (sys.executable, ROOT / "examples" / "demo.py")
    return folder, run(*program, "--epochs", "3", folder=folder)
