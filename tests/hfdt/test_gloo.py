import sys
from pathlib import Path

import pytest

from fdtcore.launcher.hosts import Host
from fdtcore.launcher.launchers import Job
from hfdt import gloo
from tests.processes import run


def test_the_command_line():
    command = ("python", "-m", "hfdt", "train.py")
    argv = gloo.Gloo().argv(Job(command, 3))
    assert argv == [sys.executable, "-m", "hfdt.gloo", "3", *command]


def test_other_machines_are_refused():
    job = Job(("python",), 2, (Host("10.0.0.1", 2),))
    with pytest.raises(ValueError, match=r"this machine only\. Received: 10\.0\.0\.1"):
        gloo.Gloo().argv(job)


@pytest.mark.horovod
def test_what_a_rank_is_told():
    meeting = gloo.Meeting("127.0.0.1", 99, gloo.loopback_interface())
    told = gloo.rank_environ(gloo.places_here(3)[1], meeting)
    assert (told["HOROVOD_RANK"], told["HOROVOD_SIZE"]) == ("1", "3")
    assert (told["HOROVOD_LOCAL_RANK"], told["HOROVOD_LOCAL_SIZE"]) == ("1", "3")
    assert told["HOROVOD_GLOO_RENDEZVOUS_ADDR"] == "127.0.0.1"
    assert told["HOROVOD_GLOO_RENDEZVOUS_PORT"] == "99"
    assert told["HOROVOD_GLOO_IFACE"].startswith("lo")


def launch(size, code):
    rank = (sys.executable, "-c", code)
    return run(sys.executable, "-m", "hfdt.gloo", size, *rank, time_limit_s=60)


RANK = "import os, sys, time; rank = int(os.environ['HOROVOD_RANK'])\n"


@pytest.mark.horovod
def test_every_rank_runs_with_the_command_as_it_is():
    done = launch(3, RANK + "os.write(1, f'{rank} a b \"c\"\\n'.encode())")
    assert done.returncode == 0
    assert sorted(done.stdout.splitlines()) == [f'{rank} a b "c"' for rank in range(3)]


@pytest.mark.horovod
@pytest.mark.parametrize(
    ("act", "code", "text"),
    [
        ("sys.exit(3)", 3, "Process name: [[0,1],1]\nExit code: 3"),
        ("os.kill(os.getpid(), 9)", 137, "process rank 1 with PID 0 on node"),
    ],
)
def test_the_first_rank_that_fails_ends_the_others(act, code, text):
    done = launch(2, RANK + f"{act} if rank else time.sleep(600)")
    assert done.returncode == code
    assert text in done.stderr


@pytest.mark.horovod
def test_the_meeting_point_is_not_open_to_the_network():
    with gloo.rendezvous(gloo.places_here(2)) as port:
        rows = map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
        listening = [row[1] for row in rows if row[3] == "0A"]
        [address] = [a for a in listening if a.endswith(f":{port:04X}")]
    assert address.startswith("0100007F:")  # 127.0.0.1
