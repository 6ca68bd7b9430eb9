"""The supervision of a running job: output, signals, and the end of all processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import NamedTuple

from fdtcore.launcher.banners import BannerFilter, Ended
from fdtcore.launcher.descendants import (
    adopt_orphans,
    descendants,
    die_with_parent,
    end_descendants,
    reap,
)
from fdtcore.snapshots.stop_requests import STOPPED_CODE

# Ctrl-C reaches the ranks, too: they share the terminal. Only a signal that came
# to the launcher alone has to be passed on, after this time.
PASS_ON_S = 1.0
# What the launcher may still do after it was asked to end the job.
GRACE_S = 2.0
# What every process that is left then may still do.
END_S = 1.0
# After the first failure the others have this long to report and end themselves.
SETTLE_S = 5.0
_POLL_S = 0.1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
# Batch systems send these as words of the user's choice: they are the ranks' business.
_WORDS = (signal.SIGUSR1, signal.SIGUSR2)
# What a job that stands still was ended with by this process, or by its peers.
FORCED_CODE = 1


class Outcome(NamedTuple):
    """How a job ended."""

    code: int  # exit code to pass on
    received: int  # the signal that asked for the end, or 0
    killed: int  # the signal that ended the program that was started, or 0
    # (0 as well where this process had to end it)
    ended: Ended | None  # the first rank that failed, where mpirun named it
    lost_host: str = ""  # a machine that ended, or got out of reach of the launcher
    has_died: bool = False  # a process has, and the launcher does not say which


class _Received:
    """Signals that came to the launcher."""

    def __init__(self) -> None:
        self.first = 0
        self.count = 0
        self.time_s = 0.0
        self.words: list[int] = []  # to be passed on

    def __call__(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number in _WORDS:
            self.words.append(number)
            return
        self.count += 1
        if not self.first:
            self.first, self.time_s = number, time.monotonic()


@contextlib.contextmanager
def _received_signals() -> Iterator[_Received]:
    received = _Received()
    wanted = (*_SIGNALS, *_WORDS)
    old = {number: signal.signal(number, received) for number in wanted}
    try:
        yield received
    finally:
        for number, handler in old.items():
            # One more Ctrl-C must not keep the launcher from its last line and code.
            signal.signal(number, signal.SIG_IGN if received.first else handler)


def _forward(source: int, target: int, banners: BannerFilter) -> None:
    def show(text: bytes) -> None:
        with contextlib.suppress(OSError):  # nobody reads: go on draining
            while text:
                text = text[os.write(target, text) :]

    while data := os.read(source, 65536):
        show(banners.feed(data))
    show(banners.finish())


def supervise(
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    filtered: bool,
    stops_itself: bool = False,
    failed: Callable[[], bool] = lambda: False,
    finished: Callable[[], bool] = lambda: False,
    wanted: Callable[[], bool] = lambda: True,
    others: Callable[[], set[int]] = set,
) -> Outcome:
    """Runs ``argv`` in the foreground and ends everything it started.

    Call from the main thread: signals are taken over while the job runs.

    Args:
        argv: The launcher's command line.
        environ: The launcher's whole environment; nothing is inherited beside it.
        filtered: True takes mpirun's own failure banners out of standard error.
        stops_itself: True where the job keeps a snapshot and ends by itself when it
            is asked to by SIGUSR1; only a second signal ends it at once.
        failed: Tells whether a rank has reported a failure; the job is then stopped
            if it does not end by itself.
        finished: Tells whether the job has come to its end; what is left of it, on a
            machine that is out of reach, is then not waited for.
        wanted: Tells, several times a second, whether the job is to go on as it is;
            else it is asked once to keep a snapshot and end.
        others: Returns processes of this one that are not of the job, and stay.

    Returns:
        How the job ended.

    Raises:
        OSError: ``argv[0]`` cannot be started.
    """
    adopt_orphans()
    spare = descendants(os.getpid())
    banners = BannerFilter()
    with _received_signals() as received:
        child = subprocess.Popen(
            argv,
            env=dict(environ),
            stderr=subprocess.PIPE if filtered else None,
            preexec_fn=die_with_parent,
            # Else Ctrl-C reaches mpirun, too, which ends the job at once.
            start_new_session=stops_itself,
        )
        reader = None
        if child.stderr is not None:
            arguments = (child.stderr.fileno(), 2, banners)
            reader = threading.Thread(target=_forward, args=arguments, daemon=True)
            reader.start()
        is_forced = False
        try:
            is_forced = _wait(child, received, stops_itself, failed, finished, wanted)
        finally:
            end_descendants(spare | others(), grace_s=END_S)
            child.wait()
            reap(spare | others())
    if reader is not None:
        reader.join(timeout=2)
    returncode = child.returncode
    if is_forced and not received.first:
        returncode = FORCED_CODE if failed() else 0
    # mpirun itself may end with 0 where it has lost a machine.
    lost_host = "" if finished() else banners.lost_host
    has_failed = failed() or bool(lost_host)
    found = _outcome(returncode, received.first, banners.ended, has_failed)
    if lost_host and not received.first:
        found = found._replace(code=FORCED_CODE)
    return found._replace(lost_host=lost_host, has_died=banners.has_died)


def _outcome(
    returncode: int, received: int, ended: Ended | None, failed: bool
) -> Outcome:
    killed = max(0, -returncode)
    code = 128 + killed if killed else returncode
    if received and returncode != STOPPED_CODE:
        code = 128 + received
    elif failed and not code:
        code = 1  # a script that swallows the error of its job has still failed
    return Outcome(code, received, killed, ended)


def _wait(
    child: subprocess.Popen[bytes],
    received: _Received,
    stops_itself: bool,
    failed: Callable[[], bool],
    finished: Callable[[], bool],
    wanted: Callable[[], bool],
) -> bool:
    """Returns whether the child has to be ended; False when it has by itself."""
    passed_on = is_told = False
    over_s: float | None = None  # since when the job has failed, or finished
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=_POLL_S)
            return False
        while received.words:
            child.send_signal(received.words.pop(0))
        if not wanted() and not is_told:
            is_told = True
            child.send_signal(signal.SIGUSR1)
        now = time.monotonic()
        is_asked = stops_itself and received.count == 1
        if received.first:
            waited_s = now - received.time_s
            shared = received.first == signal.SIGINT
            if is_asked:
                if not passed_on:
                    child.send_signal(signal.SIGUSR1)
                    passed_on = True
            elif not passed_on and (not shared or waited_s > PASS_ON_S):
                child.terminate()
                passed_on = True
            if received.count > 1 or (not is_asked and waited_s > PASS_ON_S + GRACE_S):
                return True
        if is_asked or not received.first:
            if over_s is None and (failed() or finished()):
                over_s = now
            elif over_s is not None and now - over_s > SETTLE_S:
                return True
