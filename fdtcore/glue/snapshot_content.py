"""The content of a snapshot, of all ranks, and the way back from it.

Variables, with what differs between ranks of each; callbacks, History and random
generators. When one is taken is in `snapshots`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fdtcore.engine import Array, Collectives, KeptValue, Stateful
from fdtcore.glue import (
    binding,
    callback_state,
    generator_state,
    made_variables,
    model_state,
    snapshot_copies,
    state,
)
from fdtcore.glue.fit_run import FitRun
from fdtcore.glue.loop_run import LoopRun
from fdtcore.glue.plain_values import Packer, unpack
from fdtcore.glue.state import InitialState
from fdtcore.keras_types import Callback, Model, Variable
from fdtcore.snapshots import folder
from fdtcore.snapshots.tensor_file import Content

# From what receives arrays, and the states of all ranks' generators, to what a snapshot
# says beside the values of variables.
Describe = Callable[[dict[str, Any], list[dict[str, Any]]], dict[str, Any]]


class SnapshotContent:
    """Makes the content of snapshots, and gives it back.

    Args:
        collectives: Those of the ranks.
        initial_state: Gives all ranks what rank 0 begins with.
        about: What each snapshot says of its job.
        say: Says a line, once in a job.
        is_keeper: Whether this rank keeps snapshots.
        has_copies: Whether others than rank 0 do.
        stateful: Has a state beside variables; None where nothing has.
    """

    def __init__(
        self,
        collectives: Collectives,
        initial_state: InitialState,
        about: dict[str, Any],
        say: Callable[[str], None],
        *,
        is_keeper: bool,
        has_copies: bool,
        stateful: Stateful | None = None,
    ):
        self._collectives, self._initial_state = collectives, initial_state
        self._about, self._say = about, say
        self._is_keeper, self._has_copies = is_keeper, has_copies
        self._stateful = stateful

    def of_fit(self, fit: FitRun, number: int) -> Content | None:
        """Returns what a snapshot holds, on ranks that keep it; all ranks call it.

        Args:
            fit: The fit under way, or over.
            number: Of the snapshot.
        """
        held = model_state.variables(fit.model)
        rules = model_state.rules(self._collectives, fit.model, held)

        def describe(
            values: dict[str, Any], generators: list[dict[str, Any]]
        ) -> dict[str, Any]:
            packer, model = Packer(values, "value."), fit.model
            history = model.history  # Keras makes one for each fit
            logs = {"epoch": history.epoch, "logs": history.history}
            return {
                **self._described(fit.number, number, held, rules, generators),
                "fit_of": fit.identity,
                "position": fit.position(),
                "optimizers": model_state.built(model, held),
                "callbacks": callback_state.pack(fit.callbacks, packer, self._say),
                "history": packer.pack(logs),
                "hooks": packer.pack(fit.hooks),
                "params": {k: v for k, v in history.params.items() if _is_number(v)},
                "stopped": bool(model.stop_training),
            }

        return self._gathered(held, rules, fit.data_states, describe)

    def of_loop(self, loop: LoopRun, number: int) -> Content | None:
        """Returns what a snapshot holds of a loop by hand; all ranks call it.

        Args:
            loop: The loop under way.
            number: Of the snapshot.
        """
        held = _made()
        rules = made_variables.rules(self._collectives, held)
        if rules is None:
            self._say(
                "ranks have made different variables: loops by hand are not kept in "
                "snapshots."
            )
            return None

        def describe(
            values: dict[str, Any], generators: list[dict[str, Any]]
        ) -> dict[str, Any]:
            del values  # of callbacks, which a loop has none
            return {
                **self._described(loop.fit, number, held, rules, generators),
                "loop": loop.described(),
            }

        return self._gathered(held, rules, {"ended": loop.ended}, describe)

    def _described(
        self,
        fit: int,
        number: int,
        held: list[Variable],
        rules: list[str | None],
        generators: list[dict[str, Any]],
    ) -> dict[str, Any]:
        """Returns what every snapshot says."""
        return {
            **self._about,
            "format": folder.FORMAT,
            "size": self._collectives.process.size,
            "fit": fit,
            "number": number,
            "variables": model_state.described(held),
            "rules": rules,
            "generators": generators,
            "kept": [one.rule for one in self._kept()],
        }

    def _kept(self) -> list[KeptValue]:
        return self._stateful.state() if self._stateful else []

    def _gathered(
        self,
        held: list[Variable],
        rules: list[str | None],
        before: dict[str, Any],
        describe: Describe,
    ) -> Content | None:
        """Returns the values of variables of all ranks, and a description of them.

        Args:
            held: The variables.
            rules: How the values of each on several ranks combine.
            before: Earlier states of this rank's generators, by their names.
            describe: Describes it, on ranks that keep snapshots.
        """
        collectives = self._collectives
        own = [i for i, rule in enumerate(rules) if rule is not None]
        mine = model_state.values([held[i] for i in own])
        names = [f"variable.{i}" for i in own]
        kept = dict(enumerate(self._kept()))
        apart = [i for i, one in kept.items() if one.rule is not None]
        mine += [kept[i].values.copy() for i in apart]
        names += [f"kept.{i}" for i in apart]
        brought = [mine]
        if mine and collectives.process.size > 1:
            brought = collectives.allgather(mine)
        told = json.dumps({"now": generator_state.state(), **before})
        generators = [told]
        if collectives.process.size > 1:
            generators = collectives.allgather_text(told)
        if not self._is_keeper and not self._has_copies:
            return None
        values: dict[str, Any] = {}
        about: dict[str, Any] = {}
        if self._is_keeper:
            about = describe(values, [json.loads(text) for text in generators])
        small = Content(values, about)
        if self._has_copies:
            keeps = self._is_keeper
            small = snapshot_copies.shared(collectives, small, is_keeper=keeps)
        if not self._is_keeper:
            return None
        arrays: dict[str, Any] = {}
        alike = [i for i, rule in enumerate(rules) if rule is None]
        for i, value in zip(
            alike, model_state.values([held[i] for i in alike]), strict=True
        ):
            arrays[f"variable.{i}"] = value
        for rank, own_values in enumerate(brought):
            for name, value in zip(names, own_values, strict=True):
                arrays[f"{name}.rank.{rank}"] = value
        for i, one in kept.items():
            if one.rule is None:
                arrays[f"kept.{i}"] = one.values.copy()
        return Content(arrays | small.arrays, small.about)

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
            self._initial_state.share(model)
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
        about = kept.about
        model_state.build_optimizers(model, about["optimizers"])
        held = model_state.variables(model)
        check_same(
            model_state.described(held),
            about["variables"],
            f"fit {about['fit']} has a model",
        )
        self._assign(kept, dict(enumerate(held)))
        callback_state.restore(given, about["callbacks"], kept.arrays)
        history = unpack(about["history"], kept.arrays)
        model.history.epoch = history["epoch"]
        model.history.history.clear()
        model.history.history.update(history["logs"])
        generator_state.restore(self.generators(about)["now"], of_python=of_python)

    def undo(self, kept: Content) -> None:
        """Gives all variables that there are so far what a snapshot of a loop has.

        Args:
            kept: What the snapshot holds.
        """
        left: dict[str, list[int]] = {}
        for i, text in enumerate(kept.about["variables"]):
            left.setdefault(text, []).append(i)
        held = _made()
        places = {}
        for text, variable in zip(model_state.described(held), held, strict=True):
            if left.get(text):
                places[left[text].pop(0)] = variable
        self._assign(kept, places)

    def give_back_loop(self, kept: Content) -> None:
        """Gives all variables and the generators what a snapshot of a loop has.

        Args:
            kept: What the snapshot holds.
        """
        about = kept.about
        held = _made()
        check_same(
            model_state.described(held),
            about["variables"],
            f"loop {about['loop']['number']} has variables",
        )
        self._assign(kept, dict(enumerate(held)))
        generator_state.restore(self.generators(about)["now"])

    def _assign(self, kept: Content, held: dict[int, Variable]) -> None:
        """Gives variables their values of a snapshot.

        Args:
            kept: What the snapshot holds.
            held: By their places in it.
        """
        about = kept.about
        for i, variable in held.items():
            variable.assign(self._of_rank(kept, f"variable.{i}", about["rules"][i]))
        if self._stateful is not None:
            self._stateful.give_back(
                [
                    KeptValue(rule, self._of_rank(kept, f"kept.{i}", rule))
                    for i, rule in enumerate(about["kept"])
                ]
            )

    def _of_rank(self, kept: Content, name: str, rule: str | None) -> Array:
        if rule is None:
            return kept.arrays[name]
        size = kept.about["size"]
        brought = [kept.arrays[f"{name}.rank.{rank}"] for rank in range(size)]
        return model_state.of_rank(self._collectives.process, size, rule, brought)

    def generators(self, about: dict[str, Any]) -> dict[str, Any]:
        """Returns the states of this rank's generators, which a snapshot has."""
        states = about["generators"]
        rank = self._collectives.process.rank
        found: dict[str, Any] = states[rank if rank < len(states) else 0]
        return found


def _made() -> list[Variable]:
    made = binding.context().made_variables
    return made.all() if made is not None else []


def check_same(here: list[str], there: list[str], where: str) -> None:
    """Refuses variables that are not those of a snapshot.

    Args:
        here: One text for each variable that there is.
        there: One for each of the snapshot.
        where: What has them.

    Raises:
        ValueError: Their variables differ.
    """
    if here == there:
        return
    mine, theirs = next(
        (pair for pair in zip(here, there) if pair[0] != pair[1]),
        (f"{len(here)} variables", f"{len(there)} variables"),
    )
    raise ValueError(
        f"a snapshot must be of this program. Received: {where} with {theirs!r} there, "
        f"{mine!r} here. Run what was interrupted, or begin anew in another folder."
    )


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float | str)
