"""How a job has ended, by a launcher that is a program of the test's."""

import sys

import pytest

from tests.processes import run

LOST = """
import sys
rule = "-" * 74
print(f"{rule}\\nPRTE has lost communication with a remote daemon.\\n", file=sys.stderr)
print("  Remote daemon: [prterun-a-1@0,1] on node node2", file=sys.stderr)
print(rule, file=sys.stderr)
"""
ENDLESS = "import time; time.sleep(1000)"
SUPERVISE = """
import os, sys
from fdtcore.launcher import supervisor
from fdtcore.launcher.supervisor import supervise
supervisor.SETTLE_S = 0.2
job = [sys.executable, "-c", sys.argv[1]]
failed, finished = "failed" in sys.argv, "finished" in sys.argv
found = supervise(
    job, os.environ, filtered=True, failed=lambda: failed, finished=lambda: finished
)
print(found.code, found.lost_host)
"""


@pytest.mark.parametrize(
    ("program", "words", "said"),
    [
        # mpirun 5.0.11 ends with 0 (findings/mpirun_lost_machine_exit_code.sh).
        (LOST, (), "1 node2"),
        (LOST, ("finished",), "0 "),  # the job had ended before
        (ENDLESS, ("finished",), "0 "),  # what is left cannot be reached
        (ENDLESS, ("failed",), "1 "),
        ("raise SystemExit(3)", (), "3 "),
    ],
)
def test_the_code_of_a_job(program, words, said):
    done = run(sys.executable, "-c", SUPERVISE, program, *words, time_limit_s=30)
    assert done.stdout == f"{said}\n", done.stderr
    assert "PRTE" not in done.stderr


def test_a_word_of_the_batch_system_is_passed_on():
    waits = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGUSR1, lambda *_: os._exit(5))\n"
        "os.kill(os.getppid(), signal.SIGUSR1)\n"
        "time.sleep(30)"
    )
    done = run(sys.executable, "-c", SUPERVISE, waits, time_limit_s=30)
    assert done.stdout == "5 \n", done.stderr
