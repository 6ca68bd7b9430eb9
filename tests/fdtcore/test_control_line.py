"""Real processes: what every rank says, and how it ends, when one goes wrong."""

import json
import pathlib
import re
import signal
import socket
import sys
from typing import NamedTuple

import pytest

from fdtcore import failures, interfaces
from fdtcore.control.control_line import ControlError, ControlLine
from fdtcore.failures import Failure
from fdtcore.process import Process
from tests import processes
from tests.processes import wait_until

JOB = pathlib.Path(__file__).with_name("control_job.py")
LIMIT_S = 30


class Ended(NamedTuple):
    """One rank's end."""

    code: int
    out: str
    err: str


class Job:
    """All ranks of one scenario; none outlives the ``with`` block."""

    def __init__(self, directory, scenario, size=2):
        self.directory = directory
        self.ranks = [
            processes.Process(sys.executable, JOB, rank, size, directory, scenario)
            for rank in range(size)
        ]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for rank in self.ranks:
            rank.end()

    def end(self, rank):
        done = self.ranks[rank].ended(LIMIT_S)
        return Ended(done.returncode, done.stdout, done.stderr)

    def ends(self):
        return [self.end(rank) for rank in range(len(self.ranks))]

    def ends_as_under_mpirun(self):
        """The first rank that exits with an error takes all others with it."""
        wait_until(lambda: any(r.returncode for r in self.ranks), "an error", LIMIT_S)
        for rank in self.ranks:
            rank.end()
        return self.ends()

    def terminal(self, rank):
        return (self.directory / f"terminal.{rank}").read_text()


def run(directory, scenario, size=2):
    with Job(directory, scenario, size) as job:
        return job.ends()


HEADLINE = "rank 1/{} (here) failed: ValueError: bad value (control_job.py:{}: {})"


def headline(size=2):
    lines = JOB.read_text().splitlines()
    number = next(
        i
        for i, text in enumerate(lines, 1)
        if text.strip().startswith("raise ValueError")
    )
    return HEADLINE.format(size, number, lines[number - 1].strip())


def test_orderly_end(tmp_path):
    for end in run(tmp_path, "orderly", size=3):
        assert end == Ended(0, "begin\ndone\n", "")
    assert failures.read_record(tmp_path) is None


def test_exception_on_one_rank_is_named_by_all(tmp_path):
    with Job(tmp_path, "raise", size=3) as job:
        ends = job.ends()
        on_terminal = [job.terminal(rank) for rank in range(3)]
    assert [end.code for end in ends] == [1, 1, 1]
    for rank in (0, 2):
        # One line, no traceback of the collateral error, nothing of the culprit lost.
        assert ends[rank].err == f"rank {rank}/3 stops: {headline(3)}\n"
    assert ends[1].err.startswith("rank 1/3: Traceback (most recent call last):\n")
    assert ends[1].err.endswith("ValueError: bad value\n")
    assert on_terminal == ["", ends[1].err, ""]
    record = failures.read_record(tmp_path)
    assert record.headline() == headline(3)
    assert record.traceback in ends[1].err


def test_all_have_spoken_before_the_first_exits(tmp_path):
    with Job(tmp_path, "raise", size=4) as job:
        ends = job.ends_as_under_mpirun()
    for rank, end in enumerate(ends):
        if rank == 1:
            assert end.err.endswith("ValueError: bad value\n")
        else:
            assert end.err == f"rank {rank}/4 stops: {headline(4)}\n"


def test_exception_on_rank_zero(tmp_path):
    zero, one = run(tmp_path, "raise_rank_zero")
    assert (zero.code, one.code) == (1, 1)
    assert zero.err.startswith("rank 0/2: Traceback")
    expected = headline().replace("rank 1/2", "rank 0/2")
    assert one.err == f"rank 1/2 stops: {expected}\n"


def test_swallowed_collateral_error_still_ends_with_an_error(tmp_path):
    zero, one = run(tmp_path, "raise_swallowed")
    # Both swallow: rank 0 the collateral error, rank 1 its own. What shows is that
    # rank 1 left the loop early.
    assert (zero.code, one.code) == (1, 1)
    assert "rank 1/2 finished its script after call 3" in zero.err
    assert "swallowed ValueError" in one.out


