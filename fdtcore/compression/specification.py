"""The choice of a compression as users write it: ``dgc:0.001,warmup=4``."""

from __future__ import annotations

import dataclasses

from fdtcore.text_values import read_integer, read_number

TYPES = ("none", "fp16", "bf16")  # the type of what is sent, and nothing else
TOP_K, DEEP_GRADIENT, SIGN, POWER_SGD = "topk", "dgc", "sign", "powersgd"
FORMS = (
    "topk:RATIO, dgc:RATIO[,warmup=EPOCHS|Nsteps], powersgd:RANK[,start=STEPS], sign"
)
_STEPS = "steps"


@dataclasses.dataclass(frozen=True)
class Specification:
    """A compression that keeps a state, as a user has chosen it.

    Args:
        kind: One of the four that there are.
        ratio: Part of each variable's elements that is sent, of `topk` and `dgc`.
        rank: Rank of the matrices that are sent, of `powersgd`.
        warmup_epochs: Epochs in which `dgc` sends more; 0 where steps are given.
        warmup_steps: Steps in which it does; 0 where epochs are given.
        start_steps: Steps before `powersgd` begins, which are dense.
    """

    kind: str
    ratio: float = 1.0
    rank: int = 0
    warmup_epochs: float = 0.0
    warmup_steps: int = 0
    start_steps: int = 0

    @property
    def is_sparse(self) -> bool:
        """Whether some elements are sent, and nothing of the others."""
        return self.kind in (TOP_K, DEEP_GRADIENT)

    @classmethod
    def parse(cls, text: str) -> Specification:
        """Reads what a user has written.

        >>> Specification.parse("topk:0.01").ratio
        0.01

        Raises:
            ValueError: The text has none of the forms.
        """
        kind, _, rest = text.strip().partition(":")
        first, *others = rest.split(",")
        more = dict(_pair(one) for one in others)
        if len(more) < len(others):
            raise ValueError(f"{text} says something twice")
        if kind == TOP_K and not more:
            return cls(kind, _ratio(first))
        if kind == SIGN and not rest:
            return cls(kind)
        if kind == DEEP_GRADIENT and more.keys() <= {"warmup"}:
            epochs, steps = _warmup(more.get("warmup", "4"))
            return cls(kind, _ratio(first), warmup_epochs=epochs, warmup_steps=steps)
        if kind == POWER_SGD and more.keys() <= {"start"}:
            start = read_integer(more.get("start", "100"), 0)
            rank = read_integer(first, 1)
            return cls(kind, rank=rank, start_steps=start)
        raise ValueError(text)


def is_stateful(text: object) -> bool:
    """Whether a choice of compression is one that keeps a state, and well written."""
    try:
        Specification.parse(str(text))
    except ValueError:
        return False
    return isinstance(text, str)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(text)
    return name.strip(), value.strip()


def _ratio(text: str) -> float:
    ratio = read_number(text)
    if not 0 < ratio <= 1:
        raise ValueError(text)
    return ratio


def _warmup(text: str) -> tuple[float, int]:
    if text.endswith(_STEPS):
        return 0.0, read_integer(text.removesuffix(_STEPS).strip(), 1)
    epochs = read_number(text)
    if epochs < 0:
        raise ValueError(text)
    return epochs, 0
