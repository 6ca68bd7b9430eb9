"""The options of NFDT, each declared once with its default, and their conflicts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fdtcore import options as option_fields
from nfdt import algorithms, consistency
from nfdt.algorithms import Algorithm
from nfdt.protocol.controllers import (
    Asynchronous,
    Controller,
    DynamicSynchronous,
    StaleSynchronous,
)
from nfdt.protocol.gradients import WIRE_TYPES

if TYPE_CHECKING:
    pass


def check(options: Options) -> None:
    """Refuses choices that do not go together.

    Raises:
        ValueError: Some do not.
    """
    _check_waiting(options)
    _check_own_steps(options)
    _check_overlap(options)


def _check_waiting(options: Options) -> None:
    algorithm, controller = algorithms.find(options.algorithm), options.controller
    waits = not isinstance(controller, Asynchronous)
    _refuse(
        waits and options.servers > 1,
        "one server must decide who waits",
        f"consistency={options.consistency!r} with {options.servers} servers",
        "Use one server, or consistency asp.",
    )
    _refuse(
        waits and algorithm.sends == algorithms.ELASTIC,
        f"{algorithm.name} exchanges parameters without waiting",
        f"algorithm={algorithm.name} with consistency={options.consistency!r}",
        "Use consistency asp, or local:8 with another algorithm.",
    )


def _check_own_steps(options: Options) -> None:
    algorithm, controller = algorithms.find(options.algorithm), options.controller
    apart = [
        f"{name}={getattr(options, name)!r}"
        for name in ("worker_optimizer", "server_optimizer")
        if getattr(options, name)
    ]
    consistency = f"consistency={options.consistency!r}"
    own = ", ".join([consistency, f"local_steps={options.local_steps}", *apart])
    _refuse(
        options.trains_locally and algorithm.sends == algorithms.LOOKAHEAD,
        f"{algorithm.name} sends the gradient of each step",
        f"algorithm={algorithm.name} where workers make local steps: {own}",
        "Use another algorithm, or bsp or ssp:3 without local steps.",
    )
    _refuse(
        controller.paces and options.local_steps > 1,
        "the controller decides when workers merge their local steps",
        f"local_steps={options.local_steps} with {consistency}",
        "Use one of them: local:8, or local_steps=8 with bsp, ssp:3 or asp.",
    )
    _refuse(
        isinstance(controller, DynamicSynchronous) and bool(apart),
        "dsp sums the changes that the user's optimizer makes on each worker",
        f"{', '.join(apart)} with {consistency}",
        "Use local:8 with that, or dsp without.",
    )


def _check_overlap(options: Options) -> None:
    in_rounds = not isinstance(options.controller, Asynchronous | StaleSynchronous)
    _refuse(
        options.overlap and in_rounds,
        "a round combines gradients computed after the round before",
        f"overlap with consistency={options.consistency!r}",
        "Use consistency asp or ssp:3, or leave overlap out.",
    )
    _refuse(
        options.overlap and options.trains_locally,
        "overlap hides the exchange of each step's gradient",
        f"overlap where workers make local steps, local_steps="
        f"{options.local_steps} of them or more between two exchanges",
        "Leave overlap out.",
    )


def _refuse(holds: bool, rule: str, received: str, way_out: str) -> None:
    if holds:
        raise ValueError(f"{rule}. Received: {received}. {way_out}")


_ON_LOSS = ("continue", "abort")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How a model is trained through a parameter server.

    Args:
        algorithm: What is done to late gradients: a name of ``nfdt algorithms``, or
            an :class:`nfdt.algorithms.Algorithm`.
        consistency: Who waits: ``"asp"`` (nobody), ``"bsp"`` (everybody), ``"ssp:3"``
            (who leads by more than three steps), ``"dsp"``, ``"partial:0.8"``,
            ``"backup:2"``, ``"local:8"`` (docs/consistency.md), or a controller.
        servers: Processes that hold the parameters; the last ones of the job.
        wire: Type of gradients on the way: ``"own"`` (that of the parameters),
            ``"float16"``, ``"bfloat16"``, ``"float32"`` or ``"float64"``.
        local_steps: Steps that a worker makes with its own optimizer between pushes,
            where it has one.
        worker_optimizer: Optimizer of each worker's own steps, a name of Keras's or an
            optimizer; empty: the user's, where a worker makes steps of its own.
        server_optimizer: What the servers do with the way that a worker went; empty:
            they go all of it, or, with a ``worker_optimizer``, the user's.
        overlap: Whether a worker computes its next step while its gradient is on the
            way: hides the exchange, for one more update of staleness.
        on_worker_loss: ``"continue"`` without a worker that was lost, or ``"abort"``.
        stall_timeout: Seconds that the last workers have for their end once others have
            come to theirs and nothing is heard of them; ``inf`` for no bound.
        refuse_at_most: Gradients that are NaN or infinite, one after the other, at
            which the job ends.
        trace: Folder for ``nfdt report``; empty for none.
        checkpoint: Folder for the servers' checkpoints; empty for none.
        checkpoint_every: Seconds between two checkpoints.
        resume: Folder of checkpoints to go on from; empty for none.
    """

    algorithm: str | Algorithm = algorithms.DEFAULT
    consistency: str | Controller = "asp"
    servers: int = 1
    wire: str = "own"
    local_steps: int = 1
    worker_optimizer: Any = ""
    server_optimizer: Any = ""
    overlap: bool = False
    on_worker_loss: str = "continue"
    stall_timeout: float = 60.0
    refuse_at_most: int = 10
    trace: str = ""
    checkpoint: str = ""
    checkpoint_every: float = 30.0
    resume: str = ""

    def __post_init__(self) -> None:
        algorithms.find(self.algorithm)
        _check_one_of("wire", self.wire, ("own", *WIRE_TYPES))
        _check_one_of("on_worker_loss", self.on_worker_loss, _ON_LOSS)
        for name in ("servers", "local_steps", "refuse_at_most"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be an integer >= 1. "
                    f"Received: {name}={getattr(self, name)}."
                )
        check(self)
        if not self.stall_timeout > 0:
            raise ValueError(
                "stall_timeout must be a number of seconds > 0. "
                f"Received: stall_timeout={self.stall_timeout}. Use inf for no limit."
            )
        if not 0 < self.checkpoint_every < math.inf:
            raise ValueError(
                "checkpoint_every must be a number of seconds > 0. "
                f"Received: checkpoint_every={self.checkpoint_every}."
            )

    @property
    def controller(self) -> Controller:
        """Who waits."""
        return consistency.parse(self.consistency)

    @property
    def trains_locally(self) -> bool:
        """Whether workers have parameters of their own, which they train."""
        apart = bool(self.worker_optimizer or self.server_optimizer)
        elastic = algorithms.find(self.algorithm).sends == algorithms.ELASTIC
        return self.local_steps > 1 or apart or elastic or self.controller.paces

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], **given: Any) -> Options:
        """Reads ``NFDT_ALGORITHM`` and the like; an argument that is given wins.

        Args:
            environ: The process's environment, as a launcher has set it.
            **given: Options of the call.
        """
        return cls(**{**option_fields.read(cls, environ, "NFDT_"), **given})


def _check_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(
            f"{name} must be one of {', '.join(known)}. Received: {name}={value!r}."
        )
