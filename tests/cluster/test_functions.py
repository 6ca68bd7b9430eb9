"""Functions that run on three hosts: by name, with plain data, or not at all."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import sys

import pytest

from tests.cluster.hosts import NOBODY
from tests.cluster.test_jobs import SCRIPT as PROGRAM
from tests.cluster.test_jobs import assert_nothing_is_left, command, losses

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.horovod,
    pytest.mark.mpi,
    pytest.mark.slow,
]

THREE = "node1:1,node2:1,node3:1"
SCRIPT = """
import json, os, sys
import hfdt, nfdt
from tests.cluster import functions
try:
    found = {call}
except (hfdt.RunError, ValueError) as error:
    fields = (getattr(error, name, "") for name in ("rank", "host", "exit_code"))
    found = [type(error).__name__, str(error), *fields]
except KeyboardInterrupt:
    found = "interrupted"
print(json.dumps(found))
"""


def words(call):
    return sys.executable, "-c", SCRIPT.format(call=call)


def result(hosts, folder, call, host="node1"):
    done = hosts.run(host, *words(call), folder=folder)
    assert done.returncode == 0, done.stderr
    assert_nothing_is_left(hosts)
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.smoke
def test_each_host_returns_its_result_and_they_are_those_of_a_script(hosts, folder):
    call = f"hfdt.run(functions.train, (2, 'ü; \"a b\" $x'), np=3, hosts={THREE!r})"
    found, errors = result(hosts, folder, call)
    assert [one[0] for one in found] == ["node1", "node2", "node3"]
    assert found[0][1] == found[1][1] == found[2][1]
    assert {one[2] for one in found} == {'ü; "a b" $x'}
    done = hosts.run("node1", *command("hfdt"), PROGRAM, "epochs", 2, folder=folder)
    assert losses(done.stdout) == [f"{found[0][1][-1]:.6f}"]
    assert "output of ranks 1-2 goes to hfdt-logs" in errors


@pytest.mark.parametrize("program", ["hfdt", "nfdt"])
def test_results_come_from_hosts_that_share_no_disk(hosts, program):
    """Started on a machine that takes no part, in a folder that each has for itself."""
    folder = pathlib.Path("/tmp/here")
    for host in hosts.names:
        hosts.run(host, "mkdir", "-p", folder)
    there = "node2:1,node3:2"  # NFDT's server is the last one
    call = f"{program}.run(functions.train, (2,), np=2, hosts={there!r})"
    found, _ = result(hosts, folder, call)
    assert [one[0] for one in found] == ["node2", "node3"]
    assert all(one[1][1] < one[1][0] for one in found)


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("raise", 1, r"rank 1/3 \(node2\) failed: ValueError: this machine is not as"),
        # How it died mpirun may tell after its peers have missed it.
        ("kill", 137, r"rank 1/3 \(node2.*\) .*killed by (a )?signal"),
        (
            "set",
            1,
            "TypeError: the result must be plain data where other machines take part: "
            "None, numbers, texts, lists and dicts of them. Received on rank 1: set. ",
        ),
    ],
)
def test_a_failure_there_is_raised_here(hosts, folder, how, code, said):
    call = f"hfdt.run(functions.fails, ('node2', {how!r}), np=3, hosts={THREE!r})"
    [kind, text, rank, host, exit_code], _ = result(hosts, folder, call)
    assert (kind, rank, host, exit_code) == ("RunError", 1, "node2", code)
    assert re.search(said, text)
    assert ("functions.py" in text) == ("Traceback" in text) == (how == "raise")


REFUSED = {
    "a lambda": ("hfdt.run(lambda: 1, np=3, hosts={hosts!r})", "ValueError", "by its"),
    "no plain data": (
        "nfdt.run(functions.train, (1, b''), hosts={hosts!r})",
        "ValueError",
        "args[1] is of type bytes",
    ),
    "a machine that is down": (
        f"hfdt.run(functions.train, (1,), hosts='node1:1,{NOBODY}:1')",
        "RunError",
        f"{NOBODY}: ssh: connect to host",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_run_there_is_refused_in_a_line(hosts, folder, what):
    call, wanted, said = REFUSED[what]
    [kind, text, *_], _ = result(hosts, folder, call.format(hosts=THREE))
    assert kind == wanted
    assert said in text and "\n" not in text


def test_an_interrupt_ends_the_ranks_of_all_hosts(hosts, folder):
    call = f"hfdt.run(functions.waits, np=3, hosts={THREE!r})"
    with hosts.start("node1", *words(call), folder=folder) as process:
        process.wait_for_text("begun")
        # To the program alone, and not to nsenter, as which it was started.
        [pid] = [p for p, w in hosts.pids("node1").items() if "functions.waits" in w]
        os.kill(pid, signal.SIGINT)
        done = process.ended(60)
    assert done.stdout.splitlines()[-1] == '"interrupted"'
    assert_nothing_is_left(hosts)
