import pytest

from fdtcore.launcher.banners import BannerFilter, Ended, parse

RULE = "-" * 74 + "\n"

# What Open MPI 5 and 4 write, word for word.
KILLED_5 = (
    "prterun noticed that process rank 1 with PID 4802 on node vm exited on\n"
    "signal 9 (Killed).\n"
)
EXITED_5 = """\
prterun detected that one or more processes exited with non-zero status,
thus causing the job to be terminated. The first process to do so was:

   Process name: [prterun-vm-4845@1,1]
   Exit code:    3
"""
KILLED_4 = (
    "mpirun noticed that process rank 2 with PID 0 on node n1 exited on "
    "signal 11 (Segmentation fault).\n"
)
EXITED_4 = """\
mpirun detected that one or more processes exited with non-zero status, thus causing
the job to be terminated. The first process to do so was:

  Process name: [[39237,1],1]
  Exit code:    3
"""
PRIMARY_4 = """\
Primary job  terminated normally, but 1 process returned
a non-zero exit code. Per user-direction, the job has been aborted.
"""
ABORTED = """\
MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD
  Proc: [[39237,1],1]
  Errorcode: 7
"""
SLOTS = """\
There are not enough slots available in the system to satisfy the 3
slots that were requested by the application:
"""


@pytest.mark.parametrize(
    ("banner", "expected"),
    [
        (KILLED_5, Ended(1, "vm", 137, 9)),
        (EXITED_5, Ended(1, "", 3, 0)),
        (KILLED_4, Ended(2, "n1", 139, 11)),
        (EXITED_4, Ended(1, "", 3, 0)),
        (ABORTED, Ended(1, "", 7, 0)),
        (PRIMARY_4, None),
        (SLOTS, None),
    ],
)
def test_banners_are_read(banner, expected):
    assert parse(banner) == expected


def run(text, size):
    """Feeds ``text`` in pieces and returns what is shown, and the end it told."""
    data, banners = text.encode(), BannerFilter()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    shown = b"".join(map(banners.feed, pieces)) + banners.finish()
    return shown.decode(), banners.ended


@pytest.mark.parametrize("size", [1, 7, 80, 10_000])
@pytest.mark.parametrize("banner", [KILLED_5, EXITED_5, KILLED_4, EXITED_4, ABORTED])
def test_a_banner_is_taken_out_and_nothing_else(banner, size):
    text = "epoch 1\n" + RULE + banner + RULE + "\nafter\n"
    assert run(text, size) == ("epoch 1\n\nafter\n", parse(banner))


PEER = """\
An MPI communication peer process has unexpectedly disconnected.  This
usually indicates a failure in the peer process (e.g., a crash or
otherwise exiting without calling MPI_FINALIZE first).

  Local host: node2
  Peer host:  node3
"""
DAEMON = """\
PRTE has lost communication with a remote daemon.

  HNP daemon   : [prterun-node1-21@0,0] on node node1
  Remote daemon: [prterun-node1-21@0,1] on node node2
"""
NO_DAEMON = """\
A daemon failed to report back after being spawned. This could
be due to several factors, including inability to find the
daemon executable.

  Local host:    node1
  Remote host:   node2
  Daemon exit status: 137
"""
OF_HOSTS = """\
[node1:00000] *** An error occurred in Socket closed
[node1:00000] *** MPI_ERRORS_ARE_FATAL (processes in this communicator will now abort,
[node1:00013] plm:ssh: Warning: setpgid(17,17) failed in parent
"""


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_what_is_said_between_hosts_goes(size):
    text = f"a\n{OF_HOSTS}{RULE}{PEER}{RULE}b\n\0[1/3] c"
    assert run(text, size) == ("a\nb\n[1/3] c", None)


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    "text",
    [
        RULE + DAEMON + RULE,
        RULE[:60] + "\n" + NO_DAEMON + RULE[:60] + "\n",
        "Connection to node2 closed by remote host.\r\n",
    ],
)
def test_a_machine_that_is_lost_is_remembered(text, size):
    banners = BannerFilter()
    data = text.encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert b"".join(map(banners.feed, pieces)) + banners.finish() == b""
    assert banners.lost_host == "node2"


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    "text",
    [
        RULE + SLOTS + RULE,
        RULE + "| a | b |\n" + RULE,
        RULE + RULE + RULE,
        "=" * 90 + "\n=== a heading\n",
        "---\n- item\n",
        "no end of line",
        "[node1:12] a user's own line\n",
        "Connection to the database closed\n",
        RULE + "mpir",
        RULE + "mpirun noticed nothing that is known",
        "a\r50%\rb\n",
        "\n\n",
    ],
)
def test_what_is_no_banner_passes_unchanged(text, size):
    assert run(text, size) == (text, None)


