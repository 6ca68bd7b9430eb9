"""``fit`` and ``evaluate`` of a model that trains through a parameter server."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from fdtcore import output
from fdtcore.glue import data, metrics, refusals, saving, state
from fdtcore.glue.wrappers import steps_of
from nfdt.glue.callbacks import acting, reads_epochs
from nfdt.glue.leased_data import LeasedAdapter
from nfdt.glue.optimizer_state import build, has_stepped, optimizers_of, trained_by
from nfdt.glue.resumption import KeepNotes
from nfdt.protocol.messages import Kind, Message


class Training:
    """How one worker fits and evaluates.

    Args:
        engine: This worker's engine.
    """

    def __init__(self, engine: Any):
        self._engine = engine
        self._fitting: list[Any] = []  # models in ``fit``, the innermost last
        self.validates_jointly = False  # whether all wait for worker 0's validation
        self._has_been_left = False  # by ``sys.exit`` in the middle of a ``fit``
        self._iterating = 0  # loops by hand over batches of this worker

    @property
    def is_shared(self) -> bool:
        """Whether steps are on batches that each worker has for itself."""
        return bool(self._fitting or self._iterating)

    @property
    def is_unfinished(self) -> bool:
        """Whether this worker is in a ``fit``, or its script has ended in one."""
        return bool(self._fitting) or self._has_been_left

    def fit(self, model: Any, arguments: dict[str, Any], run: Callable[[], Any]) -> Any:
        """Runs one ``fit``.

        Args:
            model: The model.
            arguments: Of the call, by name; changed.
            run: Keras's own ``fit`` with them.
        """
        engine = self._engine
        refusals.check_stateful(engine, model)
        steps, arguments["steps_per_epoch"] = arguments["steps_per_epoch"], None
        verbose = arguments["verbose"]
        outer, self.validates_jointly = self.validates_jointly, self._waits(arguments)
        notes = KeepNotes(engine, arguments["initial_epoch"])
        arguments["callbacks"] = acting(arguments["callbacks"], engine, verbose, notes)
        if engine.process.rank:
            arguments["verbose"] = 0
        self._begin(model)
        engine.resuming.begin_fit(engine.epochs, arguments)
        self._fitting.append(model)
        try:
            with data.adapting(self._training_data(model, steps)):
                history = run()
        except SystemExit:
            self._has_been_left = True
            raise
        finally:
            self._fitting.pop()
            self.validates_jointly = outer
        self._end(model, history)
        return history

    def evaluate(
        self, model: Any, arguments: dict[str, Any], run: Callable[[], Any]
    ) -> Any:
        """Runs one ``evaluate``: on worker 0, at the newest parameters."""
        engine = self._engine
        if arguments.get("kwargs") and self.validates_jointly:
            return self._validate(arguments, run)
        if arguments.get("kwargs") and engine.process.rank:
            return {}  # the validation of a fit: worker 0 does it
        if not self._fitting and not saving.is_alone():
            engine.barrier()  # else others might still push
        engine.groups.renew(model.trainable_variables)
        if self._fitting or engine.process.size == 1 or saving.is_alone():
            self.tell(Kind.AWAY)  # nobody waits for it until it is back, or pushes
            return run()
        if engine.process.rank:
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
                self._engine.process,
                f"validation: all workers wait for worker 0's, which {name} may read.",
            )
        return bool(name) and self._engine.process.size > 1

    def _validate(self, arguments: dict[str, Any], run: Callable[[], Any]) -> Any:
        """Runs the validation of a fit, whose result all workers wait for."""
        engine, callbacks = self._engine, arguments["callbacks"]
        engine.groups.renew(arguments["self"].trainable_variables)
        is_chief = not engine.process.rank
        if not is_chief:
            callbacks.on_test_begin()
        result = self._by_chief(run)
        if not is_chief:
            callbacks.on_test_end(result)
        return result

    def agree_on_end(self, model: Any) -> None:
        """Ends a fit everywhere that a callback has ended on some worker.

        Where all wait for a validation: no worker begins an epoch that another, by
        what it has read, has done without.
        """
        own = tf.constant(int(model.stop_training))
        model.stop_training = bool(self._engine.sum([own], "end of fit")[0] > 0)

    def _by_chief(self, run: Callable[[], Any]) -> Any:
        """Gives all workers what worker 0 finds."""
        engine = self._engine
        while True:
            result = "" if engine.process.rank else json.dumps(run(), default=float)
            result = engine.broadcast_text(result)
            if result:  # else worker 0 was lost meanwhile: another one does it
                return json.loads(result)

    def iterate(
        self, dataset: Any, inner: Callable[[Any], Any], line: int
    ) -> Iterator[Any]:
        """Iterates the batches of this worker in a loop that is written by hand.

        Args:
            dataset: A data set of batches.
            inner: TensorFlow's own way to iterate one.
            line: That of the loop, for the message.
        """
        engine, process = self._engine, self._engine.process
        output.say(
            process,
            f"tf.data.Dataset: batch i goes to worker i modulo {process.size} in the "
            f"training loop on line {line}.",
        )
        engine.replicas.end()
        self._iterating += 1
        try:
            yield from inner(dataset.shard(process.size, engine.worker))
        finally:
            self._iterating -= 1
        engine.groups.flush()
        engine.barrier()
        engine.groups.pull_all()
        engine.groups.take_all_states()

    def back(self) -> None:
        """Others wait for this worker again, which has been away for a while."""
        self.tell(Kind.BACK)

    def tell(self, kind: Kind) -> None:
        """Posts a message without a payload to all servers."""
        engine = self._engine
        for server in range(engine.transport.num_servers):
            engine.transport.post(server, Message(kind, engine.worker))

    def _training_data(self, model: Any, steps: int | None) -> Callable[[Any], Any]:
        """Returns what makes the first adapter of a ``fit`` lease its batches."""
        engine = self._engine
        made: list[Any] = []

        def adapter(inner: Any) -> Any:
            if made:
                return inner  # of the validation data
            made.append(
                LeasedAdapter(
                    inner,
                    engine.epochs,
                    steps,
                    begins=lambda: self._epoch_begins(model),
                    over=lambda: self._epoch_over(model, made[0].batch_spec),
                )
            )
            output.say(engine.process, str(made[0]))
            return made[0]

        return adapter

    def _begin(self, model: Any) -> None:
        engine = self._engine
        engine.epochs.begin_fit()
        engine.groups.begin_fit()
        engine.replicas.end()
        engine.barrier()

    def begun(self, model: Any) -> None:
        """Makes all workers begin with what worker 0 has, or has restored."""
        engine, trained = self._engine, model.trainable_variables
        if model.built and model.optimizer is not None:
            build(model.optimizer, trained)  # it may ask only now for those it holds
        for one in optimizers_of(model):
            engine.groups.note(one)
        if model.built and engine.process.size > 1:
            engine.agree(state.described(trained), f"model {model.name!r}")
        found = steps_of(model.optimizer)
        mine = json.dumps([model._initial_epoch, [has_stepped(one) for one in found]])
        model._initial_epoch, go_on = json.loads(engine.broadcast_text(mine))
        going = [one for one, goes_on in zip(found, go_on, strict=False) if goes_on]
        if engine.process.rank == 0:
            self._open(going, trained)
            engine.groups.bring(model.optimizer)
        engine.barrier()
        self._open(going, trained)
        if engine.process.size > 1:
            engine.groups.pull(trained)
        if model.built:
            engine.broadcast(
                [*model.non_trainable_variables, *state.overwritten(model)]
            )

    def _open(self, optimizers: list[Any], trained: list[Any]) -> None:
        """Opens the groups of optimizers that go on from steps made before."""
        groups = self._engine.groups
        for one in optimizers:
            if not groups.of_optimizer(one) and one.built:
                groups.of(one, trained_by(one, trained))

    def _epoch_begins(self, model: Any) -> None:
        """Goes on from weights that a callback has set on worker 0."""
        engine = self._engine
        if engine.process.size == 1:
            engine.groups.bring(model.optimizer)
        elif engine.process.rank == 0:
            engine.groups.bring_changed(model.optimizer)
        engine.tallies.begin(model)

    def _epoch_over(self, model: Any, batch_spec: Any) -> None:
        """Adds up what the workers have counted in the epoch that is over.

        Args:
            model: The model.
            batch_spec: Of the user's batches, as ``tf.data`` describes them.
        """
        engine = self._engine
        if model.stop_training and not engine.epochs.is_stopped:
            engine.epochs.stop()  # a callback has ended it in mid-epoch
        if engine.epochs.is_stopped:
            model.stop_training = True
            return
        engine.groups.flush()
        if not engine.epochs.taken:
            state.build(model, batch_spec)  # the others' first batch has done so
        with self._meeting():
            metrics.gather(engine, model)
            engine.tallies.meet(model)
            engine.maximum(state.overwritten(model))
            if engine.process.size > 1:
                engine.groups.open_missing(model, engine)
        engine.groups.pull(model.trainable_variables)
        # Callbacks save it; an average that is kept by it ends in the weights.
        averages = any(one.use_ema for one in steps_of(model.optimizer))
        if engine.process.rank == 0 or averages:
            engine.groups.take_state(model.optimizer)

    @contextlib.contextmanager
    def _meeting(self) -> Iterator[None]:
        self._engine.ending_epoch = self._engine.epochs.current
        try:
            yield
        finally:
            self._engine.ending_epoch = -1

    def _end(self, model: Any, history: Any) -> None:
        """Gives all workers worker 0's weights, optimizer state and history."""
        engine = self._engine
        engine.barrier()
        if engine.process.rank == 0:
            engine.groups.bring(model.optimizer)
        engine.resuming.complete(history)
        text = engine.broadcast_text(json.dumps([history.epoch, history.history]))
        history.epoch, history.history = json.loads(text)
        engine.groups.pull(model.trainable_variables)
        engine.groups.take_state(model.optimizer)
        engine.groups.agree_on_rate(model.optimizer, engine)
        engine.maximum(state.overwritten(model))
        engine.broadcast(model.non_trainable_variables)
