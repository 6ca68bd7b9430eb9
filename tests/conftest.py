"""What several test files look at: each of these runs once."""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import sys
import threading

import pytest

from tests import reach
from tests.pool import Pool
from tests.processes import ROOT, run
from tests.tables import Rows

# All rows there are; not imported, as this file is loaded for pure tests as well.
TABLE = ROOT / "tests" / "nfdt" / "keras_rows.py"
CORES = 2  # of the machines that the tests are to be fast on
# What a quick test must not do, as the interpreter tells of it.
STARTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system")


def pytest_ignore_collect(collection_path, config):
    """Quick tests are found without loading the modules that load TensorFlow."""
    if config.option.markexpr == "quick" and collection_path.suffix == ".py":
        if reach.loads_tensorflow(reach.module_of(collection_path)):
            return True
    return None


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items):
    """Marks each test with what it and its fixtures reach, or as quick.

    The longest come first, so that none is left at the end for one process alone, and
    the quick ones last.
    """
    for item in items:
        fixtures = item._fixtureinfo.name2fixturedefs.values()
        functions = [item.function, *(f.func for several in fixtures for f in several)]
        found = set().union(*map(_reached, functions))
        if "no_process" in item.fixturenames:
            found -= {"process"}
        for mark in found or {"quick"}:
            item.add_marker(mark)
    items.sort(key=_turn)


def _turn(item):
    return 2 if item.get_closest_marker("quick") else "pool" not in item.fixturenames


def _reached(function):
    path = pathlib.Path(function.__globals__.get("__file__", "/"))
    if not path.is_relative_to(ROOT):
        return set()  # a fixture of pytest's own
    module = reach.module_of(path)
    name = function.__qualname__.partition(".")[0]
    return reach.reached(f"{module}.{name}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Fails a quick test that is not quick."""
    _watched.broken = [] if item.get_closest_marker("quick") else None
    try:
        result = yield
        broken = _watched.broken
    finally:
        _watched.broken = None
    rule = "a quick test starts no process and imports no TensorFlow"
    assert not broken, f"{rule}. Received: {', '.join(broken)}. See tests/reach.py."
    return result


_watched = threading.local()  # jobs of other tests are started by other threads


def _watch(event, arguments):
    if getattr(_watched, "broken", None) is None:
        return
    if event in STARTS or (event == "import" and arguments[0] == "tensorflow"):
        _watched.broken.append(f"{event} {arguments[0] if arguments else ''}".strip())


sys.addaudithook(_watch)


@pytest.fixture
def no_process():
    """Marks a test that replaces what would start a process: a process fails it."""


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
def shared_folder(tmp_path_factory):
    """A folder that all processes of these tests have in common."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def pool(shared_folder):
    """Waits for jobs of the tables."""
    with Pool(shared_folder / "slots", CORES) as threads:
        yield threads


@pytest.fixture(scope="session")
def plain(shared_folder, pool):
    """What plain Keras gives for each row, in one process that knows of no framework.

    It trains in the background until a row is asked for, once for all that run tests.
    """
    (folder := shared_folder / "plain").mkdir(exist_ok=True)
    # A thread of its own: who waits for another's training needs no slot.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        job = Rows(thread, [sys.executable], TABLE, folder, shared=pool.slot)
        yield job
        job.stop()


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """What `make demo` leaves in its folder, and its output; of fewer epochs."""
    folder = tmp_path_factory.mktemp("demo")
    program = (sys.executable, ROOT / "examples" / "demo.py")
    return folder, run(*program, "--epochs", "3", folder=folder, lean=False)