def test_two_banners_tell_the_first_end():
    text = RULE + PRIMARY_4 + RULE + RULE + EXITED_4 + RULE + RULE + KILLED_5 + RULE
    assert run(text, 9) == ("", Ended(1, "", 3, 0))


def test_a_banner_that_is_cut_off_is_read():
    assert run(RULE + KILLED_5, 9) == ("", Ended(1, "vm", 137, 9))


def test_what_is_said_on_ctrl_c_goes():
    text = (
        "a\nAbort is in progress...hit ctrl-c again to forcibly terminate\n\nb\n\nc\n"
    )
    assert run(text, 5) == ("a\nb\n\nc\n", None)


def test_what_the_library_of_events_says_goes():
    text = "a\n[warn] Epoll MOD(1) on fd 24 failed. Old events were 6\n[0] b\n"
    assert run(text, 5) == ("a\n[0] b\n", None)


SRUN = """\
srun: cluster configuration lacks support for cpu binding
srun: Job step aborted: Waiting up to 7 seconds for job step to finish.
srun: got SIGCONT
slurmstepd-node1: error: *** STEP 13.0 ON node1 CANCELLED AT 2026-11-28T19:30:22 ***
srun: forcing job termination
srun: launch/slurm: _step_signal: Terminating StepId=13.0
"""


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("said", "ended"),
    [
        ("node2: task 1: Terminated", Ended(1, "node2", 143, 15)),
        ("node3: tasks 4-5: Killed", Ended(4, "node3", 137, 9)),
        (
            "node3: task 2: Segmentation fault (core dumped)",
            Ended(2, "node3", 139, 11),
        ),
        ("node3: tasks 2,4: Exited with exit code 7", Ended(2, "node3", 7, 0)),
    ],
)
def test_what_srun_says_of_an_end_goes_and_is_read(said, ended, size):
    text = f"a\n{SRUN}srun: error: {said}\nsrun: error: node9: task 9: Killed\nb\n"
    assert run(text, size) == ("a\nb\n", ended)


HYDRA = """\
[proxy:2@node3] HYD_pmcd_pmip_control_cmd_cb (pmip_cb.c:490): assert (!closed) failed
[mpiexec@node1] main (mpiexec.c:270): process manager error waiting for completion
"""
TERMINATED = f"""\
{"=" * 83}
=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES
=   PID 4802 RUNNING AT node1
=   EXIT CODE: 9
=   CLEANING UP REMAINING PROCESSES
=   YOU CAN IGNORE THE BELOW CLEANUP MESSAGES
{"=" * 83}
YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)
This typically refers to a problem with your application.
Please see the FAQ page for debugging suggestions
"""


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_what_mpich_says_of_an_end_goes(size):
    assert run(f"a\n{HYDRA}b\n{TERMINATED}c\n", size) == ("a\nb\nc\n", None)
    for text in (HYDRA, TERMINATED):
        banners = BannerFilter()
        assert banners.feed(text.encode()) + banners.finish() == b""
        assert banners.has_died


@pytest.mark.parametrize("size", [1, 12, 40, 10_000])
def test_what_a_rank_over_gloo_says_of_a_peer_goes(size):
    said = "[2026-11-29 18:11:44.507912: E /b/horovod/common/operations.cc:697] "
    others = "[2026-11-29] [0.5, 1.0]\n[2026-11-29 18:11:44.5: W a.cc:3] b\n"
    text = f"a\n{said}[0]: Read error\n{others}[2026-11-29 18:11"
    assert run(text, size) == (f"a\n{others}[2026-11-29 18:11", None)
    assert run(f"a\n{said}[0]: Read", size) == ("a\n", None)


def test_why_srun_starts_nothing_is_shown():
    text = "srun: error: Unable to create step for job 9: Requested nodes are busy\n"
    assert run(text, 5) == (text, None)


@pytest.mark.parametrize(
    "text", [b"name? ", b"12/12 [====", b"\r50%", b"- ", RULE.encode() + b"so "]
)
def test_an_unfinished_line_does_not_wait(text):
    assert BannerFilter().feed(text) == text
