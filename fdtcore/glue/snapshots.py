"""Snapshots of training, and the exact resumption of a run that was interrupted.

The script runs again from its top. A ``fit`` that was over returns its History and
leaves its final state; the one that was interrupted begins as any other, and takes over
what was kept before its next batch: the same place of the same loop at which it was
kept. There the loop of Keras holds nothing of its own.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras

from fdtcore import evidence, output
from fdtcore.engine import Collectives
from fdtcore.failures import JobError
from fdtcore.glue import (
    binding,
    callback_state,
    callbacks,
    fit_identity,
    fit_run,
    generator_state,
    model_state,
    randomness,
    state,
)
from fdtcore.glue.fit_run import FitRun
from fdtcore.glue.plain_values import Packer, unpack
from fdtcore.glue.state import InitialState
from fdtcore.keras_types import Callback, Model
from fdtcore.snapshots import folder, position, tensor_file
from fdtcore.snapshots.cadence import Cadence, Schedule
from fdtcore.snapshots.folder import Found, SnapshotFolder
from fdtcore.snapshots.position import Position, PositionFile
from fdtcore.snapshots.stop_requests import StopRequests
from fdtcore.snapshots.tensor_file import Content
from fdtcore.snapshots.writer import Writer

_CHUNK_BYTES = 1 << 26


class Opened(NamedTuple):
    """A folder of snapshots, as a job begins with it."""

    store: SnapshotFolder | None  # None on other ranks than 0
    found: Found | None
    seed: int  # what the generators of the job begin with
    lost: int = 0  # batches that were trained since the snapshot was taken


class Snapshots:
    """Takes the snapshots of a job, and goes on from those of an interrupted one.

    Args:
        collectives: Those of the ranks.
        initial_state: Gives all ranks what rank 0 begins with.
        cadence: How often snapshots are taken.
        opened: The folder of snapshots.
        about: What tells the program from another one.
        end: Ends this process at the user's wish.
    """

    def __init__(
        self,
        collectives: Collectives,
        initial_state: InitialState,
        cadence: Cadence,
        opened: Opened,
        about: dict[str, Any],
        end: Callable[[], None],
    ):
        self.collectives, self.initial_state = collectives, initial_state
        self._store, self._found = opened.store, opened.found
        self._place = None if self._store is None else PositionFile(self._store.path)
        self._lost = opened.lost
        self._trained = self._kept = 0  # batches, in all and in the newest snapshot
        self._at = Position(0, 0, 0, 0)
        self._about, self._end = {"job": about, "seed": opened.seed}, end
        found = opened.found
        self._fit = 0  # fits of this process so far, the one under way included
        self._writer = Writer(output.shout)
        self._schedule = Schedule(cadence, time.monotonic())
        self._said: set[str] = set()
        self._to_meeting = 0  # steps until the ranks meet
        self._since = 0  # steps since they met
        over = len(found.fits) if found else 0
        is_in_fit = bool(found and found.step)
        text = collectives.broadcast_text(json.dumps([over, is_in_fit]))
        self._over, self._is_in_fit = json.loads(text)
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
        given = callbacks.listed(arguments["callbacks"])
        identity = fit_identity.described(model, arguments)
        if self._fit <= self._over:
            return self._finished(model, arguments, given, identity)
        kept = None
        if self._fit == self._over + 1 and self._is_in_fit:
            kept = self._received(self._found.step if self._found else None)
            self._found = None  # as large as the model
            self._check(kept, given, identity, is_over=False)
            if self._store is not None:  # it writes them
                callback_state.continue_logs(given, kept.about["callbacks"])
        sources = fit_run.sources_of(arguments)
        fit = FitRun(self, model, given, identity, self._fit, sources, kept)
        fit_run.append(arguments, fit.watch)
        with binding.context().fit_run.given(fit), self._stepping():
            history = run()
            self._keep_fit(fit)
        if self.requests.received:  # since the ranks have asked each other
            self._end_between()
        return history

    @contextlib.contextmanager
    def _stepping(self) -> Iterator[None]:
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
        found = [c for c in given if isinstance(c, keras.callbacks.History)]
        history = found[-1] if found else keras.callbacks.History()
        history.set_model(model)
        history.set_params(kept.about["params"])
        model.history, history.epoch = history, []
        for callback in given:
            callback.set_model(model)
            callback.set_params(kept.about["params"])
        last = fit_identity.pass_over(arguments, kept.about["position"])
        self.complete(
            model, kept.about, lambda: fit_identity.specification(arguments, last)
        )
        self.give_back(model, kept, given)
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

    # --- Taking ----------------------------------------------------------------------

    def at_step(self, fit: FitRun, steps: int) -> None:
        """Takes a snapshot where one is due; ends the job where that was asked for.

        Args:
            fit: The fit under way, between two steps.
            steps: Steps since this was called last.
        """
        self._trained += steps
        self._note(Position(fit.number, fit.epoch, fit.step, 0))
        if self.collectives.process.size == 1:
            asked = bool(self.requests.received)
            is_due = self._schedule.is_due(steps, time.monotonic())
            is_due = is_due and not self._writer.is_busy
        else:
            asked, is_due = self._agreed(fit, steps)
        if not asked and not is_due:
            return
        if fit.may_be_kept:
            self._schedule.taken(time.monotonic())
            self._keep(fit, is_over=False)
        if asked:
            epoch = f"epoch {fit.epoch + 1}, batch {fit.step + 1}"
            self._leave(f"{epoch} of fit {fit.number}")

    def _agreed(self, fit: FitRun, steps: int) -> tuple[bool, bool]:
        """Returns whether the ranks end now, and whether they take a snapshot.

        Args:
            fit: The fit under way.
            steps: Steps since this was called last.
        """
        self._since += steps
        self._to_meeting -= steps
        if self._to_meeting > 0 and (fit.is_repeatable or fit.step):
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

    def _keep(self, fit: FitRun, *, is_over: bool) -> None:
        """Begins to write a snapshot, of a fit that is over or under way."""
        content, store, trained = self.content(fit), self._store, self._trained
        if content is None or store is None:
            return
        keep = store.keep_fit if is_over else store.keep_step

        def write() -> None:
            keep(fit.number, content)
            self._kept = trained
            self._note(self._at)

        self._writer.begin(write, "a snapshot")

    def _note(self, at: Position) -> None:
        """Notes where the job is, for whoever finds its folder."""
        self._at = at
        if self._place is not None:
            self._place.write(at._replace(unkept=self._trained - self._kept))

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

    def content(self, fit: FitRun) -> Content | None:
        """Returns what a snapshot holds, on rank 0; all ranks call it."""
        model, collectives = fit.model, self.collectives
        held = model_state.variables(model)
        rules = model_state.rules(collectives, model, held)
        own = [i for i, rule in enumerate(rules) if rule is not None]
        mine = model_state.values([held[i] for i in own])
        brought = [mine]
        if own and collectives.process.size > 1:
            brought = collectives.allgather(mine)
        generators = self._told(
            json.dumps({"now": generator_state.state(), "pass": fit.generators})
        )
        if self._store is None:
            return None
        arrays: dict[str, Any] = {}
        alike = [i for i, rule in enumerate(rules) if rule is None]
        values = model_state.values([held[i] for i in alike])
        for i, value in zip(alike, values, strict=True):
            arrays[f"variable.{i}"] = value
        for rank, own_values in enumerate(brought):
            for i, value in zip(own, own_values, strict=True):
                arrays[f"variable.{i}.rank.{rank}"] = value
        packer = Packer(arrays, "value.")
        history = model.history  # Keras makes one for each fit
        about = {
            **self._about,
            "format": folder.FORMAT,
            "size": collectives.process.size,
            "fit": fit.number,
            "fit_of": fit.identity,
            "position": fit.position(),
            "variables": model_state.described(held),
            "rules": rules,
            "optimizers": model_state.built(model, held),
            "generators": [json.loads(text) for text in generators],
            "callbacks": callback_state.pack(fit.callbacks, packer, self.say),
            "history": packer.pack({"epoch": history.epoch, "logs": history.history}),
            "params": {k: v for k, v in history.params.items() if _is_number(v)},
            "stopped": bool(model.stop_training),
        }
        return Content(arrays, about)

    # --- Giving back -----------------------------------------------------------------

    def complete(
        self, model: Model, about: dict[str, Any], specification: Callable[[], Any]
    ) -> None:
        """Makes what a model, its metrics and its optimizer make in their first step.

        Args:
            model: The user's Keras model.
            about: What the snapshot says.
            specification: Returns that of a batch.
        """
        if not model.built:
            state.build(model, specification())
            self.initial_state.share(model)
        elif len(model_state.variables(model)) < len(about["variables"]):
            state.build(model, specification())

    def give_back(
        self,
        model: Model,
        kept: Content,
        given: list[Callback],
        *,
        of_python: bool = True,
    ) -> None:
        """Gives a model, its callbacks and the generators what was kept.

        Args:
            model: The user's Keras model, built.
            kept: What a snapshot holds.
            given: The callbacks that the user gave to ``fit``.
            of_python: Whether Python's and NumPy's generators are given back as well.
        """
        about, process = kept.about, self.collectives.process
        model_state.build_optimizers(model, about["optimizers"])
        held = model_state.variables(model)
        here = model_state.described(held)
        if here != about["variables"]:
            pairs = [*zip(here, about["variables"])]
            mine, theirs = next(
                (pair for pair in pairs if pair[0] != pair[1]),
                (f"{len(here)} variables", f"{len(about['variables'])} variables"),
            )
            raise ValueError(
                f"a snapshot must be of this program. Received: fit {self._fit} has a "
                f"model with {theirs!r} there, {mine!r} here. Run what was "
                "interrupted, or begin anew in another folder."
            )
        for i, (variable, rule) in enumerate(zip(held, about["rules"], strict=True)):
            if rule is None:
                value = kept.arrays[f"variable.{i}"]
            else:
                names = [f"variable.{i}.rank.{rank}" for rank in range(about["size"])]
                brought = [kept.arrays[name] for name in names]
                value = model_state.of_rank(process, about["size"], rule, brought)
            variable.assign(value)
        callback_state.restore(given, about["callbacks"], kept.arrays)
        history = unpack(about["history"], kept.arrays)
        model.history.epoch = history["epoch"]
        model.history.history.clear()
        model.history.history.update(history["logs"])
        generator_state.restore(self.generators(about)["now"], of_python=of_python)

    def generators(self, about: dict[str, Any]) -> dict[str, Any]:
        """Returns the states of this rank's generators, which a snapshot has."""
        states = about["generators"]
        rank = self.collectives.process.rank
        found: dict[str, Any] = states[rank if rank < len(states) else 0]
        return found

    def _received(self, content: Content | None) -> Content:
        """Gives all ranks what rank 0 has read."""
        if self.collectives.process.size == 1:
            assert content is not None
            return content
        own = b"" if content is None else tensor_file.dump(content)
        size = int(self.collectives.broadcast_text(str(len(own))))
        parts = [
            self.collectives.broadcast_bytes(own[start : start + _CHUNK_BYTES])
            for start in range(0, size, _CHUNK_BYTES)
        ]
        return content or tensor_file.parse(b"".join(parts))

    def _end_between(self) -> None:
        """Ends this process, where no step will come that could end the job."""
        self._writer.wait()
        if self._store is not None:
            output.shout(f"stopped between two fits; see {self._store.path}.")
        self._end()

    def note_step(self) -> None:
        """Says once that steps are made of which nothing is kept."""
        if binding.context().fit_run.now is None:
            self.say(
                "steps outside of fit are not kept in snapshots: after an interruption "
                "they are made again."
            )

    def say(self, text: str) -> None:
        """Prints a line, once in a job."""
        if self._store is not None and text not in self._said:
            self._said.add(text)
            output.shout(text)


