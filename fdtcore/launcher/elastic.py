"""A job that is started again on what is left, where it has lost processes or machines.

Each run goes on from the newest snapshot of the one before. A step does not depend on
the number of ranks, so neither does where the job ends. What the script itself has done
wrong is not tried again; what comes back without a new snapshot, a few times.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fdtcore.failures import CUT_OFF, ENDED, EXCEPTION, PROCESS_GONE
from fdtcore.launcher import preflight
from fdtcore.launcher.discovery import Discovery
from fdtcore.launcher.explanation import stopped_by
from fdtcore.launcher.foreground import Completed, Foreground
from fdtcore.launcher.hosts import Host, is_local
from fdtcore.launcher.jobs import JobHosts
from fdtcore.launcher.launchers import Job, Launcher
from fdtcore.launcher.spares import Spares
from fdtcore.snapshots.position import Position
from fdtcore.snapshots.stop_requests import STOPPED_CODE

_LOOK_S = 1.0
_SAY_AFTER_S = 5.0  # a wait that is shorter needs no word


@dataclasses.dataclass(frozen=True)
class Limits:
    """How far a job may change.

    Args:
        restarts: Failures in a row without a new snapshot that are no end.
        min_size: Number of ranks below which it waits.
        max_size: Number of ranks that it never exceeds.
        start_timeout_s: How long it waits for as many as it needs.
    """

    restarts: int
    min_size: int
    max_size: int
    start_timeout_s: float


@dataclasses.dataclass(frozen=True)
class Kept:
    """What a job leaves for the next run of it.

    Args:
        variables: Of the environment: let a run go on from the newest snapshot.
        newest: Returns what changes with each snapshot.
        place: Returns where training is; None where nothing tells.
        name: What messages call a snapshot.
    """

    variables: Mapping[str, str]
    newest: Callable[[], object]
    place: Callable[[], Position | None] | None = None
    name: str = "snapshot"

    def progress(self) -> object:
        """Returns what changes as training goes on."""
        return self.newest() if self.place is None else self.place()

    def step(self) -> object:
        """Returns the step that training has come to, whatever was kept of it."""
        place = None if self.place is None else self.place()
        return place and (*place[:3], place.loop)


class ElasticJob:
    """Runs a job until it is over, however often it takes.

    Args:
        foreground: Runs it once.
        place: Where it begins.
        size: Number of ranks that it begins with.
        limits: How far it may change.
        kept: What a run leaves for the next.
        make: From where and how many ranks to a job and its launcher.
        script: Path of the program that each machine must have; empty for none.
        discovery: Names the machines; None where they are those of `place`.
        spares: Do the work of ranks that start again; None where none are kept.
    """

    def __init__(
        self,
        foreground: Foreground,
        place: JobHosts,
        size: int,
        limits: Limits,
        kept: Kept,
        make: Callable[[JobHosts, int], tuple[Job, Launcher]],
        script: str,
        discovery: Discovery | None = None,
        spares: Spares | None = None,
    ):
        self._foreground, self._say = foreground, foreground.say
        self._place, self._size = place, size
        self._limits, self._kept, self._make = limits, kept, make
        self._script, self._discovery, self._spares = script, discovery, spares
        self._logs = Path()
        slots = sum(host.slots for host in place.hosts)
        self._shared = max(1.0, size / slots) if slots else 1.0  # ranks for a slot
        self._weak: dict[str, int] = {}  # host -> slots whose ranks died repeatedly
        self._failures: list[str] = []  # in a row, without a new snapshot
        self._own: tuple[object, object] | None = None  # what the script did wrong
        self._left_out: set[str] = set()

    def run(self, environ: dict[str, str], directory: Path | None) -> int:
        """Runs the job to its end.

        Args:
            environ: The environment the ranks get; completed here.
            directory: Folder for the files of the ranks; each new run gets a folder of
                its own in it.

        Returns:
            The exit code to pass on.

        Raises:
            ValueError: The first run cannot be started.
        """
        try:
            return self._run(environ, directory)
        except KeyboardInterrupt:  # between two runs
            self._say(stopped_by(signal.SIGINT))
            return 128 + signal.SIGINT
        finally:
            if self._spares is not None:
                self._spares.close()
            if self._discovery is not None:
                self._discovery.close()

    def _run(self, environ: dict[str, str], directory: Path | None) -> int:
        self._logs = logs = self._foreground.folder(directory)
        place, size, number = self._place, self._size, 0
        if self._discovery is not None:
            self._discovery.watch()
            found = self._next()
            if found is None:
                return STOPPED_CODE
            place, size = found
        since_s = 0.0  # when the run before has ended
        while True:
            watch = _Watch(self, place, size, since_s, environ)
            folder = logs / f"restart-{number}" if number else logs
            try:
                done = self._once(place, size, environ, folder, watch)
            except ValueError as error:
                if not number:
                    raise
                self._say(str(error))  # a machine has just become one that cannot
                if not self._may_fail(str(error)):
                    return 1
            else:
                since_s = time.monotonic()
                if not self._goes_on(done, watch, number, size):
                    return done.code
            number += 1
            environ |= self._kept.variables
            found = self._next()
            if found is None:
                return STOPPED_CODE
            place, size = found
            self._say_next(place, size)

    def _once(
        self,
        place: JobHosts,
        size: int,
        environ: dict[str, str],
        folder: Path,
        watch: _Watch,
    ) -> Completed:
        job, launcher = self._make(place, size)
        run_once = self._foreground.run_once
        if self._spares is None:
            return run_once(job, launcher, environ, folder, watch.wanted)
        job, waiting = self._spares.job(job), self._spares.waiting
        try:
            return run_once(job, launcher, environ, folder, watch.wanted, waiting)
        finally:
            self._spares.end_taken()

    def _say_next(self, place: JobHosts, size: int) -> None:
        ranks = "1 rank goes" if size == 1 else f"{size} ranks go"
        where = ", ".join(host.name for host in place.hosts)
        on = f" on {where}" if where else ""
        count = len(self._failures)
        restart = f"restart {count} of {self._limits.restarts}: " if count else ""
        self._say(f"{restart}{ranks} on from the newest {self._kept.name}{on}.")

    def _goes_on(self, done: Completed, watch: _Watch, number: int, size: int) -> bool:
        """Whether a run is followed by another one; says what has ended it."""
        if done.line:
            self._say(done.line)
        if done.code == STOPPED_CODE and watch.has_asked:
            self._say(f"the machines have changed; a {self._kept.name} was kept.")
            self._failures = []
            return True
        if not done.code or done.code == STOPPED_CODE or done.outcome.received:
            return False
        if self._is_own(done, watch, number):
            return False
        # Without a place, what a script keeps as it fails is no sign that it gets on.
        if watch.has_kept() and (self._own is None or self._kept.place is not None):
            self._failures = []
        if not self._may_fail(done.line or f"exit code {done.code}"):
            return False
        if len(self._failures) > 1 and size > self._limits.min_size:
            self._weaken(done)
        return True

    def _is_own(self, done: Completed, watch: _Watch, number: int) -> bool:
        """Whether it is the script that ended the run, and would do so again."""
        failure = done.failure
        if failure is not None and failure.kind == ENDED:
            if failure.type != PROCESS_GONE:
                return True
        what = _own_error(done)
        if what is None:
            self._own = None
            return False
        if not watch.has_trained() and not number:
            return True
        before, self._own = self._own, (what, self._kept.step())
        if before is None or before[0] != what:
            return False
        is_placed = self._kept.place is not None
        if is_placed and before != self._own and watch.has_trained():
            return False
        where = " at the same step" if is_placed else ""
        self._say(f"the same again{where}: it is not tried once more.")
        return True

    def _may_fail(self, line: str) -> bool:
        """Whether one more failure is no end; else all of them are named."""
        self._failures.append(line)
        if len(self._failures) <= self._limits.restarts:
            return True
        counts = {line: self._failures.count(line) for line in self._failures}
        named = "; ".join(
            f"{line.rstrip('.')} ({count} times)" if count > 1 else line.rstrip(".")
            for line, count in counts.items()
        )
        self._say(
            f"{len(self._failures)} runs in a row have ended without a new "
            f"{self._kept.name}: {named}. The same command with --resume auto goes on."
        )
        return False

    def _weaken(self, done: Completed) -> None:
        """Takes a slot from the machine of a rank that died again: it may be full."""
        ended, failure = done.outcome.ended, done.failure
        host = ended.host if ended and ended.host else failure.host if failure else ""
        names = [h.name for h in self._place.hosts]
        name = host if host in names else ""
        if name or not names:
            self._weak[name] = self._weak.get(name, 0) + 1
        if done.outcome.lost_host or (failure and failure.kind == CUT_OFF):
            self._weak.pop(name, None)

    # --- Machines --------------------------------------------------------------------

    def _next(self) -> tuple[JobHosts, int] | None:
        """Waits for machines; None where there are too few for too long."""
        began_s, has_said = time.monotonic(), False
        while True:
            place = self._usable()
            found = self.size_of(place)
            if found >= self._limits.min_size:
                return place, found
            waited_s = time.monotonic() - began_s
            if waited_s >= self._limits.start_timeout_s:
                break
            if waited_s > _SAY_AFTER_S and not has_said:
                has_said = True
                self._say(
                    f"{found} of {self._limits.min_size} ranks can start; waiting for "
                    f"{self._limits.start_timeout_s:g} s at most."
                )
            time.sleep(_LOOK_S)
        self._say(
            f"the job needs {self._limits.min_size} ranks. Received: machines for "
            f"{found} within {self._limits.start_timeout_s:g} s. Its newest "
            f"{self._kept.name} stays: the same command with --resume auto goes on."
        )
        return None

    def size_of(self, place: JobHosts) -> int:
        """Returns with how many ranks the job would start there."""
        if not self._place.hosts and self._discovery is None:
            slots = self._size - self._weak.get("", 0)
        else:
            slots = int(sum(host.slots for host in place.hosts) * self._shared)
        return min(self._limits.max_size, slots)

    def named(self) -> JobHosts:
        """Returns the machines that are named now, without slots of repeated deaths."""
        if self._discovery is None:
            hosts = self._place.hosts
        else:
            hosts = self._discovery.hosts
        left = (Host(n, slots - self._weak.get(n, 0)) for n, slots in hosts)
        return self._place._replace(
            hosts=tuple(host for host in left if host.slots > 0)
        )

    def _usable(self) -> JobHosts:
        """Returns the machines that answer, of those that are named."""
        place = self.named()
        if place.allocated or all(is_local(host.name) for host in place.hosts):
            return place
        wanted = self._foreground.requirements(self._script, self._logs)
        machines = preflight.ask(place.hosts, wanted, os.environ)
        silent = preflight.unfit(machines, wanted)
        for name in silent.keys() - self._left_out:
            self._say(f"{name} is left out: {silent[name]}")
        self._left_out = set(silent)
        kept = tuple(host for host in place.hosts if host.name not in silent)
        return place._replace(hosts=kept)

    def is_wanted(self, place: JobHosts, size: int) -> bool:
        """Whether a run goes on as it is: no machine has come, and none is to go."""
        if self._discovery is None:
            return True
        now = self.named()
        answering = [host for host in now.hosts if host.name not in self._left_out]
        names = {host.name for host in answering}
        is_left = any(host.name not in names for host in place.hosts)
        more = self.size_of(now._replace(hosts=tuple(answering)))
        return not is_left and more <= size

    @property
    def kept(self) -> Kept:
        """What a run leaves for the next."""
        return self._kept

    def note_training(
        self, place: JobHosts, size: int, since_s: float, environ: Mapping[str, str]
    ) -> None:
        """Notes that a run has made its first step.

        Args:
            place: Where it runs.
            size: Number of its ranks.
            since_s: When the run before has ended; 0 for the first.
            environ: The environment of its ranks.
        """
        if since_s and self._kept.place is not None:
            ranks = "1 rank trains" if size == 1 else f"{size} ranks train"
            self._say(f"{ranks} again, {time.monotonic() - since_s:.1f} s after.")
        if self._spares is not None:
            here = sum(host.slots for host in place.hosts if is_local(host.name))
            self._spares.fill(min(size, here) if place.hosts else size, environ)


class _Watch:
    """Looks at one run while it goes on.

    Args:
        job: Job that it is of.
        place: Where it runs.
        size: Number of its ranks.
        since_s: When the run before has ended; 0 for the first.
        environ: The environment of the ranks.
    """

    def __init__(
        self,
        job: ElasticJob,
        place: JobHosts,
        size: int,
        since_s: float,
        environ: Mapping[str, str],
    ):
        self._job, self._place, self._size = job, place, size
        self._since_s, self._environ = since_s, environ
        self._newest, self._begin = job.kept.newest(), job.kept.progress()
        self._trains = False
        self.has_asked = False  # for a snapshot and the end

    def has_kept(self) -> bool:
        """Whether the run has left a new snapshot."""
        return self._job.kept.newest() != self._newest

    def has_trained(self) -> bool:
        """Whether the run has made a step."""
        return self._trains or self._job.kept.progress() != self._begin

    def wanted(self) -> bool:
        """Whether the run goes on as it is; asked several times a second."""
        if not self._trains and self.has_trained():
            self._trains = True
            self._job.note_training(
                self._place, self._size, self._since_s, self._environ
            )
        if self._trains and not self._job.is_wanted(self._place, self._size):
            self.has_asked = True
        return not self.has_asked


def _own_error(done: Completed) -> Any:
    """Returns what the script has done wrong; None where it was no fault of its own."""
    failure, outcome = done.failure, done.outcome
    if failure is not None and failure.kind == EXCEPTION:
        return (failure.type, failure.message, failure.where)
    is_lost = outcome.lost_host or outcome.has_died or outcome.killed
    if failure is not None or is_lost or (outcome.ended and outcome.ended.signal):
        return None
    return outcome.code
