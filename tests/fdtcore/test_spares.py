"""Processes that wait to become ranks: what a rank does is done by one of them."""

import os
import signal
import sys

import pytest

from fdtcore.launcher.launchers import Job
from fdtcore.launcher.spares import Spares
from tests.processes import Process, environ, is_running, wait_until

pytestmark = pytest.mark.process

SCRIPT = """
import os, signal, sys, time
print(os.getcwd(), os.environ["WORD"])
print("LOADED_BY" in os.environ, "loaded" in sys.modules)
print(os.getpid(), *sys.argv[1:], file=sys.stderr)
how = sys.argv[1]
if how == "exit":
    sys.exit(7)
if how == "exit at once":
    os._exit(9)
if how == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if how == "raise":
    raise ValueError("bad value")
if how == "signal":
    signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75))
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def spares():
    found = Spares("tests.fdtcore.spare_stub")
    yield found
    waiting = found.waiting()
    found.close()
    assert not any(map(is_running, waiting))


def ready(spares, count):
    """Starts spares, and waits until they can be taken."""
    spares.fill(count, environ())
    folder = spares.folder
    wait_until(lambda: len(list(folder.glob("*.socket"))) == count, "the spares")
    return spares.waiting()


def command(spares, script, how):
    """Returns what a launcher starts as a rank."""
    words = (sys.executable, "-m", "tests.fdtcore.spare_stub", str(script), how)
    return spares.job(Job(words, 1)).command


@pytest.mark.parametrize(
    ("how", "code"),
    [("end", 0), ("exit", 7), ("exit at once", 9), ("raise", 1), ("kill", -9)],
)
def test_a_spare_does_what_the_rank_would_and_ends_as_it(spares, script, how, code):
    waiting = ready(spares, 1)
    job = Process(*command(spares, script, how), folder=script.parent, WORD="given")
    with job:
        done = job.ended()
    assert done.returncode == code
    if how != "kill":  # else it is not written any more
        assert done.stdout == f"{script.parent} given\nFalse True\n"
    pid, *words = done.stderr.splitlines()[0].split(" ", 1)
    assert (int(pid), words) == (*waiting, [how])
    assert ("ValueError: bad value" in done.stderr) == (how == "raise")
    assert spares.waiting() == set()


def test_a_signal_reaches_the_spare(spares, script):
    ready(spares, 1)
    words = command(spares, script, "signal")
    with Process(*words, folder=script.parent, WORD="given") as job:
        job.wait_for_text("ready")
        job.send(signal.SIGUSR1)
        assert job.ended().returncode == 75


def test_a_spare_ends_with_the_process_that_it_stands_for(spares, script):
    [pid] = ready(spares, 1)
    words = command(spares, script, "signal")
    with Process(*words, folder=script.parent, WORD="given") as job:
        job.wait_for_text("ready")
        job.send(signal.SIGKILL)
        job.ended()
    wait_until(lambda: not is_running(pid), "the end of the spare")


def test_a_stopped_one_is_ended_with_its_run(spares, script):
    [pid] = ready(spares, 1)
    words = command(spares, script, "signal")
    with Process(*words, folder=script.parent, WORD="given") as job:
        job.wait_for_text("ready")
        os.kill(pid, signal.SIGSTOP)
        job.send(signal.SIGKILL)
        job.ended()
    spares.end_taken()
    assert not is_running(pid)


def test_two_ranks_take_two_spares_and_a_third_runs_by_itself(spares, script):
    waiting = ready(spares, 2)
    words = command(spares, script, "end")
    pids = set()
    for _ in range(3):
        with Process(*words, folder=script.parent, WORD="given") as job:
            done = job.ended()
        assert done.returncode == 0, done.stderr
        pids.add(done.stderr.split()[0])
    assert {str(pid) for pid in waiting} < pids


def test_those_that_were_taken_are_replaced(spares, script):
    taken = ready(spares, 1)
    words = command(spares, script, "signal")
    with Process(*words, folder=script.parent, WORD="given") as job:
        job.wait_for_text("ready")
        assert spares.waiting() == set()
        assert not ready(spares, 1) & taken


def test_nobody_else_may_take_one(spares):
    assert spares.folder.stat().st_mode & 0o777 == 0o700
