"""A worker's part in resuming an interrupted run.

The script runs from its beginning. Epochs that are noted as finished are skipped, and
stand in the history; of the one that was under way the servers lease what is left. So
that a batch's number means the same samples, shuffles are seeded as they were.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from fdtcore import output
from fdtcore.engine import Collectives
from fdtcore.glue import callback_state, randomness, state
from fdtcore.glue.plain_values import Packer
from fdtcore.keras_types import Callback, History, Logs, Model, Variable
from nfdt.glue.callbacks import is_on_chief
from nfdt.glue.epochs import Epochs
from nfdt.glue.groups import VariableGroups
from nfdt.options import Options
from nfdt.protocol import serialization
from nfdt.protocol.checkpoints import SEED
from nfdt.protocol.group_spec import GroupSpec
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.transport import Transport

_VARIABLES, _CALLBACKS = "variables", "callbacks"  # notes of the last epoch


class Resumption:
    """What worker 0 notes on server 0, and what all workers recall from it.

    Args:
        transport: The way to the servers.
        worker: Index of this worker, 0 .. M - 1.
        options: The user's options: ``checkpoint`` and ``resume`` are read.
    """

    def __init__(self, transport: Transport, worker: int, options: Options):
        self._transport, self._worker = transport, worker
        self._notes: dict[str, Any] = {}  # of the run that was interrupted
        self.groups: dict[int, GroupSpec] = {}  # its groups, until they are opened
        self.keeps = bool(options.checkpoint)
        self.resumes = bool(options.resume)
        self.past: list[dict[str, float]] = []  # logs of this fit's finished epochs
        self._callbacks: Any = None  # as they were behind the last of these epochs

    def begin(self) -> Callable[[int], int]:
        """Recalls what was noted; returns what gives the seeds of the job."""
        if self.resumes:
            message = Message(Kind.RECALL, self._worker)
            answer = self._transport.call_all({0: message}, {})[0]
            found = serialization.load(bytes(answer.payload))
            for name, data in found["notes"].items():
                self._notes[name] = serialization.load(data.tobytes())
            self.groups = {
                int(g): GroupSpec.from_json(spec) for g, spec in found["groups"].items()
            }
        seed = self._notes.get(SEED, randomness.seeds()(31))
        if self._worker == 0 and self.keeps:
            self._note({SEED: seed})
        return random.Random(seed).getrandbits

    def begin_fit(
        self, epochs: Epochs, arguments: dict[str, Any], given: Sequence[Callback]
    ) -> None:
        """Skips the epochs of a fit that are finished.

        Args:
            epochs: This worker's epochs, at the beginning of the fit.
            arguments: Of the call, by name; changed.
            given: The user's callbacks.
        """
        self.past = []
        while (name := _name(epochs.fit, len(self.past))) in self._notes:
            self.past.append(self._notes[name])
        epochs.skip(len(self.past))
        arguments["initial_epoch"] += len(self.past)
        found = self._notes.get(_CALLBACKS)
        if found is not None and found["at"] != [epochs.fit, len(self.past) - 1]:
            found = None
        self._callbacks = found
        if found is not None:
            if found["stops"]:  # a callback had decided so
                arguments["initial_epoch"] = arguments["epochs"]
            if not self._worker:
                callback_state.continue_logs(given, json.loads(found["state"]))

    def restore_callbacks(
        self, given: Sequence[Callback | None], say: Callable[[str], None]
    ) -> None:
        """Gives callbacks the state that worker 0's had when an epoch was over, once.

        Args:
            given: The user's callbacks. One that is None begins anew.
            say: Is told where they are others.
        """
        found, self._callbacks = self._callbacks, None
        if found is None:
            return
        state = json.loads(found["state"])
        names = [one["class"] for one in state]
        if len(given) != len(names):
            known = ", ".join(names) or "none"
            say(f"the checkpoint is of other callbacks ({known}); these begin anew.")
            return
        callback_state.restore(given, state, found["arrays"])

    def note_epoch(
        self,
        fit: int,
        epoch: int,
        logs: Logs,
        variables: Sequence[Variable],
        callbacks: Mapping[str, Any],
    ) -> None:
        """Notes that an epoch is over, and what servers do not have.

        Args:
            fit: Number of the fit.
            epoch: Of the fit, from 0.
            logs: What its history has of the epoch.
            variables: What the servers do not train.
            callbacks: What is kept of the user's callbacks.
        """
        numbers = {}
        for name, value in (logs or {}).items():
            with contextlib.suppress(TypeError, ValueError):
                numbers[name] = float(value)
        self._note(
            {
                _name(fit, epoch): numbers,
                _VARIABLES: [np.asarray(v.value) for v in variables],
                _CALLBACKS: {"at": [fit, epoch], **callbacks},
            }
        )

    def recall_variables(self, variables: Sequence[Variable]) -> None:
        """Gives a model's other variables what was noted of them, once."""
        found = self._notes.pop(_VARIABLES, [])
        if [v.shape for v in variables] == [value.shape for value in found]:
            for variable, value in zip(variables, found, strict=True):
                variable.assign(value)

    def complete(self, history: History) -> None:
        """Adds the epochs that were skipped to a history."""
        skipped = len(self.past)
        first = min(history.epoch, default=skipped) - skipped
        history.epoch[:0] = range(first, first + skipped)
        for name in dict.fromkeys(n for logs in self.past for n in logs):
            before = [logs.get(name, float("nan")) for logs in self.past]
            history.history[name] = before + history.history.get(name, [])

    def _note(self, values: Mapping[str, Any]) -> None:
        kept = [serialization.dump(value) for value in values.values()]
        payload = serialization.pack({"names": list(values)})
        payload += serialization.pack_list(kept)
        self._transport.post(0, Message(Kind.NOTE, self._worker, payload=payload))


