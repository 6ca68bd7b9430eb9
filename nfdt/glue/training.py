"""The asynchronous strategy: each gradient goes to servers, parameters come back."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from fdtcore import output
from fdtcore.glue import data, keras_internals, metrics, refusals, saving, state
from fdtcore.glue.callbacks import listed
from fdtcore.glue.wrappers import steps_of
from fdtcore.keras_types import (
    DataAdapter,
    Gradient,
    History,
    Logs,
    Model,
    Optimizer,
    Structure,
    Variable,
)
from nfdt.glue.absence import Absence
from nfdt.glue.callbacks import on_this_worker, reads_epochs, with_progress
from nfdt.glue.collectives import WorkerCollectives
from nfdt.glue.epochs import Epochs
from nfdt.glue.groups import VariableGroups
from nfdt.glue.keras_loop import LeasedStep
from nfdt.glue.layer_state import LayerState
from nfdt.glue.leased_data import LeasedAdapter
from nfdt.glue.optimizer_state import build, has_stepped, optimizers_of, trained_by
from nfdt.glue.push_pull import PushPull
from nfdt.glue.replicated_steps import ReplicatedSteps
from nfdt.glue.resumption import KeepNotes, Resumption
from nfdt.protocol.step_times import StopWatch


class ParameterServerTraining:
    """Trains one model on all workers, each on batches of its own.

    Args:
        collectives: Those of the workers.
        absence: Tells the servers whether this worker trains.
        epochs: This worker's count of epochs, and its leases.
        groups: The variables that its optimizers train.
        layer_state: What its layers keep beside them.
        push_pull: Exchanges gradients for parameters.
        replicated_steps: Steps that all workers make.
        resumption: Goes on with an interrupted run.
    """

    in_parts = False

    def __init__(
        self,
        collectives: WorkerCollectives,
        *,
        absence: Absence,
        epochs: Epochs,
        groups: VariableGroups,
        layer_state: LayerState,
        push_pull: PushPull,
        replicated_steps: ReplicatedSteps,
        resumption: Resumption,
    ):
        self._collectives, self._absence, self._epochs = collectives, absence, epochs
        self._groups, self._layer_state = groups, layer_state
        self._push_pull = push_pull
        self._replicated_steps, self._resumption = replicated_steps, resumption
        self._fits = 0  # that run now, one in another
        self._validates_jointly = False  # whether all wait for worker 0's validation
        self._has_been_left = False  # by ``sys.exit`` in the middle of a ``fit``

    @property
    def finding(self) -> Exception | None:
        """What a step has found while TensorFlow ran it."""
        return self._push_pull.finding

    def take_times(self, watch: StopWatch) -> None:
        """Takes the times of this worker's pushes from now on."""
        self._push_pull.watch = watch

    @property
    def is_unfinished(self) -> bool:
        """Whether this worker is in a ``fit``, or its script has ended in one."""
        return bool(self._fits) or self._has_been_left

    def fit(
        self, model: Model, arguments: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        """Runs one ``fit``.

        Args:
            model: The user's Keras model.
            arguments: Of the call, by name; changed.
            run: Keras's own ``fit`` with them.
        """
        process = self._collectives.process
        refusals.check_stateful(process, model, "nfdt")
        steps, arguments["steps_per_epoch"] = arguments["steps_per_epoch"], None
        verbose = arguments["verbose"]
        outer, self._validates_jointly = self._validates_jointly, self._waits(arguments)
        given = listed(arguments["callbacks"])
        notes = KeepNotes(
            self._resumption,
            self._collectives,
            self._epochs,
            self._groups,
            arguments["initial_epoch"],
            given,
        )
        arguments["callbacks"] = on_this_worker(
            arguments["callbacks"],
            self._collectives,
            verbose,
            first=notes,
            last=_FitCallback(self._begun, self._epoch_ended, notes),
        )
        if process.rank:
            arguments["verbose"] = 0
        self._begin()
        self._resumption.begin_fit(self._epochs, arguments, given)
        self._fits += 1
        try:
            leased = data.adapting(self._training_data(model, steps))
            with self._replicated_steps.suspended(), leased:
                history = run()
        except SystemExit:
            self._has_been_left = True
            raise
        finally:
            self._fits -= 1
            self._validates_jointly = outer
        self._end(model, history)
        return history

    def evaluate(
        self, model: Model, arguments: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        """Runs one ``evaluate``: on worker 0, at the newest parameters."""
        process = self._collectives.process
        arguments["callbacks"] = with_progress(
            arguments.get("callbacks"), self._collectives.note_progress
        )
        if arguments.get("kwargs") and self._validates_jointly:
            return self._validate(arguments, run)
        if arguments.get("kwargs") and process.rank:
            return {}  # the validation of a fit: worker 0 does it
        if not self._fits and not saving.is_alone():
            self._collectives.barrier()  # else others might still push
        self._groups.renew(model.trainable_variables)
        # Asked again: the workers before this one may have been lost in the barrier.
        process = self._collectives.process
        if self._fits or process.size == 1 or saving.is_alone():
            self._absence.begin()
            return run()
        if process.rank:
            arguments["verbose"] = 0
        return self._by_chief(run)

    def _waits(self, arguments: dict[str, Any]) -> bool:
        """Whether callbacks on all workers may read what worker 0 validates."""
        validates = arguments["validation_data"] is not None
        if not (validates or arguments["validation_split"]):
            return False
        name = reads_epochs(arguments["callbacks"])
        if name:
            output.say(
                self._collectives.process,
                f"validation: all workers wait for worker 0's, which {name} may read.",
            )
        return bool(name) and self._collectives.process.size > 1

    def _validate(self, arguments: dict[str, Any], run: Callable[[], Any]) -> Any:
        """Runs the validation of a fit, whose result all workers wait for."""
        callbacks = arguments["callbacks"]
        self._groups.renew(arguments["self"].trainable_variables)
        is_chief = not self._collectives.process.rank
        if not is_chief:
            callbacks.on_test_begin()
        result = self._by_chief(run)
        if not is_chief:
            callbacks.on_test_end(result)
        return result

    def _agree_on_end(self, model: Model) -> None:
        """Ends a fit everywhere that a callback has ended on some worker.

        Where all wait for a validation: no worker begins an epoch that another, by
        what it has read, does without.
        """
        own = tf.constant(int(model.stop_training))
        model.stop_training = bool(self._collectives.sum([own], "end of fit")[0] > 0)

    def _by_chief(self, run: Callable[[], Any]) -> Any:
        """Gives all workers what worker 0 finds."""
        collectives = self._collectives
        while True:
            is_chief = not collectives.process.rank
            result = json.dumps(run(), default=float) if is_chief else ""
            result = collectives.broadcast_text(result)
            if result:  # else worker 0 was lost meanwhile: another one does it
                return json.loads(result)

    def iterate(
        self, dataset: tf.data.Dataset, inner: Callable[[Any], Any], line: int
    ) -> Iterator[Any]:
        """Iterates the batches of this worker in a loop that is written by hand.

        Args:
            dataset: A data set of batches.
            inner: TensorFlow's own way to iterate one.
            line: That of the loop, for the message.
        """
        collectives, process = self._collectives, self._collectives.process
        output.say(
            process,
            f"tf.data.Dataset: batch i goes to worker i modulo {process.size} in the "
            f"training loop on line {line}.",
        )
        self._replicated_steps.end()
        with self._replicated_steps.suspended():
            yield from inner(dataset.shard(process.size, collectives.worker))
        self._groups.flush()
        collectives.barrier()
        self._groups.pull_all()
        self._groups.take_all_states()

    def on_batch(
        self, model: Model, arguments: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        """Trains or tests on a batch, as all workers do."""
        del arguments
        self._replicated_steps.begin(model)
        return run()

    def step_on(self, kind: str) -> Callable[[Model, Callable], LeasedStep] | None:
        """Steps on leased batches."""
        if kind != "train":
            return None
        return functools.partial(
            LeasedStep,
            self._collectives,
            self._epochs,
            self._layer_state,
            self._push_pull.batch_done,
        )

    def apply(
        self,
        optimizer: Optimizer,
        gradients: list[Gradient],
        variables: list[Variable] | None,
        inner: Callable[[Any, Any], Any],
    ) -> Any:
        """Pushes one gradient, and gives the variables what comes back."""
        return self._push_pull.apply(optimizer, gradients, variables, inner)

    def handed_on(self, optimizer: Optimizer) -> None:
        """Makes a wrapper count the updates of all workers, as what it holds does."""
        self._push_pull.follow_wrapper(optimizer)

    def settle(self, model: Model) -> None:
        """Brings a model up to date on all workers, before it is saved."""
        collectives = self._collectives
        collectives.average(metrics.moving_statistics(model))
        collectives.maximum(state.overwritten(model))
        self._groups.flush()
        collectives.barrier()
        self._groups.renew(model.trainable_variables)
        if not collectives.process.rank:
            self._groups.take_state(model.optimizer)

    def _training_data(self, model: Model, steps: int | None) -> Callable[[Any], Any]:
        """Returns what makes the first adapter of a ``fit`` lease its batches."""
        made: list[LeasedAdapter] = []

        def adapter(inner: DataAdapter) -> DataAdapter:
            if made:
                return inner  # of the validation data
            made.append(
                LeasedAdapter(
                    inner,
                    self._epochs,
                    steps,
                    begins=lambda: self._epoch_begins(model),
                    merges=self._merge_steps,
                    over=lambda: self._epoch_over(model, made[0].batch_spec),
                )
            )
            output.say(self._collectives.process, str(made[0]))
            return made[0]

        return adapter

    def _begin(self) -> None:
        self._epochs.begin_fit()
        self._groups.begin_fit()
        self._replicated_steps.end()
        self._collectives.barrier()

    def _begun(self, model: Model) -> None:
        """Makes all workers begin with what worker 0 has, or has restored."""
        collectives, groups = self._collectives, self._groups
        trained = model.trainable_variables
        if model.built and model.optimizer is not None:
            build(model.optimizer, trained)  # it may ask only now for those it holds
        for one in optimizers_of(model):
            groups.note(one)
        if model.built and collectives.process.size > 1:
            collectives.agree(state.described(trained), f"model {model.name!r}")
        found = steps_of(model.optimizer)
        begin = keras_internals.initial_epoch(model)
        mine = json.dumps([begin, [has_stepped(one) for one in found]])
        begin, go_on = json.loads(collectives.broadcast_text(mine))
        keras_internals.set_initial_epoch(model, begin)
        going = [one for one, goes_on in zip(found, go_on, strict=False) if goes_on]
        if collectives.process.rank == 0:
            self._open(going, trained)
            groups.bring(model.optimizer)
        collectives.barrier()
        self._open(going, trained)
        if collectives.process.size > 1:
            groups.pull(trained)
        if model.built:
            collectives.broadcast(
                [*model.non_trainable_variables, *state.overwritten(model)]
            )

    def _open(self, optimizers: list[Optimizer], trained: list[Variable]) -> None:
        """Opens the groups of optimizers that go on from steps made before."""
        groups = self._groups
        for one in optimizers:
            if not groups.of_optimizer(one) and one.built:
                groups.of(one, trained_by(one, trained))

    def _epoch_begins(self, model: Model) -> None:
        """Goes on from weights that a callback has set on worker 0."""
        process = self._collectives.process
        if process.size == 1:
            self._groups.bring(model.optimizer)
        elif process.rank == 0:
            self._groups.bring_changed(model.optimizer)
        self._layer_state.begin(model)

    def _merge_steps(self) -> None:
        self._groups.flush()
        self._epochs.done(self._epochs.current, -1)

    def _epoch_over(self, model: Model, batch_spec: Structure) -> None:
        """Adds up what the workers have counted in the epoch that is over.

        Args:
            model: The user's Keras model.
            batch_spec: Of the user's batches, as ``tf.data`` describes them.
        """
        collectives, epochs, groups = self._collectives, self._epochs, self._groups
        if model.stop_training and not epochs.is_stopped:
            epochs.stop()  # a callback has ended it in mid-epoch
        if epochs.is_stopped:
            model.stop_training = True
            return
        groups.flush()
        if not epochs.taken:
            state.build(model, batch_spec)  # the others' first batch has done so
        with epochs.meeting():
            metrics.gather(collectives, model)
            self._layer_state.meet(model)
            collectives.maximum(state.overwritten(model))
            if collectives.process.size > 1:
                groups.open_missing(model, collectives)
        groups.pull(model.trainable_variables)
        # Callbacks save it; an average that is kept by it ends in the weights.
        averages = any(one.use_ema for one in steps_of(model.optimizer))
        if collectives.process.rank == 0 or averages:
            groups.take_state(model.optimizer)

    def _epoch_ended(self, model: Model) -> None:
        """Ends the fit on all workers, or goes on from what they have done."""
        if self._validates_jointly:
            self._agree_on_end(model)
        if model.stop_training:
            self._epochs.stop()
        elif self._collectives.process.rank == 0:
            # The others have trained on while this worker has validated. From here on
            # they wait for it, so that what it pulls is not old when it pushes.
            self._absence.end()
            self._groups.renew(model.trainable_variables)

    def _end(self, model: Model, history: History) -> None:
        """Gives all workers worker 0's weights, optimizer state and history."""
        collectives, groups = self._collectives, self._groups
        collectives.barrier()
        if collectives.process.rank == 0:
            groups.bring(model.optimizer)
        self._resumption.complete(history)
        text = collectives.broadcast_text(json.dumps([history.epoch, history.history]))
        history.epoch, history.history = json.loads(text)
        groups.pull(model.trainable_variables)
        groups.take_state(model.optimizer)
        groups.agree_on_rate(model.optimizer, collectives)
        collectives.maximum(state.overwritten(model))
        collectives.broadcast(model.non_trainable_variables)


class _FitCallback(keras.callbacks.Callback):
    """Stands last among the callbacks of a ``fit``.

    Args:
        begun: Called with the model when the fit has begun.
        epoch_ended: Called with it at the end of an epoch, behind its validation.
        notes: Keeps what the callbacks before have come to.
    """

    def __init__(
        self,
        begun: Callable[[Model], None],
        epoch_ended: Callable[[Model], None],
        notes: KeepNotes,
    ):
        super().__init__()
        self._begun, self._epoch_ended, self._notes = begun, epoch_ended, notes

    def on_train_begin(self, logs: Logs = None) -> None:
        del logs
        self._begun(self.model)
        self._notes.restore()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._notes.note(epoch, logs)
        self._epoch_ended(self.model)
