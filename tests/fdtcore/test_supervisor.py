"""Real jobs under mpirun, without TensorFlow: exit codes, signals, nothing left."""

import contextlib
import os
import pty
import signal
import sys
import time
from pathlib import Path

import pytest

from fdtcore.snapshots.stop_requests import STOPPED_CODE
from tests.processes import Process, environ, is_running, wait_until

STUB = Path(__file__).with_name("launcher_stub.py")
pytestmark = pytest.mark.mpi


def start(size, logs, *words):
    return Process(sys.executable, STUB, size, logs, *words)


def finish(job):
    done = job.ended()
    return done.returncode, done.stdout, done.stderr


def wait_for_ranks(job, logs, count):
    job.wait_until(lambda: len(pids(logs)) == count, f"{count} ranks")


def last(err):
    return err.splitlines()[-1]


def pids(logs):
    return [int(file.read_text()) for file in logs.glob("pid-*")]


@pytest.fixture
def logs(tmp_path):
    yield tmp_path
    left = [pid for pid in pids(tmp_path) if is_running(pid)]
    for pid in left:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    assert not left, "processes were left running"


@pytest.mark.parametrize("size", [1, 3])
def test_a_job_that_ends_well(logs, size):
    code, out, err = finish(start(size, logs, "end"))
    assert (code, out, last(err)) == (0, f"out rank 0/{size}\n", "stub: None")
    assert len(pids(logs)) == size
    for rank in range(1, size):
        text = (logs / f"rank-{rank}.log").read_text()
        assert text == f"out rank {rank}/{size}\nerr rank {rank}/{size}\n"


def test_a_rank_that_is_killed_is_named(logs):
    code, _, err = finish(start(2, logs, "kill-9"))
    assert code == 137
    assert "rank 1/2 (" in last(err)
    assert "was killed by signal 9 (SIGKILL). Often the machine ran out" in last(err)
    assert last(err).endswith(f"See {logs / 'rank-1.log'}.")


def test_a_rank_that_exits_is_named_and_its_code_passed_on(logs):
    code, _, err = finish(start(2, logs, "exit-3"))
    assert code == 3
    assert last(err).startswith("stub: rank 1/2 ended with exit code 3.")


def test_mpiruns_own_words_are_not_shown(logs):
    _, _, err = finish(start(2, logs, "kill-9"))
    assert err.splitlines()[:-1] == ["err rank 0/2"]


def test_one_rank_speaks_for_itself(logs):
    code, _, err = finish(start(1, logs, "raise", "0"))
    assert (code, last(err)) == (1, "stub: None")
    assert "ValueError: bad value" in err


def test_one_rank_that_is_killed_cannot_speak_for_itself(logs):
    code, _, err = finish(start(1, logs, "kill-9", "0"))
    assert code == 137
    assert "rank 0/1 was killed by signal 9 (SIGKILL)" in last(err)


def test_a_recorded_failure_is_named_and_ends_a_job_that_hangs(logs):
    code, _, err = finish(start(2, logs, "record"))
    assert code != 0
    assert "rank 1/2 (" in last(err)
    assert "failed: ValueError: bad value (launcher_stub.py:" in last(err)
    assert 'raise ValueError("bad value"))' in last(err)


def test_a_failure_that_the_script_swallows_is_a_failure(logs):
    code, _, err = finish(start(2, logs, "swallow"))
    assert code == 1
    assert "failed: ValueError: bad value" in last(err)


@pytest.mark.parametrize(
    ("size", "number", "behaviour"),
    [
        (1, signal.SIGINT, "sleep"),
        (1, signal.SIGTERM, "stubborn"),
        (2, signal.SIGINT, "sleep"),
        (2, signal.SIGINT, "stubborn"),
        (2, signal.SIGTERM, "stubborn"),
        (2, signal.SIGHUP, "sleep"),
        (2, signal.SIGQUIT, "sleep"),
    ],
)
def test_a_signal_to_the_launcher_stops_every_rank(logs, size, number, behaviour):
    job = start(size, logs, behaviour, str(size - 1))
    wait_for_ranks(job, logs, size)
    job.send(number)
    code, _, err = finish(job)
    assert code == 128 + number
    assert last(err) == f"stub: stopped by {number.name}; every rank has ended."
    assert "Abort is in progress" not in err