class KeepNotes(keras.callbacks.Callback):
    """Begins a resumed fit where it was, and notes each epoch that is over.

    It stands first among the callbacks. What follows on the others is called by who
    stands last: `restore`, and `note`.

    Args:
        resumption: Sends the notes to server 0, and has those of an earlier run.
        collectives: Those of the workers.
        epochs: This worker's count of epochs, and its leases.
        groups: The variables that this worker's optimizers train.
        first: Keras's number of the fit's first epoch.
        given: The user's callbacks.
    """

    def __init__(
        self,
        resumption: Resumption,
        collectives: Collectives,
        epochs: Epochs,
        groups: VariableGroups,
        first: int,
        given: Sequence[Callback],
    ):
        super().__init__()
        self._given = given
        self._said: set[str] = set()
        self._resumption, self._collectives = resumption, collectives
        self._epochs, self._groups, self._first = epochs, groups, first

    def on_train_begin(self, logs: Logs = None) -> None:
        del logs
        if self._resumption.groups:
            self._groups.reopen(self.model, self._resumption.groups)
            self._resumption.recall_variables(_not_on_servers(self.model))

    def restore(self) -> None:
        """Gives the callbacks their state, which have begun as in any fit."""
        is_chief = not self._collectives.process.rank
        acting = [c if is_chief or not is_on_chief(c) else None for c in self._given]
        self._resumption.restore_callbacks(acting, self._say)

    def note(self, epoch: int, logs: Logs) -> None:
        """Notes that an epoch is over, and what all callbacks have made of it."""
        if not self._resumption.keeps or self._collectives.process.rank:
            return
        arrays: dict[str, Any] = {}
        state = callback_state.pack(self._given, Packer(arrays, "a"), self._say)
        kept = {
            "state": json.dumps(state),
            "arrays": arrays,
            "stops": bool(self.model.stop_training),
        }
        others = _not_on_servers(self.model)
        at = self._epochs.fit, epoch - self._first
        self._resumption.note_epoch(*at, logs, others, kept)

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            output.say(self._collectives.process, text)


def _not_on_servers(model: Model) -> list[Variable]:
    return [*model.non_trainable_variables, *state.overwritten(model)]


def _name(fit: int, epoch: int) -> str:
    return f"epoch {epoch} of fit {fit}"
