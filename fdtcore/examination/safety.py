"""The safety of a script: some steps of it, on one process and on several, compared.

What both have come to is compared, and what the framework says of the script is shown.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

from fdtcore.examination import observations, random_generators
from fdtcore.examination.observations import Difference, Observation

VARIABLE = "FDTCORE_EXAMINATION"  # where a process of an examined script writes
TIME_LIMIT_S = 600.0  # of one run
_COPIED_BYTES = 200_000_000  # a larger file or folder is linked, and read only
_SHOWN_LINES = 12  # of the output of a run that has failed
_MANUAL = "docs/sharp-bits.md lists what depends on the whole batch"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is to be known before a script is distributed.

    Args:
        text: What it is, and what follows.
        way_out: What to write; empty where nothing is wrong.
    """

    text: str
    way_out: str = ""


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to run the script beside plain Python.

    Args:
        name: As the report calls it.
        command: What comes before the program.
        num_ranks: Number of processes that train: ranks 0 .. num_ranks - 1.
        is_exact: Whether its numbers are to be those of one process.
    """

    name: str
    command: Sequence[str]
    num_ranks: int
    is_exact: bool


@dataclasses.dataclass(frozen=True)
class Run:
    """How a run has ended.

    Args:
        code: Exit code; None where the time was over.
        output: All that was printed.
        ranks: What each process has come to.
        took_s: How long it took.
    """

    code: int | None
    output: str
    ranks: list[list[Observation]]
    took_s: float

    def summary(self) -> str:
        """Says what was trained, e.g. ``1 fit, 12 steps, 14 s``."""
        first = self.ranks[0]
        steps = sum(one.num_steps for one in first)
        what = ", ".join(one.what for one in first) or "nothing was trained"
        return f"{what}; {steps} steps, {self.took_s:.0f} s"


def examine(
    program: Sequence[str],
    framework: str,
    ways: Sequence[Way],
    say: Callable[[str], None],
) -> int:
    """Examines a script, and reports.

    Args:
        program: The script or module and its arguments, as ``python`` takes them.
        framework: Name of the framework, with which its lines begin.
        ways: How to run it beside plain Python.
        say: Takes one line of the report.

    Returns:
        The exit code: 0 where nothing is to be changed.
    """
    found = list(_of_source(program))
    say("python              ...")
    plain = _run([sys.executable, "-m", "fdtcore.user_program"], program, 1)
    if plain.code != 0:
        say(f"the script fails by itself: {_ended(plain)}")
        _show(plain, say)
        return 1
    say(f"python              {plain.summary()}")
    repeated: Run | None = None
    for way in ways:
        run = _run(way.command, program, way.num_ranks)
        say(f"{way.name:<19} {run.summary()}")
        found += [Finding(line, "as it says") for line in said(run, framework)]
        if run.code != 0:
            found.append(Finding(f"{way.name} {_ended(run)}", "see above"))
            if not list(said(run, framework)):
                _show(run, say)
            continue
        apart = list(_apart(run))
        found += apart
        if not way.is_exact:
            continue
        differences = observations.differences(plain.ranks[0], run.ranks[0])
        if differences and repeated is None:
            repeated = _run([sys.executable, "-m", "fdtcore.user_program"], program, 1)
        if differences and repeated is not None:
            again = observations.differences(plain.ranks[0], repeated.ranks[0])
            found += _judged(differences, again, plain.ranks[0], way)
        found += _missing(plain.ranks[0], run.ranks[0], way)
    return _report(found, say)


def _report(found: Sequence[Finding], say: Callable[[str], None]) -> int:
    unique = list(dict.fromkeys(found))
    wrong = [one for one in unique if one.way_out]
    for one in unique:
        say("")
        say(one.text)
        if one.way_out and one.way_out not in ("as it says", "see above"):
            say(f"    Write: {one.way_out}")
    say("")
    if wrong:
        say(f"Findings to resolve before this script is distributed: {len(wrong)}.")
    else:
        say("Safe to distribute, as far as some steps can show.")
    return int(bool(wrong))


def _judged(
    differences: Sequence[Difference],
    again: Sequence[Difference],
    plain: Sequence[Observation],
    way: Way,
) -> Iterator[Finding]:
    """Explains what is not as on one process."""
    if again:
        yield Finding(
            f"plain python gives different numbers each time ({again[0]}), so they "
            "cannot be compared",
            "keras.utils.set_random_seed(0) at the top, and a seed in every generator",
        )
        return
    for observation in plain:
        mine = [one for one in differences if one.what == observation.what]
        if not mine:
            continue
        worst = f"with {way.name} " + ", ".join(map(str, mine[:3]))
        draws = observation.layers.get("draws", [])
        normalizes = observation.layers.get("normalizes", [])
        if draws:
            yield Finding(
                f"{observation.what}: {worst}. Layers that draw random numbers do so "
                f"differently on each process ({', '.join(draws[:3])}): equal in "
                "distribution."
            )
        elif normalizes:
            yield Finding(
                f"{observation.what}: {worst}. BatchNormalization normalises by the "
                f"part of a batch that a process has ({', '.join(normalizes[:3])}): "
                "use a batch that leaves each process enough samples."
            )
        else:
            yield Finding(
                f"{observation.what}: {worst}. A loss, a metric, a layer or the data "
                "depends on more than this process's samples.",
                f"a mean over this process's samples; {_MANUAL}",
            )


def _apart(run: Run) -> Iterator[Finding]:
    """Processes of one job that do not end alike."""
    for rank, theirs in enumerate(run.ranks[1:], 1):
        for one in observations.differences(run.ranks[0], theirs, 1e-5):
            yield Finding(
                f"{one.what}: {one.name} is {one.one:.5g} on rank 0 and "
                f"{one.other:.5g} on rank {rank}",
                "the same calls, with the same random numbers, on every process",
            )
            break


def _missing(
    plain: Sequence[Observation], other: Sequence[Observation], way: Way
) -> Iterator[Finding]:
    if len(plain) != len(other):
        yield Finding(
            f"the script trains {len(plain)} times on one process and {len(other)} "
            f"times with {way.name}",
            "the same calls on every process",
        )


def _of_source(program: Sequence[str]) -> Iterator[Finding]:
    """What can be seen without running the script."""
    path = pathlib.Path(program[0])
    if not path.is_file():
        return  # a module
    for line, text in random_generators.unseeded(path.read_text(encoding="utf-8")):
        yield Finding(
            f"{path.name}:{line}: {text} draws different numbers on each process; data "
            "that it shuffles or makes differs between processes",
            "a seed as its argument, such as 0",
        )


def said(run: Run, framework: str) -> Iterator[str]:
    """Yields lines of a framework that are of this script, and not of every job.

    Args:
        run: A finished run by the framework, with its output.
        framework: Its name, with which its lines begin.
    """
    begin = f"{framework}: "
    for line in dict.fromkeys(run.output.splitlines()):
        text = line.removeprefix(begin)
        if line.startswith(begin) and not _USUAL.search(text):
            yield text


# Said of every job: where output goes, how data are divided, what was trained.
_USUAL = re.compile(
    r"^output of |takes part r of |batches are leased|^updates |^staleness |^waiting "
    r"|^a step "
    r"|goes to worker i modulo|Expect no speed-up|takes part 0 of|^lead "
)


def _ended(run: Run) -> str:
    if run.code is None:
        return f"had not ended after {TIME_LIMIT_S:.0f} s"
    return f"ended with code {run.code}"


def _show(run: Run, say: Callable[[str], None]) -> None:
    for line in run.output.strip().splitlines()[-_SHOWN_LINES:]:
        say(f"    {line}")


def _run(command: Sequence[str], program: Sequence[str], num_ranks: int) -> Run:
    """Runs the script in a copy of the folder, until it has shown enough."""
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "seen").mkdir()
        copy(pathlib.Path.cwd(), folder / "copy")
        environ = {
            **os.environ,
            VARIABLE: str(folder / "seen"),
            "PYTHONPATH": os.pathsep.join(
                [os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
        }
        child = subprocess.Popen(
            [*command, *program],
            cwd=folder / "copy",
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        code: int | None = None
        try:
            output, _ = child.communicate(timeout=TIME_LIMIT_S)
            code = child.returncode
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            output, _ = child.communicate()
        except BaseException:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait()
            raise
        seen = [observations.read(folder / "seen", r) for r in range(num_ranks)]
    return Run(code, output, seen, time.monotonic() - begun_s)


def copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a folder, so that what a script writes there is not the user's.

    What is large is linked: a data set is read, and not written.
    """
    target.mkdir()
    for entry in source.iterdir():
        place = target / entry.name
        if entry.name.startswith(".") or entry.name in ("hfdt-logs", "nfdt-logs"):
            continue
        if _bytes_of(entry) > _COPIED_BYTES:
            place.symlink_to(entry.absolute())
        elif entry.is_dir():
            shutil.copytree(entry, place, symlinks=True)
        elif entry.is_file():
            shutil.copy2(entry, place)


def _bytes_of(entry: pathlib.Path) -> int:
    """Size of a file or of all in a folder; stops counting when it is too large."""
    if not entry.is_dir():
        return entry.stat().st_size if entry.is_file() else 0
    total = 0
    for path in entry.rglob("*"):
        total += path.lstat().st_size
        if total > _COPIED_BYTES:
            break
    return total