def press_ctrl_c(logs, size, behaviour):
    """Returns the code and the output of a job whose terminal is interrupted."""
    pid, terminal = pty.fork()
    if pid == 0:  # the terminal's foreground job, as under a shell
        words = [sys.executable, str(STUB), str(size), str(logs), behaviour]
        os.execve(words[0], words, environ())
    text = b""
    try:
        wait_until(lambda: len(pids(logs)) == size, f"{size} ranks")
        os.write(terminal, b"\x03")
        with contextlib.suppress(OSError):  # how a terminal tells its end
            while data := os.read(terminal, 4096):
                text += data
        _, status = os.waitpid(pid, 0)
    finally:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status), text


@pytest.mark.parametrize("size", [1, 2])
def test_ctrl_c_in_a_terminal_stops_every_rank(logs, size):
    code, text = press_ctrl_c(logs, size, "sleep")
    assert code == 130
    assert b"stub: stopped by SIGINT; every rank has ended." in text


@pytest.mark.parametrize("size", [1, 2])
def test_ctrl_c_lets_ranks_keep_a_snapshot(logs, size):
    code, text = press_ctrl_c(logs, size, "keep")
    assert code == STOPPED_CODE
    assert b"stub: None" in text  # rank 0 says where the snapshot is
    assert (logs / "told-0").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_job_that_keeps_snapshots_ends_with_its_own_code(logs, number):
    job = start(2, logs, "keep")
    wait_for_ranks(job, logs, 2)
    job.send(number)
    assert finish(job)[0] == STOPPED_CODE


def test_only_a_second_signal_ends_what_takes_its_time_with_a_snapshot(logs):
    job = start(1, logs, "slow-keep", "0")
    wait_for_ranks(job, logs, 1)
    job.send(signal.SIGINT)
    wait_until((logs / "told-0").exists, "the first Ctrl-C to reach the rank")
    job.send(signal.SIGINT)
    assert finish(job)[0] == 130


def test_a_second_ctrl_c_does_not_wait(logs):
    job = start(1, logs, "stubborn", "0")
    wait_for_ranks(job, logs, 1)
    job.send(signal.SIGINT)
    wait_until((logs / "told-0").exists, "the first Ctrl-C to reach the rank")
    job.send(signal.SIGINT)
    assert finish(job)[0] == 130


def test_three_fast_ctrl_c_end_with_the_line_and_the_code(logs):
    job = start(2, logs, "sleep")
    wait_for_ranks(job, logs, 2)
    for _ in range(12):  # also while the launcher ends
        job.send(signal.SIGINT)
        time.sleep(0.05)  # as fast as fingers are
    code, _, err = finish(job)
    assert (code, last(err)) == (130, "stub: stopped by SIGINT; every rank has ended.")


@pytest.mark.parametrize(("size", "code"), [(1, 0), (2, 0), (2, 3)])
def test_what_a_rank_started_itself_ends_with_the_job(logs, size, code):
    rank = str(size - 1)
    words = ("family", rank) if code == 0 else (f"family-{code}", rank)
    job = start(size, logs, *words)
    wait_for_ranks(job, logs, size + 1)  # and the child
    if code == 0 and size > 1:  # the other rank goes on: end the job
        job.send(signal.SIGTERM)
    finish(job)
    assert len(pids(logs)) == size + 1  # the fixture sees that none is running


def test_killing_the_launcher_stops_the_ranks(logs):
    job = start(2, logs, "sleep")
    wait_for_ranks(job, logs, 2)
    job.send(signal.SIGKILL)
    job.ended()
    wait_until(lambda: not any(map(is_running, pids(logs))), "the end of the ranks")


def test_killing_mpirun_stops_the_ranks(logs):
    job = start(2, logs, "sleep")
    wait_for_ranks(job, logs, 2)
    children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    code, _, err = finish(job)
    assert code == 137
    assert "the launcher was killed by signal 9 (SIGKILL)" in last(err)


def test_a_rank_reaches_the_terminal_past_its_file(logs):
    job = start(2, logs, "terminal")
    wait_for_ranks(job, logs, 2)
    job.wait_until(lambda: "for the user\n" in job.errors, "what rank 1 says")
    job.send(signal.SIGTERM)
    _, _, err = finish(job)
    assert "for the user\n" in err
    assert "for the user" not in (logs / "rank-1.log").read_text()


def test_what_does_not_exist_cannot_be_started(tmp_path):
    from fdtcore.launcher.supervisor import supervise

    with pytest.raises(FileNotFoundError):
        supervise([str(tmp_path / "none")], {}, filtered=False)
