"""The engine of NFDT: what one worker is made of, put together."""

from __future__ import annotations

from collections.abc import Callable

from fdtcore.process import Process
from nfdt.glue.absence import Absence
from nfdt.glue.collectives import WorkerCollectives
from nfdt.glue.epochs import Epochs
from nfdt.glue.groups import VariableGroups
from nfdt.glue.layer_state import LayerState
from nfdt.glue.local_training import OptimizerPlacement
from nfdt.glue.push_pull import InTurn, PushPull
from nfdt.glue.replicated_steps import ReplicatedSteps
from nfdt.glue.resumption import Resumption
from nfdt.glue.training import ParameterServerTraining
from nfdt.options import Options
from nfdt.protocol.transport import Transport


class ParameterServerEngine:
    """What a worker of a job is bound to Keras with.

    Args:
        process: This worker among the workers.
        transport: The way to the servers.
        options: The user's options of NFDT, the same on every worker.
        placement: Says which optimizer runs where; a simulation has one of its own.
        push_pull: Makes what exchanges gradients, of what :class:`PushPull` takes.
    """

    name = "nfdt"

    def __init__(
        self,
        process: Process,
        transport: Transport,
        options: Options,
        *,
        placement: OptimizerPlacement | None = None,
        push_pull: Callable[..., PushPull] = PushPull,
    ):
        if options.overlap:
            transport = InTurn(transport)
        worker = process.rank  # as the servers know it
        placement = placement or OptimizerPlacement(options, process.size)
        self.options, self.transport = options, transport
        epochs = Epochs(transport, worker, process.size)
        self.collectives = WorkerCollectives(process, transport, epochs)
        absence = Absence(transport, worker)
        groups = VariableGroups(transport, process, options, placement, epochs.over)
        self.resumption = Resumption(transport, worker, options)
        self.replicated_steps = ReplicatedSteps(self.collectives, absence)
        self.strategy = ParameterServerTraining(
            self.collectives,
            absence=absence,
            epochs=epochs,
            groups=groups,
            layer_state=LayerState(self.collectives, epochs),
            push_pull=push_pull(
                self.collectives, groups, epochs, self.replicated_steps, options
            ),
            replicated_steps=self.replicated_steps,
            resumption=self.resumption,
        )

    @property
    def process(self) -> Process:
        """This worker among the workers; rank 0 is the first that is left."""
        return self.collectives.process

    def choose(self, options: Options) -> None:
        """Takes the choices of a call of ``distribute``.

        Raises:
            ValueError: Another call of it, or the command line, chose otherwise.
        """
        if options != self.options:
            raise ValueError(
                "one job trains with one set of options, which its servers have. "
                f"Received: {options.difference(self.options)} in "
                "a later call. Pass the same options to all, or to nfdt run."
            )
