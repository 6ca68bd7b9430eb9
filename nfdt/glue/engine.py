"""The asynchronous engine: each gradient goes to the servers, parameters come back."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from fdtcore import options as option_fields
from fdtcore import output
from fdtcore.glue import calls, exchange, state
from fdtcore.process import Process
from fdtcore.shadow_files import patches
from nfdt.glue import optimizer_state
from nfdt.glue.collectives import Gathering
from nfdt.glue.epochs import Epochs
from nfdt.glue.groups import VariableGroups
from nfdt.glue.keras_loop import LeasedStep
from nfdt.glue.layer_state import Tallies
from nfdt.glue.push_pull import Applying, InTurn
from nfdt.glue.replicated_steps import Replicas
from nfdt.glue.resumption import Resuming
from nfdt.glue.training import Training
from nfdt.options import Options
from nfdt.protocol.transport import Transport


class _NoLine:
    """Joint calls are made on the server, which knows who waits where."""

    def enter(self, label: str) -> None:
        del label

    def leave(self) -> None:
        pass


class ParameterServerEngine(exchange.Exchange):
    """Trains one model on all workers, each on batches of its own.

    Args:
        process: This worker among the workers.
        transport: The way to the servers.
        options: The user's choices.
    """

    in_parts = False
    innermost = True

    def __init__(self, process: Process, transport: Transport, options: Options):
        if options.overlap:
            transport = InTurn(transport)
        self.options = options
        self.transport = transport
        self.epochs = Epochs(transport, process.rank, process.size)
        self.ending_epoch = -1  # the epoch whose end the workers meet for
        self.worker = process.rank  # as the servers know it
        meetings = Gathering(
            transport, process.rank, lambda: self.ending_epoch, self._succeed
        )
        super().__init__(process, meetings, _NoLine(), "nfdt")
        self._meetings = meetings
        self.groups = VariableGroups(transport, process, options)
        self.resuming = Resuming(transport, process.rank, options)
        self.training = Training(self)
        self.replicas = Replicas(self)
        self.tallies = Tallies(self)
        self.finding: Exception | None = None
        self.applying = Applying(self)

    def _succeed(self) -> None:
        """Becomes the voice of the job: the workers before this one are gone."""
        self.process = dataclasses.replace(self.process, rank=0)
        output.restore()
        patches.end()
        output.shout(f"worker {self.worker} prints, validates and saves from now on.")

    def choose(self, options: Options) -> None:
        """Takes the choices of a call of ``distribute``.

        Raises:
            ValueError: Another call of it, or the command line, chose otherwise.
        """
        if options != self.options:
            raise ValueError(
                "one job trains with one set of options, which its servers have. "
                f"Received: {option_fields.difference(options, self.options)} in "
                "a later call. Pass the same options to all, or to nfdt run."
            )

    def fit(self, model: Any, arguments: dict[str, Any], run: Callable) -> Any:
        """Runs Keras's ``fit`` on leased batches."""
        return self.training.fit(model, arguments, run)

    def evaluate(self, model: Any, arguments: dict[str, Any], run: Callable) -> Any:
        """Runs Keras's ``evaluate`` on worker 0, at the newest parameters."""
        return self.training.evaluate(model, arguments, run)

    def on_batch(
        self, model: Any, name: str, arguments: Any, run: Callable[[], Any]
    ) -> Any:
        """Trains or tests on a batch, as all workers do."""
        del name, arguments
        self.replicas.begin(model)
        return run()

    def settle(self, model: Any) -> None:
        """Brings a model up to date on all workers, before it is saved."""
        super().settle(model)
        self.maximum(state.overwritten(model))
        self.groups.flush()
        self.barrier()
        self.groups.renew(model.trainable_variables)
        if not self.process.rank:
            self.groups.take_state(model.optimizer)

    def iterate(self, dataset: Any, inner: Callable[[Any], Any], line: int) -> Any:
        """Iterates every M-th batch; at the end all workers have what all pushed."""
        return self.training.iterate(dataset, inner, line)

    def step_on(self, kind: str) -> Callable[..., Any] | None:
        """Steps on leased batches."""
        return LeasedStep if kind == "train" else None

    def average(self, variables: Sequence[Any]) -> None:
        """Gives every variable the workers' mean, weighted by their batches."""
        if not variables:
            return
        own = float(self.epochs.taken)
        weighed = [tf.cast(v.value, tf.float64) * own for v in variables]
        *sums, total = self.sum([*weighed, tf.constant(own, tf.float64)], "average")
        if total > 0:
            for variable, value in zip(variables, sums, strict=True):
                variable.assign(tf.cast(value / total, variable.dtype))

    def maximum(self, variables: Sequence[Any]) -> None:
        """Gives every variable the largest of the workers' values, element by element.

        So Keras combines those that take a new value in place of a gradient.
        """
        if not variables or self.process.size == 1:
            return
        brought = self.gather([v.numpy() for v in variables], "maximum")
        for variable, *values in zip(variables, *brought, strict=True):
            variable.assign(np.maximum.reduce(values))

    def gather(self, value: Any, name: str) -> list[Any]:
        """Returns what every worker has brought: numbers, arrays, lists of them."""
        with calls.joined(self, name):
            return self._meetings.gather(value, f"nfdt.{name}")

    def share(self, num_samples: Any) -> Any:
        """Every push is a whole batch."""
        del num_samples
        return tf.constant(1.0)

    def rows(self, tensors: Sequence[Any], name: str) -> list[Any]:
        """Every batch is whole."""
        del name
        return list(tensors)

    def agreed(self, owner: Any) -> None:
        """Nothing to note: servers hold what is alike."""
        del owner

    def has_agreed(self, owner: Any) -> bool:
        """Workers take over what is on the servers."""
        del owner
        return True

    def handed_on(self, optimizer: Any) -> None:
        """Makes a wrapper count the updates of all workers, as what it holds does."""
        optimizer_state.follow(optimizer)
        is_kerass = type(optimizer).__module__.partition(".")[0] == "keras"
        if not (is_kerass or self.options.trains_locally or self.options.overlap):
            self.applying.check_left_alone(optimizer)

    def prepare(self, optimizer: Any) -> None:
        """Nothing: the optimizer runs on the servers."""
        del optimizer

    def callbacks(self) -> list[Any]:
        """None."""
        return []

    @contextlib.contextmanager
    def joining(self, label: str) -> Iterator[None]:
        """Server 0 knows who waits for whom."""
        del label
        yield

    def batch_done(self, mark: Any) -> None:
        """Notes that a batch has been trained on, when all before has been done."""

        def done(mark: Any, order: Any) -> Any:
            self.epochs.done(*map(int, mark))
            return order

        self.applying.in_order(
            lambda order: [tf.numpy_function(done, [mark, order], tf.int64)]
        )

    def apply(
        self,
        optimizer: Any,
        gradients: list[Any],
        variables: list[Any] | None,
        *,
        share: Any,
        inner: Callable[[Any, Any], Any],
    ) -> Any:
        """Pushes one gradient, and gives the variables what comes back."""
        return self.applying.apply(
            optimizer, gradients, variables, share=share, inner=inner
        )
