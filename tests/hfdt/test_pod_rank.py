"""Ranks that pods start, here as processes of one machine that share a port."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import sys
import threading

import pytest

from fdtcore import output
from hfdt import pod_rank
from tests.processes import ROOT, Process

LOOPBACK = "127.0.0.1"
SCRIPT = ROOT / "tests" / "cluster" / "script.py"


@pytest.fixture
def port(monkeypatch):
    """A port of this test's own, in place of the one that each pod has."""
    with socket.create_server((LOOPBACK, 0)) as server:
        found = server.getsockname()[1]
    monkeypatch.setattr(pod_rank, "PORT", found)
    return found


def test_the_index_of_the_pod_is_the_rank():
    assert pod_rank.rank_of({"JOB_COMPLETION_INDEX": "2"}, 3) == 2


@pytest.mark.parametrize("index", [None, "", "3", "-1", "a"])
def test_an_index_that_is_none_is_refused(index):
    environ = {} if index is None else {"JOB_COMPLETION_INDEX": index}
    found = re.escape(index or "nothing")
    with pytest.raises(ValueError, match=rf"in 0\.\.2\. Received: {found}\. Set compl"):
        pod_rank.rank_of(environ, 3)


@pytest.mark.horovod
def test_what_a_rank_is_told():
    told = pod_rank.rank_environ(1, 3, "eth0", "10.0.0.7")
    assert (told["HOROVOD_RANK"], told["HOROVOD_SIZE"]) == ("1", "3")
    assert (told["HOROVOD_LOCAL_RANK"], told["HOROVOD_LOCAL_SIZE"]) == ("0", "1")
    assert (told["HOROVOD_CROSS_RANK"], told["HOROVOD_CROSS_SIZE"]) == ("1", "3")
    assert told["HOROVOD_GLOO_RENDEZVOUS_ADDR"] == "10.0.0.7"
    assert told["HOROVOD_GLOO_IFACE"] == "eth0"
    names = {pod_rank.rank_environ(r, 3, "", "")["HOROVOD_HOSTNAME"] for r in range(3)}
    assert len(names) == 3


@pytest.mark.horovod
def test_the_output_of_a_pod_stays_in_its_log():
    told = pod_rank.rank_environ(1, 3, "eth0", "10.0.0.7")
    assert output.job_name(told) is not None
    assert output.job_name({**told, "JOB_COMPLETION_INDEX": "1"}) is None
    several = {**told, "JOB_COMPLETION_INDEX": "0", "HOROVOD_LOCAL_SIZE": "2"}
    assert output.job_name(several) is not None


@pytest.mark.horovod
def test_no_rank_goes_on_before_all_have_arrived(port):
    del port
    gone_on = []

    def arrive(rank):
        pod_rank.arrive(rank, LOOPBACK, 60)
        gone_on.append(rank)

    def serve():
        with pod_rank.rendezvous(LOOPBACK, 3, 60):
            gone_on.append(0)
            ended.wait(60)

    ended = threading.Event()
    threads = [threading.Thread(target=arrive, args=(1,))]
    threads += [threading.Thread(target=serve)]
    for thread in threads:
        thread.start()
    threads[0].join(timeout=1)
    assert gone_on == []
    arrive(2)
    threads[0].join(timeout=60)
    ended.set()
    threads[1].join(timeout=60)
    assert sorted(gone_on) == [0, 1, 2]


@pytest.mark.horovod
def test_ranks_that_do_not_arrive_are_named(port):
    del port
    with pytest.raises(
        ValueError, match=r"within 0 s\. Received: 1 of 9, without 1, 2, "
    ):
        with pod_rank.rendezvous(LOOPBACK, 9, 0):
            raise AssertionError


def test_a_first_rank_that_is_not_there_is_named(port):
    with pytest.raises(ValueError, match=f"no word from {LOOPBACK} port {port}"):
        pod_rank.arrive(1, LOOPBACK, 0.1)


def start(stack, port, rank, size, *words):
    """Starts the rank of one pod; all pods have the address of this machine here."""
    code = (
        f"import sys; from hfdt import pod_rank; pod_rank.PORT = {port}; "
        "sys.exit(pod_rank.main(sys.argv[1:], 120))"
    )
    command = (sys.executable, "-c", code, size, "localhost", *words)
    told = {"JOB_COMPLETION_INDEX": str(rank), "HFDT_INTERFACE": LOOPBACK}
    return stack.enter_context(Process(*command, **told))


@pytest.mark.horovod
@pytest.mark.slow
def test_ranks_train_together_in_whatever_order_they_start(port):
    with contextlib.ExitStack() as stack:
        ranks = [start(stack, port, rank, 3, SCRIPT, "epochs", 2) for rank in (2, 0, 1)]
        done = [rank.ended() for rank in ranks]
    assert [one.returncode for one in done] == [0, 0, 0], done
    losses = {re.findall(r"^loss (\S+)", one.stdout, re.M)[0] for one in done}
    assert len(losses) == 1
    assert "part r of 3" in done[1].stderr


@pytest.mark.horovod
def test_a_rank_that_is_killed_is_named(port, tmp_path):
    script = tmp_path / "train.py"
    script.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with contextlib.ExitStack() as stack:
        done = start(stack, port, 0, 1, script).ended()
    assert done.returncode == 137
    assert "hfdt: rank 0/1 was killed by signal 9 (SIGKILL). Often" in done.stderr


@pytest.mark.horovod
def test_a_pod_that_is_deleted_tells_its_program(port, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)"
    )
    with contextlib.ExitStack() as stack:
        pod = start(stack, port, 0, 1, script)
        pod.wait_for_text("ready")
        pod.send(signal.SIGTERM)
        assert pod.ended(60).returncode == 5
        assert not pod.left()


@pytest.mark.horovod
def test_the_exit_code_is_that_of_the_program(port, tmp_path):
    script = tmp_path / "train.py"
    script.write_text("raise SystemExit(7)")
    with contextlib.ExitStack() as stack:
        assert start(stack, port, 0, 1, script).ended().returncode == 7


def test_a_pod_without_an_index_is_refused_in_one_line(port, capsys, monkeypatch):
    del port
    monkeypatch.delenv("JOB_COMPLETION_INDEX", raising=False)
    assert pod_rank.main(["3", "train-0.train", "train.py"]) == 2
    assert capsys.readouterr().err.startswith("hfdt: JOB_COMPLETION_INDEX must lie in")
