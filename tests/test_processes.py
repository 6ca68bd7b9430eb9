"""What the tests start is waited for, and ends with all that it started."""

import os
import sys

import pytest

from tests.processes import Process, is_running, run, wait_until

# Starts a grandchild in a session of its own, and says who it is.
PARENT = """
import subprocess, sys, time
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
child = subprocess.Popen(sleeper, start_new_session=True)
print(child.pid, flush=True)
"""
STAYS = PARENT + "time.sleep(600)"


def python(text):
    return sys.executable, "-c", text


def test_code_output_and_errors_are_kept():
    done = run(*python("import sys; print('a'); print('b', file=sys.stderr); exit(3)"))
    assert (done.returncode, done.stdout, done.stderr) == (3, "a\n", "b\n")


def test_what_is_merged_is_in_the_order_of_writing():
    text = "import os; [os.write(n, b'%d' % n) for n in (1, 2, 1)]"
    with Process(*python(text), merged=True) as process:
        assert process.ended().stdout == "121"
        assert process.errors == ""


def test_a_log_is_kept(tmp_path):
    with Process(*python("print('kept')"), log=tmp_path / "log") as process:
        process.ended()
    assert (tmp_path / "log").read_text() == "kept\n"


def test_environment_of_an_outer_job_is_not_handed_down(monkeypatch):
    for name in ("HFDT_BATCH", "OMPI_COMM_WORLD_RANK", "SLURM_NTASKS", "MAKEFLAGS"):
        monkeypatch.setenv(name, "1")
    done = run(*python("import os; print(sorted(os.environ))"), NFDT_LOG="messages")
    for name in ("HFDT_BATCH", "OMPI_COMM_WORLD_RANK", "SLURM_NTASKS", "MAKEFLAGS"):
        assert f"'{name}'" not in done.stdout
    assert "'NFDT_LOG'" in done.stdout


def test_a_time_limit_ends_all_of_it():
    with Process(*python(STAYS)) as process:
        process.wait_for_text("\n")
        pids = [process.pid, int(process.output)]
        assert all(map(is_running, pids))
        with pytest.raises(AssertionError, match=r"ran longer than 0\.1 s"):
            process.ended(time_limit_s=0.1)
    assert not any(map(is_running, pids))


def test_leaving_the_block_ends_all_of_it():
    with Process(*python(STAYS)) as process:
        process.wait_for_text("\n")
        pids = [process.pid, int(process.output)]
    assert not any(map(is_running, pids))


def test_what_is_left_behind_is_named_and_ended(monkeypatch):
    monkeypatch.setattr("tests.processes.GONE_S", 0.1)
    process = Process(*python(PARENT))
    assert process.ended().returncode == 0
    left = process.left()
    assert list(left) == [int(process.output)]
    assert "time.sleep(600)" in str(left)
    assert not any(map(is_running, left))
    assert process.left() == {}


def test_waiting_for_text_fails_as_soon_as_the_command_has_ended():
    with Process(*python("print('other')")) as process:
        with pytest.raises(AssertionError, match="ended without 'text': other"):
            process.wait_for_text("text")


def test_a_condition_that_never_comes_is_named():
    with pytest.raises(AssertionError, match=r"waited 0\.05 s for rain"):
        wait_until(lambda: False, "rain", time_limit_s=0.05)


def test_a_zombie_does_not_run():
    pid = os.posix_spawn("/bin/true", ["true"], {})
    wait_until(lambda: not is_running(pid), "the end of true")
    assert os.waitpid(pid, 0) == (pid, 0)