def test_same_mistake_on_all_ranks_shows_one_traceback(tmp_path):
    with Job(tmp_path, "raise_all", size=3) as job:
        ends = job.ends()
        on_terminal = [job.terminal(rank) for rank in range(3)]
    assert [end.code for end in ends] == [1, 1, 1]
    first = failures.read_record(tmp_path)
    for rank, end in enumerate(ends):
        if rank == first.rank:
            assert end.err == on_terminal[rank] == f"rank {rank}/3: {first.traceback}"
        else:
            assert end.err == f"rank {rank}/3 stops: {first.headline()}\n"
            assert on_terminal[rank] == ""


@pytest.mark.parametrize(("scenario", "culprit"), [("kill", 1), ("kill_rank_zero", 0)])
def test_killed_rank_is_named_by_the_others(tmp_path, scenario, culprit):
    ends = run(tmp_path, scenario, size=3)
    for rank, end in enumerate(ends):
        if rank == culprit:
            assert end.code == -signal.SIGKILL
            continue
        assert end.code == 1
        assert end.err.startswith(f"rank {rank}/3 stops: rank {culprit}/3 (here, pid ")
        assert "has died silently: killed by a signal?" in end.err
    assert failures.read_record(tmp_path).kind == failures.GONE


def test_killed_rank_is_noticed_though_its_forked_child_lives(tmp_path):
    with Job(tmp_path, "fork") as job:
        zero = job.end(0)
        assert zero.code == 1
        assert "rank 1/2 (here, pid " in zero.err
        assert processes.is_running(int((tmp_path / "child").read_text()))


@pytest.mark.parametrize("scenario", ["interrupt", "interrupt_rank_zero"])
def test_interrupt_is_no_failure(tmp_path, scenario):
    culprit = 0 if scenario.endswith("rank_zero") else 1
    with Job(tmp_path, scenario) as job:
        end = job.end(culprit)
    assert end == Ended(130, "begin\n", "")
    assert failures.read_record(tmp_path) is None


def test_stall_is_reported_with_stacks(tmp_path):
    zero, one = run(tmp_path, "stall")
    assert (zero.code, one.code) == (1, 1)
    # It is on its way round a loop.
    waits = re.search(r"control_job\.py:(29|30|52)\b", zero.err)[0]
    sleeps = "control_job.py:74"
    verdict = (
        f"rank 0/2 waits in call 4 (gradients of step 3), at {waits}, which rank 1/2 "
        "never joined: rank 1/2 has been computing since call 3 (gradients of step "
        f"2), at {sleeps}. Its stack shows where; if it needs that long, set a longer "
        "stall timeout."
    )
    assert zero.err.startswith(f"rank 0/2 stops: {verdict}\n")
    assert one.err == f"rank 1/2 stops: {verdict}\n"
    assert "\nrank 0/2 (here): waiting in call 4 (gradients of step 3) for " in zero.err
    assert "    wait_for(lambda: down.exists()" in zero.err  # rank 0's line
    assert "\nrank 1/2 (here): computing after call 3" in zero.err
    assert "    time.sleep(60)\n" in zero.err  # rank 1's line
    assert "control.py" not in zero.err
    record = failures.read_record(tmp_path)
    assert (record.type, record.rank) == ("Stall", 1)
    assert record.headline() == verdict
    assert record.traceback in zero.err


@pytest.mark.parametrize(("scenario", "culprit"), [("stop", 1), ("stop_rank_zero", 0)])
def test_a_stopped_rank_is_named_by_the_others(tmp_path, scenario, culprit):
    with Job(tmp_path, scenario, size=3) as job:
        others = [rank for rank in range(3) if rank != culprit]
        ends = {rank: job.end(rank) for rank in others}
        terminals = [job.terminal(rank) for rank in range(3)]
    name = f"rank {culprit}/3"
    for rank in others:
        assert ends[rank].code == 1
        assert ends[rank].err.startswith(f"rank {rank}/3 stops: ")
        assert name in ends[rank].err
        assert "It is stopped by a signal (SIGSTOP or Ctrl-Z)." in ends[rank].err
    record = failures.read_record(tmp_path)
    assert (record.type, record.rank) == ("Stall", culprit)
    # Where nobody keeps the hub any more, the first to find it out tells the user.
    shown = "".join(end.err + terminals[rank] for rank, end in ends.items())
    assert shown.count(", in allreduce\n") == (2 if culprit else 1)


