"""The moments at which snapshots are taken, and where an interrupted run goes on.

The script runs again from its top. A ``fit`` that was over returns its History and
leaves its final state; the one that was interrupted begins as any other, and takes over
what was kept before its next batch: the same place of the same loop at which it was
kept. There the loop of Keras holds nothing of its own. What they hold is in
`snapshot_content`.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras

from fdtcore import evidence, output
from fdtcore.engine import Collectives, Stateful
from fdtcore.glue import (
    binding,
    callback_state,
    callbacks,
    fit_identity,
    fit_run,
    indexed_data,
)
from fdtcore.glue.fit_run import FitRun
from fdtcore.glue.loop_run import LoopRun, Loops
from fdtcore.glue.made_variables import MadeVariables
from fdtcore.glue.plain_values import unpack
from fdtcore.glue.snapshot_choice import Opened, broadcast
from fdtcore.glue.snapshot_content import SnapshotContent
from fdtcore.glue.state import InitialState
from fdtcore.keras_types import Callback, Model
from fdtcore.snapshots import tensor_file
from fdtcore.snapshots.cadence import Cadence, Schedule
from fdtcore.snapshots.position import Position, PositionFile
from fdtcore.snapshots.stop_requests import StopRequests
from fdtcore.snapshots.tensor_file import Content
from fdtcore.snapshots.writer import Writer


class Snapshots:
    """Takes the snapshots of a job, and goes on from those of an interrupted one.

    Args:
        collectives: Those of the ranks.
        initial_state: Gives all ranks what rank 0 begins with.
        cadence: How often snapshots are taken.
        opened: The folders of snapshots.
        about: What tells the program from another one.
        end: Ends this process at the user's wish.
        progress: Folder in which the launcher sees how far the job is; empty for none.
        stateful: Has a state beside variables; None where nothing has.
    """

    def __init__(
        self,
        collectives: Collectives,
        initial_state: InitialState,
        cadence: Cadence,
        opened: Opened,
        about: dict[str, Any],
        end: Callable[[], None],
        progress: str = "",
        stateful: Stateful | None = None,
    ):
        self.collectives = collectives
        self._store, self._found = opened.store, opened.found
        self._copies = opened.copies
        self._places: list[PositionFile] = []
        if self._store is not None:
            folders = [str(self._store.path), progress]
            self._places = [PositionFile(path) for path in folders if path]
        if self._copies is not None:
            atexit.register(self._end_copies, os.getpid())
        self._lost = opened.lost
        self._trained = self._kept = 0  # batches, in all and in the newest snapshot
        self._at = Position(0, 0, 0, 0)
        of_job = {"job": about, "seed": opened.seed}
        of_job |= {"begun": opened.job, "origin": opened.origin}
        self.content = SnapshotContent(
            collectives,
            initial_state,
            of_job,
            self.say,
            is_keeper=opened.store is not None or opened.copies is not None,
            has_copies=opened.has_copies,
            stateful=stateful,
        )
        self._end = end
        found = opened.found
        # Number of the newest snapshot of the fit under way; 0: there is none.
        self._number = found.step.about["number"] if found and found.step else 0
        self._fit = 0  # fits of this process so far, the one under way included
        self._writer = Writer(output.shout)
        self._schedule = Schedule(cadence, time.monotonic())
        self._said: set[str] = set()
        self._to_meeting = 0  # steps until the ranks meet
        self._since = 0  # steps since they met
        over = len(found.fits) if found else 0
        is_in_fit = bool(found and found.step)
        loop = found.step.about.get("loop") if found and found.step else None
        number = loop["number"] if loop else 0
        ends = self._store.loops() if self._store and found else []
        text = collectives.broadcast_text(json.dumps([over, is_in_fit, number, ends]))
        self._over, self._is_in_fit, number, ends = json.loads(text)
        self._is_in_fit = self._is_in_fit and not number
        pending = (self._over + 1, number) if number else None
        self.loops = Loops(self, pending, {(fit, loop) for fit, loop in ends})
        context = binding.context()
        context.loops, context.made_variables = self.loops, MadeVariables()
        self.requests = StopRequests(self._end_between)
        self.requests.listen()

    # --- A fit -----------------------------------------------------------------------

    def fit(
        self, model: Model, arguments: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        """Runs a ``fit``, goes on with one, or returns what one has returned.

        Args:
            model: The user's Keras model.
            arguments: Of the call, by name; changed.
            run: Keras's ``fit`` with them.
        """
        if binding.context().fit_run.now is not None:
            return run()  # one inside another is a part of it
        self._fit += 1
        self.loops.begin_fit(self._fit)
        given = callbacks.listed(arguments["callbacks"])
        identity = fit_identity.described(model, arguments)
        if self._fit <= self._over:
            return self._finished(model, arguments, given, identity)
        kept = None
        if self._fit == self._over + 1 and self._is_in_fit:
            kept = self._received(self._found.step if self._found else None)
            self._found = None  # as large as the model
            self._check(kept, given, identity, is_over=False)
            self._copy(kept, is_over=False, is_first=True)
            if self._store is not None:  # it writes them
                callback_state.continue_logs(given, kept.about["callbacks"])
        sources = fit_run.sources_of(arguments)
        fit = FitRun(self, model, given, identity, self._fit, sources, kept)
        fit_run.append(arguments, fit.watch)
        with binding.context().fit_run.given(fit), self.stepping():
            history = run()
            self._keep_fit(fit)
        if self.requests.received:  # since the ranks have asked each other
            self._end_between()
        return history

    @contextlib.contextmanager
    def stepping(self) -> Iterator[None]:
        """While the block runs, a signal waits for the next step."""
        self.requests.is_stepping = True
        try:
            yield
        finally:
            self.requests.is_stepping = False

    def _finished(
        self,
        model: Model,
        arguments: dict[str, Any],
        given: list[Callback],
        identity: dict[str, str],
    ) -> Any:
        """Leaves the state in which a fit of the interrupted run has ended."""
        path = self._found.fits[self._fit - 1] if self._found else None
        kept = self._received(tensor_file.read(path) if path else None)
        self._check(kept, given, identity, is_over=True)
        self._copy(kept, is_over=True)
        found = [c for c in given if isinstance(c, keras.callbacks.History)]
        history = found[-1] if found else keras.callbacks.History()
        history.set_model(model)
        history.set_params(kept.about["params"])
        model.history, history.epoch = history, []
        for callback in given:
            callback.set_model(model)
            callback.set_params(kept.about["params"])
        hooks = unpack(kept.about.get("hooks"), kept.arrays)
        indexed_data.call_again(arguments["x"], hooks)
        last = fit_identity.pass_over(arguments, kept.about["position"])
        self.content.complete(
            model, kept.about, lambda: fit_identity.specification(arguments, last)
        )
        self.content.give_back(model, kept, given)
        model.stop_training = kept.about["stopped"]
        evidence.note_exchange()  # by the run that trained
        self.say(
            f"fit {self._fit} was over: its weights and History are those it left."
        )
        return history

    def _check(
        self,
        kept: Content,
        given: list[Callback],
        identity: dict[str, str],
        *,
        is_over: bool,
    ) -> None:
        about = kept.about
        different = [
            f"{name} {about['fit_of'].get(name)!r} there, {value!r} here"
            for name, value in identity.items()
            if about["fit_of"].get(name) != value and (is_over or name != "epochs")
        ]
        different += filter(
            None, [callback_state.difference(given, about["callbacks"])]
        )
        if not is_over and about["position"]["epoch"] >= int(identity["epochs"]):
            different.append(
                f"come to epoch {about['position']['epoch'] + 1} there, and has "
                f"{identity['epochs']} here"
            )
        if about["job"]["batch"] == "per_worker" and not is_over:
            if about["size"] != self.collectives.process.size:
                different.append(
                    f"{about['size']} ranks with batches of their own there, "
                    f"{self.collectives.process.size} here"
                )
        if different:
            raise ValueError(
                f"a snapshot must be of this program. Received: fit {self._fit} has "
                f"{different[0]}. Run what was interrupted, or begin anew in another "
                "folder."
            )

    # --- A loop by hand --------------------------------------------------------------

    @property
    def next_fit(self) -> int:
        """Number of the fit that comes next."""
        return self._fit + 1

    @property
    def begun_fits(self) -> int:
        """The fits that had begun when the newest snapshot was taken."""
        return self._over + int(self._is_in_fit)

    def receive_loop(self) -> Content:
        """Returns the snapshot of a loop that the job goes on in; all ranks call it."""
        kept = self._received(self._found.step if self._found else None)
        if self._found is not None:  # as large as all models
            self._found = self._found._replace(step=None)
        self._copy(kept, is_over=False, is_first=True)
        return kept

    def receive_end(self, fit: int, loop: int) -> Content:
        """Returns what a loop has left; all ranks call it.

        Args:
            fit: Number of the fit behind it.
            loop: Number of the loop.
        """
        own = None
        if self._store is not None:
            own = tensor_file.read(self._store.of_loop(fit, loop))
        return self._received(own)

    def keep_loop(self, run: LoopRun) -> None:
        """Keeps what a loop that is over has left."""
        self._note(run.place())
        if run.may_be_kept:
            self._schedule.taken(time.monotonic())
            self._keep(run, is_over=False, loop=run.number)

    # --- Taking ----------------------------------------------------------------------

    def at_step(self, run: FitRun | LoopRun, steps: int) -> None:
        """Takes a snapshot where one is due; ends the job where that was asked for.

        Args:
            run: The fit or the loop under way, between two steps.
            steps: Steps since this was called last.
        """
        self._trained += steps
        if steps:  # the launcher takes it as a sign that the job trains
            self._note(run.place())
        if self.collectives.process.size == 1:
            asked = bool(self.requests.received)
            is_due = self._schedule.is_due(steps, time.monotonic())
            is_due = is_due and not self._writer.is_busy
        else:
            asked, is_due = self._agreed(run, steps)
        if not asked and not is_due:
            return
        if run.may_be_kept:
            self._schedule.taken(time.monotonic())
            self._keep(run, is_over=False)
        if asked:
            self._leave(run.where())

    def _agreed(self, run: FitRun | LoopRun, steps: int) -> tuple[bool, bool]:
        """Returns whether the ranks end now, and whether they take a snapshot.

        Args:
            run: The fit or the loop under way.
            steps: Steps since this was called last.
        """
        self._since += steps
        self._to_meeting -= steps
        if self._to_meeting > 0 and not run.must_meet:
            return False, False
        mine: dict[str, Any] = {"asked": bool(self.requests.received)}
        if self.collectives.process.rank == 0:
            now_s = time.monotonic()
            is_due = self._schedule.is_due(self._since, now_s)
            mine["is due"] = is_due and not self._writer.is_busy
            mine["next"] = self._schedule.next_meeting(self._since, now_s)
        brought = [json.loads(text) for text in self._told(json.dumps(mine))]
        self._since, self._to_meeting = 0, brought[0]["next"]
        return any(one["asked"] for one in brought), brought[0]["is due"]

    def _keep(self, run: FitRun | LoopRun, *, is_over: bool, loop: int = 0) -> None:
        """Begins to write a snapshot.

        Args:
            run: What it is of.
            is_over: Whether it is of a fit that is over.
            loop: Number of the loop that is over; 0 for what is under way.
        """
        fit = run.place().fit
        number = self._store.number(fit) if self._store else 0
        content, trained = run.content(number), self._trained
        if content is None:
            return
        if self._store is None:
            self._copy(content, is_over=is_over)
            return
        store = self._store

        def write() -> None:
            if is_over:
                store.keep_fit(fit, content)
            else:
                path = store.keep_step(fit, content, number)
                if loop and not store.keep_loop(fit, loop, path):
                    self.say(
                        "the ends of loops take more than 1 GiB: the oldest are "
                        "removed. After an interruption, what the script does behind "
                        "those loops, it does with later values."
                    )
            self._kept, self._number = trained, 0 if is_over else number
            if trained:
                self._note(self._at)

        self._writer.begin(write, "a snapshot")

    def _copy(self, content: Content, *, is_over: bool, is_first: bool = False) -> None:
        """Begins to keep a snapshot in memory, where this rank does that.

        Args:
            content: What it holds.
            is_over: Whether it is of a fit that is over.
            is_first: Whether all ranks go on from it, whatever else is kept.
        """
        copies, fit = self._copies, content.about["fit"]
        if copies is None:
            return

        def write() -> None:
            if is_over:
                copies.keep_fit(fit, content)
                return
            keep = copies.go_on_from if is_first else copies.keep_step
            keep(fit, content, content.about["number"])

        what = f"a copy of a snapshot in the memory of {socket.gethostname()}"
        self._writer.begin(write, what)

    def _end_copies(self, pid: int) -> None:
        """Removes the copies where the script has come to its end."""
        if self._copies is not None and os.getpid() == pid:  # no child of the user's
            self._writer.wait()
            self._copies.remove()

    def _note(self, at: Position) -> None:
        """Notes where the job is, for whoever finds its folder."""
        self._at = at
        unkept = self._trained - self._kept
        for place in self._places:
            place.write(at._replace(unkept=unkept, snapshot=self._number))

    def lost(self) -> str:
        """Says once what an interruption has cost, behind where the job goes on."""
        number, self._lost = self._lost, 0
        if not number:
            return ""
        if number == 1:
            return " 1 batch trained since that snapshot is trained again."
        return f" {number} batches trained since that snapshot are trained again."

    def _told(self, text: str) -> list[str]:
        if self.collectives.process.size == 1:
            return [text]
        return self.collectives.allgather_text(text)

    def _leave(self, where: str) -> None:
        """Ends the job when what was kept last is on the disk."""
        self._writer.wait()
        if self._store is not None:
            kept = self._writer.problem or f"a snapshot is in {self._store.path}"
            output.shout(
                f"stopped before {where}; {kept}. The same command with --resume auto "
                "goes on."
            )
        self.collectives.broadcast_text("")  # rank 0 has come here, too
        self._end()

    def _keep_fit(self, fit: FitRun) -> None:
        """Keeps what a fit that is over has left."""
        self._keep(fit, is_over=True)
        asked = self._told(str(self.requests.received))
        if any(int(number) for number in asked):
            self._leave(f"fit {fit.number + 1}")

    def _received(self, content: Content | None) -> Content:
        """Gives all ranks what rank 0 has read."""
        if self.collectives.process.size == 1:
            assert content is not None
            return content
        own = b"" if content is None else tensor_file.dump(content)
        data = broadcast(self.collectives, own)
        return content or tensor_file.parse(data)

    def _end_between(self) -> None:
        """Ends this process, where no step will come that could end the job."""
        self._writer.wait()
        if self._store is not None:
            output.shout(f"stopped between two fits or loops; see {self._store.path}.")
        self._end()

    def note_step(self) -> None:
        """Says once that steps are made of which nothing is kept."""
        if binding.context().fit_run.now is None and self.loops.now is None:
            self.say(
                "steps outside of fit are not kept in snapshots, but those of for "
                "statements over a tf.data.Dataset: after an interruption they are "
                "made again."
            )

    def say(self, text: str) -> None:
        """Prints a line, once in a job."""
        if self._store is not None and text not in self._said:
            self._said.add(text)
            output.shout(text)
