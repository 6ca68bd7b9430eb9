"""The options of NFDT, each declared once with its default, and their conflicts."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import field
from typing import ClassVar

from fdtcore import options
from fdtcore.compression import specification
from fdtcore.compression.specification import Specification
from fdtcore.keras_types import Optimizer
from fdtcore.validation import demand
from nfdt import algorithms, consistency
from nfdt.algorithms import Algorithm
from nfdt.protocol.controllers import (
    Asynchronous,
    Controller,
    DynamicSynchronous,
    StaleSynchronous,
)
from nfdt.protocol.gradients import WIRE_TYPES
from nfdt.rules.corrections import GapAware


def _is_wire(value: object) -> bool:
    return value in ("own", *WIRE_TYPES) or specification.is_stateful(value)


# Marks what has no meaning where one process plays all workers in virtual time.
_REAL_RUNS_ONLY = {"real_runs_only": True}


@options.documented
@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.FrameworkOptions):
    """How a model is trained through a parameter server."""

    program: ClassVar[str] = "nfdt"
    switches: ClassVar[Mapping[str, str]] = {
        "LAUNCHED": "the processes were started by nfdt run",
    }
    internal: ClassVar[Mapping[str, str]] = {
        "CLUSTER": "file of the cluster that is simulated",
        "WORKERS": "number of workers of that cluster",
        "SEED": "seed of all chance of a simulation",
    }

    algorithm: str | Algorithm = field(
        default=algorithms.DEFAULT,
        metadata=options.custom(
            "What is done to late gradients: a name that `nfdt algorithms` lists.",
            metavar="NAME",
            details="In Python also an `nfdt.Algorithm`.",
        ),
    )
    consistency: str | Controller = field(
        default="asp",
        metadata=options.custom(
            consistency.HELP,
            rule="must be a form or a controller",
            holds=lambda value: isinstance(value, str) or hasattr(value, "decide"),
            way_out="Write for example ssp:3.",
            metavar="FORM",
            details="In Python also a controller of `nfdt.protocol.controllers`.",
        ),
    )
    servers: int = field(
        default=1,
        metadata=options.count(
            "Processes that hold the parameters, in addition to the workers.",
            details="They are the last ones of the job. Several need `asp`, and an "
            "algorithm that treats each parameter alone, such as `asgd` or "
            "`dc-asgd-a`; the default does not.",
        )
        | _REAL_RUNS_ONLY,
    )
    wire: str = field(
        default="own",
        metadata=options.custom(
            "Type of gradients, and of the parameters that answer them, during "
            "transfer, or which part of them is sent; `own`: that of the parameters.",
            rule="must be one of "
            f"{', '.join(('own', *WIRE_TYPES))}, {specification.FORMS}",
            holds=_is_wire,
            metavar="TYPE|FORM",
            way_out="Write own, or topk:0.01 for a hundredth both ways.",
            details="`topk:0.01`: the hundredth of a gradient's elements that is "
            "largest, the rest is added to the next one, and in answer the hundredth "
            "of the parameters that differs most from what the worker has. "
            "`dgc:0.001`: the same of an accumulated momentum. `powersgd:4` and "
            "`sign`: thin matrices, or one bit an element, and in answer all "
            f"parameters in `bfloat16`. Forms: {specification.FORMS}; docs/wire.md. "
            "Parameters never travel in a type wider than their own. The "
            "servers keep them in that one, and workers get them so at the end of each "
            "epoch, for validation and for saving. `bfloat16` has the range of "
            "`float32`; in `float16`, values beyond 65504 are infinite.",
        ),
    )
    full_parameters: bool = field(
        default=False,
        metadata=options.switch(
            "Return all parameters, in their own type, whatever `wire` is.",
            details="Workers then compute at exactly what the servers have: of use "
            "where a model is to fit its data more exactly than the narrow type can "
            "say, and where the way back is not the limit.",
        ),
    )
    local_steps: int = field(
        default=1,
        metadata=options.count(
            "Local steps of a worker between two pushes.",
        ),
    )
    worker_optimizer: Optimizer | str = field(
        default="",
        metadata=options.custom(
            "Optimizer of the local steps, if not the script's.",
            has_flag=False,
            details="A name of Keras's, or an optimizer.",
        ),
    )
    server_optimizer: Optimizer | str = field(
        default="",
        metadata=options.custom(
            "Optimizer that applies the workers' parameter changes on the servers.",
            has_flag=False,
            details="A name of Keras's, or an optimizer. Empty: the changes are added "
            "as they are, or, with a `worker_optimizer`, by the script's optimizer.",
        ),
    )
    overlap: bool = field(
        default=False,
        metadata=options.switch(
            "Compute the next step while the gradient is being sent, for one more "
            "update of staleness.",
        )
        | _REAL_RUNS_ONLY,
    )
    on_worker_loss: str = field(
        default="continue",
        metadata=options.choice(
            ("continue", "abort"),
            "When a worker dies: training continues without it, or the job ends.",
            details="A failure of the script always ends the job.",
        )
        | _REAL_RUNS_ONLY,
    )
    stall_timeout: float = field(
        default=60.0,
        metadata=options.duration(
            "Time that a process may make no progress while others wait for it.",
            endless=True,
            details="`inf`: no limit.",
        )
        | _REAL_RUNS_ONLY,
    )
    refuse_at_most: int = field(
        default=10,
        metadata=options.count(
            "Consecutive NaN or infinite gradients that end the job.",
        ),
    )
    trace: str = field(
        default="",
        metadata=options.folder(
            "Folder for the record of the run, for `nfdt report`.",
        ),
    )
    link_timeout: float = field(
        default=15.0, metadata=options.link_timeout() | _REAL_RUNS_ONLY
    )
    interface: str = field(default="", metadata=options.interface() | _REAL_RUNS_ONLY)
    log: str = field(default="none", metadata=options.log())
    checkpoint: str = field(
        default="",
        metadata=options.folder(
            "Folder for the servers' checkpoints.",
            details="SIGTERM, SIGUSR1 and the first Ctrl-C write a last one and end "
            "the job with exit code 75; docs/resume.md says what is exact.",
        )
        | _REAL_RUNS_ONLY,
    )
    checkpoint_every: float = field(
        default=30.0,
        metadata=options.duration("Time between two checkpoints.") | _REAL_RUNS_ONLY,
    )
    resume: str = field(
        default="",
        metadata=options.folder(
            "Folder of checkpoints to continue from; `auto`: that of `--checkpoint`, "
            "if there is one.",
            words=("auto",),
            metavar="DIR|auto",
            details="The same script runs again from its top, with as many workers and "
            "servers: epochs that were over stand in its History, and of the "
            "interrupted one the batches that were not merged are trained.",
        )
        | _REAL_RUNS_ONLY,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        algorithms.find(self.algorithm)
        _check_waiting(self)
        _check_own_steps(self)
        _check_overlap(self)
        _check_wire(self)
        demand(
            self.resume != "auto" or bool(self.checkpoint),
            "resume=auto goes on from the folder of checkpoints",
            "Name it as well: --checkpoint DIR.",
            checkpoint=self.checkpoint,
        )

    # Kept in the instance, although that is frozen: a text is parsed once.
    @functools.cached_property
    def controller(self) -> Controller:
        """Who waits."""
        return consistency.parse(self.consistency)

    @property
    def earlier(self) -> str:
        """The folder of checkpoints to go on from; empty where none is."""
        return self.checkpoint if self.resume == "auto" else self.resume

    @functools.cached_property
    def compression(self) -> Specification | None:
        """What is sent of gradients; None: all of them, in a type."""
        if self.wire in ("own", *WIRE_TYPES):
            return None
        return Specification.parse(self.wire)

    @property
    def trains_locally(self) -> bool:
        """Whether workers have parameters of their own, which they train."""
        apart = bool(self.worker_optimizer or self.server_optimizer)
        elastic = algorithms.find(self.algorithm).sends == algorithms.ELASTIC
        return self.local_steps > 1 or apart or elastic or self.controller.paces


def real_runs_only() -> tuple[str, ...]:
    """Returns the options that a simulation does not have."""
    fields = dataclasses.fields(Options)
    return tuple(f.name for f in fields if f.metadata.get("real_runs_only"))


def _check_wire(options: Options) -> None:
    chosen, algorithm = options.compression, algorithms.find(options.algorithm)
    demand(
        not chosen or options.servers == 1,
        "one server takes a part of a gradient",
        "Use one server, or a type such as bfloat16.",
        wire=options.wire,
        servers=options.servers,
    )
    demand(
        not (
            chosen and chosen.is_sparse and isinstance(algorithm.correction, GapAware)
        ),
        f"{algorithm.name} compares each gradient with the mean of all before it, and "
        "here most have nothing of an element",
        "Use powersgd or sign, or --algorithm dc-asgd-a.",
        wire=options.wire,
        algorithm=algorithm.name,
    )
    demand(
        not (chosen and options.trains_locally),
        "only gradients are sent in part, not what local steps have come to",
        "Use a type such as bfloat16, or no local steps.",
        wire=options.wire,
        algorithm=options.algorithm,
        consistency=options.consistency,
    )


def _check_waiting(options: Options) -> None:
    algorithm, controller = algorithms.find(options.algorithm), options.controller
    is_free = isinstance(controller, Asynchronous)
    demand(
        is_free or options.servers == 1,
        "one server must decide who waits",
        "Use one server, or consistency asp.",
        consistency=options.consistency,
        servers=options.servers,
    )
    demand(
        is_free or algorithm.sends != algorithms.ELASTIC,
        f"{algorithm.name} exchanges parameters without waiting",
        "Use consistency asp, or local:8 with another algorithm.",
        algorithm=algorithm.name,
        consistency=options.consistency,
    )


def _check_own_steps(options: Options) -> None:
    algorithm, controller = algorithms.find(options.algorithm), options.controller
    apart = {
        name: getattr(options, name)
        for name in ("worker_optimizer", "server_optimizer")
        if getattr(options, name)
    }
    demand(
        not (options.trains_locally and algorithm.sends == algorithms.LOOKAHEAD),
        f"{algorithm.name} sends the gradient of each step, and workers make local "
        "steps here",
        "Use another algorithm, or bsp or ssp:3 without local steps.",
        algorithm=algorithm.name,
        consistency=options.consistency,
        local_steps=options.local_steps,
        **apart,
    )
    demand(
        not controller.paces or options.local_steps == 1,
        "the controller decides when workers merge their local steps",
        "Use one of them: local:8, or local_steps=8 with bsp, ssp:3 or asp.",
        local_steps=options.local_steps,
        consistency=options.consistency,
    )
    demand(
        not (isinstance(controller, DynamicSynchronous) and apart),
        "dsp sums the changes that the user's optimizer makes on each worker",
        "Use local:8 with that, or dsp without.",
        consistency=options.consistency,
        **apart,
    )


def _check_overlap(options: Options) -> None:
    in_rounds = not isinstance(options.controller, Asynchronous | StaleSynchronous)
    demand(
        not (options.overlap and in_rounds),
        "a round combines gradients computed after the round before",
        "Use consistency asp or ssp:3, or leave overlap out.",
        overlap=options.overlap,
        consistency=options.consistency,
    )
    demand(
        not (options.overlap and options.trains_locally),
        "overlap hides the exchange of each step's gradient, and workers make local "
        "steps here",
        "Leave overlap out.",
        overlap=options.overlap,
        algorithm=algorithms.find(options.algorithm).name,
        local_steps=options.local_steps,
    )