@pytest.mark.parametrize(("scenario", "early"), [("early", 1), ("early_rank_zero", 0)])
def test_rank_that_ends_early_is_named(tmp_path, scenario, early):
    ends = run(tmp_path, scenario)
    verdict = (
        f"rank {1 - early}/2 waits in call 4 (gradients of step 3), at "
        f"control_job.py:30, which rank {early}/2 never joined: rank {early}/2 "
        "finished its script after call 3 (gradients of step 2). Make the same calls "
        "on every rank: as many steps, epochs and batches."
    )
    for rank, end in enumerate(ends):
        assert end.code == 1
        assert end.err.startswith(f"rank {rank}/2 stops: {verdict}\n")


def test_one_rank_alone_fails_and_stops_like_any_python_script(tmp_path):
    (end,) = run(tmp_path, "raise_rank_zero", size=1)
    assert end.code == 1
    assert end.err.startswith("Traceback (most recent call last):\n")
    assert end.err.endswith("ValueError: bad value\n")
    assert failures.read_record(tmp_path).traceback == end.err
    (end,) = run(tmp_path, "interrupt_rank_zero", size=1)
    assert end.code == -signal.SIGINT


def test_shutdown_that_hangs_does_not_keep_the_process(tmp_path):
    zero, one = run(tmp_path, "hang_in_shutdown")
    assert (zero.code, one.code) == (1, 1)
    assert "ValueError: bad value" in one.err


def test_strangers_are_dropped_without_harm(tmp_path):
    with Job(tmp_path, "wait_for_stranger") as job:
        opened = [tmp_path / f"open.{rank}" for rank in range(2)]
        wait_until(lambda: all(path.exists() for path in opened), "both ranks")
        offer = json.loads((tmp_path / "offer").read_text())
        assert offer["address"] == "127.0.0.1"
        wrong = {"token": "x" * 64, "rank": 1, "host": "evil", "pid": 1, "started": 1}
        for greeting in (
            json.dumps(wrong).encode() + b"\n",
            json.dumps({**wrong, "token": None}).encode() + b"\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"x" * 100_000,
            json.dumps({**wrong, "token": offer["token"]}).encode() + b"\n",  # twice
        ):
            assert answer((offer["address"], offer["port"]), greeting) == b""
        (tmp_path / "stranger_left").touch()
        for end in job.ends():
            assert end == Ended(0, "begin\ndone\n", "")


def answer(target, greeting):
    """What the switchboard sends before it closes; a silent peer would time out."""
    with socket.create_connection(target, timeout=10) as stranger:
        try:
            stranger.sendall(greeting)
            return stranger.recv(1)
        except ConnectionError:
            return b""


def line_of(process, exchange, **options):
    return ControlLine(process, exchange, stall_timeout_s=1.0, **options)


def test_one_rank_needs_no_line(tmp_path):
    def exchange(text):
        raise AssertionError("one rank exchanges nothing")

    aborts = []
    line = line_of(
        Process(), exchange, job_dir=tmp_path, on_abort=lambda: aborts.append(1)
    )
    line.open()
    line.enter("call")
    line.leave()
    failure = Failure.from_exception(Process(host="here"), ValueError("bad"))
    assert line.fail(failure) is True
    line.wait_for_peers(10.0)
    assert line.wait_failure(10.0) == failure
    line.interrupt()
    line.close()
    assert failures.read_record(tmp_path) == failure
    assert aborts == []


def test_unreachable_rank_zero_is_explained():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    place = {"address": "127.0.0.1", "port": port, "token": "t", "host": "a", "pid": 1}
    line = line_of(Process(rank=1, size=2), lambda text: json.dumps(place))
    with pytest.raises(ControlError, match="Every rank must reach rank 0 over TCP"):
        line.open()


def test_every_rank_hears_that_rank_zero_cannot_listen():
    texts = []
    zero = line_of(
        Process(size=2),
        lambda text: texts.append(text) or text,
        address="192.0.2.1",  # reserved for documentation: nobody's
    )
    with pytest.raises(ControlError, match=r"192\.0\.2\.1"):
        zero.open()
    one = line_of(Process(rank=1, size=2), lambda text: texts[0])
    with pytest.raises(ControlError, match="Rank 0 must be able to listen"):
        one.open()


def test_a_machine_without_a_network_is_refused(monkeypatch):
    monkeypatch.setattr(socket, "gethostbyname", lambda name: "127.0.1.1")
    monkeypatch.setattr(interfaces, "interfaces", lambda: ())
    process = Process(size=2, local_size=1, host="here")
    with pytest.raises(ControlError, match=r"no interface that other machines reach"):
        line_of(process, lambda text: text).open()
