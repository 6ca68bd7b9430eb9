"""The options of HFDT, each declared once with its default."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import field
from typing import ClassVar

from fdtcore import options, text_values
from fdtcore.compression import specification
from fdtcore.compression.specification import Specification
from fdtcore.snapshots.cadence import Cadence
from fdtcore.validation import demand, is_number


def _is_scale(value: object) -> bool:
    return value == "linear" or (is_number(value, at_least=0) and value != 0)


def _is_cadence(value: object) -> bool:
    try:
        Cadence.parse(str(value))
    except ValueError:
        return False
    return isinstance(value, str)


def _is_compression(value: object) -> bool:
    return value in specification.TYPES or specification.is_stateful(value)


def _read_scale(text: str) -> float | str:
    return text if text == "linear" else text_values.read_number(text)


@options.documented
@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.FrameworkOptions):
    """How a model is trained on several processes."""

    program: ClassVar[str] = "hfdt"

    batch: str = field(
        default="global",
        metadata=options.choice(
            ("global", "per_worker"),
            "What a batch of the script is: that of all ranks together, of which each "
            "takes its part; `per_worker`: that of each rank.",
            details="The numbers of a global batch are those of one process. Where "
            "each rank takes whole batches, a step sees as many times more samples as "
            "there are ranks, and an epoch has fewer steps.",
        ),
    )
    lr_scale: float | str = field(
        default=1.0,
        metadata=options.custom(
            "Factor for the learning rate; `linear`: the number of ranks.",
            rule='must be a positive number or "linear"',
            holds=_is_scale,
            read=_read_scale,
            metavar="FACTOR|linear",
            way_out="Write 1 to keep the script's learning rate.",
        ),
    )
    warmup_epochs: float = field(
        default=0.0,
        metadata=options.custom(
            "Epochs over which the learning rate grows linearly to the scaled one.",
            rule="must be a number of at least 0",
            holds=lambda value: is_number(value, at_least=0),
            read=text_values.read_number,
            metavar="N",
            way_out="Write 0 for none.",
        ),
    )
    compression: str = field(
        default="none",
        metadata=options.custom(
            "Type of gradients during transfer, or what is sent of them: `topk:0.01`, "
            "`dgc:0.001`, `powersgd:4` or `sign`; `none`: all, in their own type.",
            rule=f"must be one of {', '.join(specification.TYPES)}, "
            f"{specification.FORMS}",
            holds=_is_compression,
            metavar="none|fp16|bf16|FORM",
            way_out="Write topk:0.01 for a hundredth of each large gradient.",
            details=f"Forms: {specification.FORMS}. What is sent in 16 bits is summed "
            "in float32; what a form does not send is kept for later steps; "
            "docs/wire.md says when that pays.",
        ),
    )
    bucket_bytes: int = field(
        default=0,
        metadata=options.count(
            "Bytes of gradients that leave together, while the backward pass goes on; "
            "0: all leave at its end.",
            at_least=0,
            way_out="Use 0, or for example 4000000 for links of 1 Gbit/s and less.",
            details="Meant for links between machines; what it saves there was not "
            "measured. The sums are the same. A step that is compiled by XLA gives its "
            "gradients at its end.",
        ),
    )
    accumulate: int = field(
        default=1,
        metadata=options.count(
            "Steps whose gradients form one update.",
            way_out="Use 1 for none.",
            details="Sets `gradient_accumulation_steps` of the optimizer.",
        ),
    )
    op: str = field(
        default="mean",
        metadata=options.choice(
            ("mean", "adasum"),
            "How gradients are combined: their mean over samples, or Horovod's "
            "`adasum`.",
            details="Adasum takes a number of ranks that is a power of 2.",
        ),
    )
    nonfinite: str = field(
        default="raise",
        metadata=options.choice(
            ("raise", "skip", "pass"),
            "What a NaN or infinite gradient does: it ends the job; `skip`: the step "
            "is skipped on all ranks; `pass`: it is applied, as by Keras.",
            details="The job ends with the names of rank and variable. A "
            "`LossScaleOptimizer` or a `TerminateOnNaN` callback always gets such a "
            "gradient.",
        ),
    )
    stall_timeout: float = field(
        default=60.0,
        metadata=options.duration(
            "Time to wait for a rank that does not join the others, before the job "
            "ends.",
            endless=True,
            details="Read where the job starts; `inf`: no limit.",
        ),
    )
    link_timeout: float = field(default=15.0, metadata=options.link_timeout())
    interface: str = field(default="", metadata=options.interface())
    log: str = field(default="none", metadata=options.log())
    stats: bool = field(
        default=False,
        metadata=options.switch(
            "Say after each `fit` where the time of a step went: computing, waiting, "
            "exchanging, wrapper.",
            details="Means over the steps after the first, with the least and the "
            "greatest of the ranks. Taking the times is itself a part of the step.",
        ),
    )
    trace: str = field(
        default="",
        metadata=options.folder(
            "Folder for the record of the run, for `hfdt report`.",
            details="Each rank writes a file: when it computed, waited and exchanged, "
            "and how many bytes. Ranks on another machine write to its disk; the "
            "report wants all files in one folder.",
        ),
    )
    snapshot: str = field(
        default="",
        metadata=options.folder(
            "Folder for snapshots, from which an interrupted job goes on exactly.",
            details="State at step boundaries: weights, optimizer, metrics, callbacks, "
            "random generators, the place in the data; and the state after each "
            "`fit` and loop by hand that is over. SIGTERM, SIGUSR1 and the first "
            "Ctrl-C take one and end the job with exit code 75; docs/resume.md says "
            "what is exact.",
        ),
    )
    snapshot_every: str = field(
        default="30s",
        metadata=options.custom(
            "Time between two snapshots, or steps of training.",
            rule="must be a time > 0 or a number of steps",
            holds=_is_cadence,
            metavar="TIME|Nsteps",
            way_out="Write for example 30s or 200steps.",
        ),
    )
    resume: str = field(
        default="",
        metadata=options.folder(
            "Folder of snapshots to go on from; `auto`: that of `--snapshot`, if "
            "there are any.",
            words=("auto",),
            metavar="DIR|auto",
            details="The same script runs again from its top, on any number of ranks: "
            "a `fit` that was over returns its History at once, the interrupted one "
            "goes on at its next batch.",
        ),
    )
    process_sets: Sequence[Sequence[int]] | None = field(
        default=None,
        metadata=options.custom(
            "Ranks that train together, one model for each set; under `hfdt run` also "
            "set `HOROVOD_DYNAMIC_PROCESS_SETS=1`.",
            read=None,
            has_flag=False,
            details="`((0, 1), (2, 3))` trains two models, each on two ranks. The "
            "same on every rank; None: one model on all.",
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(
            self.op != "adasum" or self.compression == "none",
            "adasum sends gradients in their own type",
            "Use one of the two.",
            op=self.op,
            compression=self.compression,
        )
        demand(
            self.op != "adasum" or not self.bucket_bytes,
            "adasum sends each gradient by itself",
            "Use one of the two.",
            op=self.op,
            bucket_bytes=self.bucket_bytes,
        )
        demand(
            self.resume != "auto" or bool(self.snapshot),
            "resume=auto goes on from the folder of snapshots",
            "Name it as well: --snapshot DIR.",
            snapshot=self.snapshot,
        )
        demand(
            self.resume in ("", "auto", self.snapshot) or not self.snapshot,
            "a job has one folder of snapshots",
            "Drop one of them.",
            snapshot=self.snapshot,
            resume=self.resume,
        )
        demand(
            not (self.trace and self.process_sets),
            "a trace is of one model on all ranks",
            "Drop one of them.",
            trace=self.trace,
            process_sets=self.process_sets,
        )
        demand(
            not (self.snapshots and self.process_sets),
            "snapshots are of one model on all ranks",
            "Drop one of them.",
            snapshot=self.snapshots,
            process_sets=self.process_sets,
        )

    @property
    def snapshots(self) -> str:
        """The folder of snapshots; empty where none are taken."""
        return self.snapshot or self.resume

    @property
    def stateful_compression(self) -> Specification | None:
        """What is chosen beside the type of what is sent, if anything."""
        if self.compression in specification.TYPES:
            return None
        return Specification.parse(self.compression)

    @property
    def is_plain(self) -> bool:
        """Whether a step is as in plain Keras."""
        kept = Options(
            snapshot=self.snapshot,
            snapshot_every=self.snapshot_every,
            resume=self.resume,
            bucket_bytes=self.bucket_bytes,
            trace=self.trace,
        )
        return self == kept

    def scale(self, size: int) -> float:
        """Returns the factor for the learning rate on ``size`` ranks."""
        return float(size if self.lr_scale == "linear" else self.lr_scale)
