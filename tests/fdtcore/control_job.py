"""One rank of a job without MPI: ``control_job.py rank size directory scenario``.

Stands in for a user's script. Its collective and its exchange go through files.
"""

import os
import pathlib
import signal
import socket
import sys
import time

from fdtcore.control.control_line import ControlLine
from fdtcore.control.excepthook import install_hooks
from fdtcore.process import Process

RANK, SIZE = int(sys.argv[1]), int(sys.argv[2])
DIRECTORY, SCENARIO = pathlib.Path(sys.argv[3]), sys.argv[4]
STEPS = 6
STEP_OF_TROUBLE = 3
CULPRIT = 0 if SCENARIO.endswith("rank_zero") else 1


class ShutDownError(RuntimeError):
    """What a collective says after another rank has shut the transport down."""


def wait_for(done):
    while not done():
        time.sleep(0.01)


def put(name, text=""):
    draft = DIRECTORY / f".{name}.{RANK}"
    draft.write_text(text)
    draft.rename(DIRECTORY / name)


def exchange(text):
    offer = DIRECTORY / "offer"
    if text is not None:
        put("offer", text)
    wait_for(offer.exists)
    return offer.read_text()


def allreduce(step):
    line.enter(f"gradients of step {step}")
    put(f"step{step}.{RANK}")
    down = DIRECTORY / "down"
    needed = [DIRECTORY / f"step{step}.{rank}" for rank in range(SIZE)]
    wait_for(lambda: down.exists() or all(path.exists() for path in needed))
    if down.exists():
        raise ShutDownError("the transport has been shut down")
    line.leave()


def make_trouble():
    if SCENARIO.startswith("raise"):
        raise ValueError("bad value")
    if SCENARIO.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if SCENARIO.startswith("fork"):
        if os.fork() == 0:  # the child holds copies of every descriptor
            put("child", str(os.getpid()))
            line.close()
            time.sleep(60)
            os._exit(0)
        wait_for((DIRECTORY / "child").exists)
        os.kill(os.getpid(), signal.SIGKILL)
    if SCENARIO.startswith("interrupt"):
        os.kill(os.getpid(), signal.SIGINT)
    if SCENARIO.startswith("stall"):
        time.sleep(60)
    if SCENARIO.startswith("stop"):
        os.kill(os.getpid(), signal.SIGSTOP)
    if SCENARIO.startswith("early"):
        sys.exit(0)
    if SCENARIO.startswith("hang_in_shutdown"):
        raise ValueError("bad value")


def shutdown():
    put("down")
    if SCENARIO == "hang_in_shutdown":
        time.sleep(60)


def train():
    for step in range(STEPS):
        if step == STEP_OF_TROUBLE and (RANK == CULPRIT or SCENARIO == "raise_all"):
            make_trouble()
        allreduce(step)


# A stopped process can be seen to be so on this machine alone.
HOST = socket.gethostname() if SCENARIO.startswith("stop") else "here"
process = Process(rank=RANK, size=SIZE, local_rank=RANK, local_size=SIZE, host=HOST)
line = ControlLine(
    process,
    exchange,
    stall_timeout_s=1.5 if SCENARIO.startswith(("stall", "stop")) else 60.0,
    job_dir=DIRECTORY,
    hidden=("fdtcore",),
)
line.open()
put(f"open.{RANK}")
terminal = open(DIRECTORY / f"terminal.{RANK}", "w")  # as long as the process
install_hooks(
    line,
    process,
    shutdown,
    is_collateral=lambda error: isinstance(error, ShutDownError),
    terminal=terminal,
    hidden=("fdtcore",),
)
print("begin")
if SCENARIO == "raise_swallowed":
    try:
        train()
    except Exception as error:
        print("swallowed", type(error).__name__)
elif SCENARIO == "wait_for_stranger":
    wait_for((DIRECTORY / "stranger_left").exists)
    train()
else:
    train()
print("done")
