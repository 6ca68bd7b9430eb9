"""The usual delay: the q of the rules that follow the delay of each push."""

from __future__ import annotations

from typing import NamedTuple

from fdtcore.validation import demand, is_number

AUTO = "auto"


class MeanDelay(NamedTuple):
    """Running mean of the staleness: over all pushes first, then over about 100."""

    pushes: int = 0
    mean: float = 0.0  # updates

    def after(self, staleness: int) -> MeanDelay:
        """Returns the mean with one more push in it."""
        weight = max(1 / (self.pushes + 1), 0.01)
        return MeanDelay(self.pushes + 1, self.mean + weight * (staleness - self.mean))

    def q(self, option: float | str) -> float:
        """Returns ``1 + mean`` for "auto", and else the option itself."""
        return 1 + self.mean if option == AUTO else float(option)


def demand_q(option: float | str) -> None:
    """Refuses what is neither "auto" nor a positive number.

    Raises:
        ValueError: q is neither "auto" nor a number > 0.
    """
    demand(
        option == AUTO or (is_number(option, at_least=0) and option != 0),
        'q must be "auto" or a number > 0',
        'Use "auto" to follow the mean delay.',
        q=option,
    )
