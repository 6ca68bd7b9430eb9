"""The options of HFDT, each declared once with its default."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from fdtcore import options as option_fields

_CHOICES = {
    "batch": ("global", "per_worker"),
    "compression": ("none", "fp16", "bf16"),
    "op": ("mean", "adasum"),
    "nonfinite": ("raise", "skip", "pass"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How a model is trained on several processes.

    Args:
        batch: What the user's batch means. ``"global"``: the whole batch of a step,
            of which each rank takes its part; the numbers are those of one process.
            ``"per_worker"``: each rank takes whole batches, so a step sees ``size``
            times as many samples and an epoch has fewer steps.
        lr_scale: Factor for the learning rate, or ``"linear"`` for the number of
            ranks. 1.0 leaves the user's rate alone.
        warmup_epochs: Epochs over which the rate grows linearly from the user's to
            the scaled one. 0 for none.
        compression: What gradients are on the wire: ``"none"`` (their own type),
            ``"fp16"`` or ``"bf16"``. They are summed in their own type.
        accumulate: Steps whose gradients form one update. 1 for none. Sets
            ``gradient_accumulation_steps`` of the optimizer.
        op: ``"mean"`` over samples, or ``"adasum"`` (Horovod's; a power of 2 ranks).
        nonfinite: What a NaN or infinite gradient does: ``"raise"`` names rank and
            variable and ends the job, ``"skip"`` skips the step on all ranks,
            ``"pass"`` lets it through as Keras does. Under a ``LossScaleOptimizer``
            or a ``TerminateOnNaN`` callback it is always let through to them.
        stall_timeout_s: Seconds after which a call that a rank has not joined ends
            the job. Read where the job starts.
        process_sets: Ranks that train together, set by set: ``((0, 1), (2, 3))``
            trains two models, each on two ranks. The same on every rank. None for
            one model on all. A job that was started by ``hfdt run`` needs
            ``HOROVOD_DYNAMIC_PROCESS_SETS=1`` in its environment.
    """

    batch: str = "global"
    lr_scale: float | str = 1.0
    warmup_epochs: float = 0.0
    compression: str = "none"
    accumulate: int = 1
    op: str = "mean"
    nonfinite: str = "raise"
    stall_timeout_s: float = 60.0
    process_sets: Sequence[Sequence[int]] | None = None

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}. "
                    f"Received: {name}={getattr(self, name)!r}."
                )
        if self.lr_scale != "linear" and not _positive(self.lr_scale):
            raise ValueError(
                'lr_scale must be a positive number or "linear". '
                f"Received: lr_scale={self.lr_scale!r}."
            )
        if self.warmup_epochs < 0:
            raise ValueError(
                "warmup_epochs must be at least 0. "
                f"Received: warmup_epochs={self.warmup_epochs}."
            )
        if self.accumulate < 1:
            raise ValueError(
                "accumulate must be an integer >= 1. "
                f"Received: accumulate={self.accumulate}. Use 1 for none."
            )
        if self.op == "adasum" and self.compression != "none":
            raise ValueError(
                "adasum sends gradients in their own type. "
                f"Received: compression={self.compression!r}. Use one of the two."
            )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], **given: Any) -> Options:
        """Reads ``HFDT_BATCH`` and the like; an argument that is given wins.

        Args:
            environ: The process's environment, as a launcher has set it.
            **given: Options of the call.
        """
        odd = ("process_sets", "lr_scale")
        values = option_fields.read(cls, environ, "HFDT_", without=odd)
        if "batch" in values:
            values["batch"] = values["batch"].replace("-", "_")
        if "HFDT_LR_SCALE" in environ:
            values["lr_scale"] = _scale(environ["HFDT_LR_SCALE"])
        return cls(**{**values, **given})

    def scale(self, size: int) -> float:
        """Returns the factor for the learning rate on ``size`` ranks."""
        return float(size if self.lr_scale == "linear" else self.lr_scale)


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0


def _scale(text: str) -> float | str:
    try:
        return text if text == "linear" else float(text)
    except ValueError:
        raise ValueError(
            f'HFDT_LR_SCALE must be a number or "linear". Received: {text!r}.'
        ) from None
