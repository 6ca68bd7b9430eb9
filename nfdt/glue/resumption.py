"""A worker's part in resuming an interrupted run.

The script runs from its beginning. Epochs that are noted as finished are skipped, and
stand in the history; of the one that was under way the servers lease what is left. So
that a batch's number means the same samples, shuffles are seeded as they were.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from fdtcore.engine import Collectives
from fdtcore.glue import randomness, state
from fdtcore.keras_types import History, Logs, Model, Variable
from nfdt.glue.epochs import Epochs
from nfdt.glue.groups import VariableGroups
from nfdt.options import Options
from nfdt.protocol import serialization
from nfdt.protocol.checkpoints import SEED
from nfdt.protocol.group_spec import GroupSpec
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.transport import Transport


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
            self._note(SEED, seed)
        return random.Random(seed).getrandbits

    def begin_fit(self, epochs: Epochs, arguments: dict[str, Any]) -> None:
        """Skips the epochs of a fit that are finished.

        Args:
            epochs: This worker's epochs, at the beginning of the fit.
            arguments: Of the call, by name; changed.
        """
        self.past = []
        while (name := _name(epochs.fit, len(self.past))) in self._notes:
            self.past.append(self._notes[name])
        epochs.skip(len(self.past))
        arguments["initial_epoch"] += len(self.past)

    def note_epoch(
        self, fit: int, epoch: int, logs: Logs, variables: Sequence[Variable]
    ) -> None:
        """Notes that an epoch is over, and what servers do not have."""
        numbers = {}
        for name, value in (logs or {}).items():
            with contextlib.suppress(TypeError, ValueError):
                numbers[name] = float(value)
        self._note(_name(fit, epoch), numbers)
        self._note("variables", [np.asarray(v.value) for v in variables])

    def recall_variables(self, variables: Sequence[Variable]) -> None:
        """Gives a model's other variables what was noted of them, once."""
        found = self._notes.pop("variables", [])
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

    def _note(self, name: str, value: Any) -> None:
        payload = serialization.pack({"name": name}) + serialization.dump(value)
        self._transport.post(0, Message(Kind.NOTE, self._worker, payload=payload))


class KeepNotes(keras.callbacks.Callback):
    """Notes each epoch that is over, and begins a resumed fit where it was.

    Args:
        resumption: Sends the notes to server 0, and has those of an earlier run.
        collectives: Those of the workers.
        epochs: This worker's count of epochs, and its leases.
        groups: The variables that this worker's optimizers train.
        first: Keras's number of the fit's first epoch.
    """

    def __init__(
        self,
        resumption: Resumption,
        collectives: Collectives,
        epochs: Epochs,
        groups: VariableGroups,
        first: int,
    ):
        super().__init__()
        self._resumption, self._collectives = resumption, collectives
        self._epochs, self._groups, self._first = epochs, groups, first

    def on_train_begin(self, logs: Logs = None) -> None:
        del logs
        if self._resumption.groups:
            self._groups.reopen(self.model, self._resumption.groups)
            self._resumption.recall_variables(_not_on_servers(self.model))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self._resumption.keeps and not self._collectives.process.rank:
            others = _not_on_servers(self.model)
            fit = self._epochs.fit
            self._resumption.note_epoch(fit, epoch - self._first, logs, others)


def _not_on_servers(model: Model) -> list[Variable]:
    return [*model.non_trainable_variables, *state.overwritten(model)]


def _name(fit: int, epoch: int) -> str:
    return f"epoch {epoch} of fit {fit}"