def opened(
    collectives: Collectives,
    path: str,
    resume: str,
    about: dict[str, Any],
) -> Opened:
    """Opens the folder of snapshots on rank 0; all ranks call it.

    Args:
        collectives: Those of the ranks.
        path: The folder.
        resume: ``"auto"`` goes on where there are snapshots, empty refuses them; a
            folder must have some.
        about: What tells the program from another one.

    Raises:
        JobError: The folder cannot be used, or its snapshots are of another program.
    """
    made, problem = Opened(None, None, 0), ""
    if collectives.process.rank == 0:
        try:
            made = _opened(path, resume, about)
        except ValueError as error:
            problem = str(error)
    problem, seed = json.loads(
        collectives.broadcast_text(json.dumps([problem, made.seed]))
    )
    if problem:
        raise JobError(problem)
    return made._replace(seed=seed)


def _opened(path: str, resume: str, about: dict[str, Any]) -> Opened:
    store = folder.opened(path, resume)
    found = store.find(output.shout)
    if found.place is None:
        if resume and resume != "auto":
            raise ValueError(
                "a folder to resume from must hold snapshots. Received: "
                f"{path}, which has no whole one. Write some with --snapshot DIR."
            )
        return Opened(store, found, randomness.seeds()(31))
    there = found.about["job"]
    for name, value in about.items():
        if there.get(name) != value:
            raise ValueError(
                f"a snapshot must be of this program. Received: {found.place} has "
                f"{name} {there.get(name)!r}, and here is {value!r}. Run what was "
                "interrupted, or begin anew in another folder."
            )
    last = position.read(path)
    lost = last.unkept if last is not None else 0
    return Opened(store, found, int(found.about["seed"]), lost)


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float | str)
