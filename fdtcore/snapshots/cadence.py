"""The time or the steps between two snapshots, and the steps between two looks.

All ranks take a snapshot at the same step. A time is rank 0's, so the ranks meet to
hear whether it has come; how many steps lie before the next meeting is agreed in each.
"""

from __future__ import annotations

import dataclasses

from fdtcore import text_values

# The ranks meet about so often: a signal is heard of within this time.
_MEET_S = 0.5
_MORE = 4  # by which factor the steps between two meetings may grow


@dataclasses.dataclass(frozen=True)
class Cadence:
    """How often a snapshot is taken: one of the two is 0.

    Args:
        every_s: Time between two, in seconds.
        every_steps: Steps of training between two.
    """

    every_s: float = 0.0
    every_steps: int = 0

    @classmethod
    def parse(cls, text: str) -> Cadence:
        """Reads ``30s`` or ``200steps``.

        Raises:
            ValueError: The text is neither.
        """
        number = text.strip().removesuffix("steps")
        if number != text.strip():
            return cls(every_steps=text_values.read_integer(number.strip(), 1))
        every_s = text_values.read_s(text)
        if not every_s > 0:
            raise ValueError(text)
        return cls(every_s=every_s)


class Schedule:
    """Decides on rank 0 when the next snapshot is due, and when the ranks meet.

    Args:
        cadence: How often snapshots are taken.
        now_s: Time now, in seconds of a clock that never goes back.
    """

    def __init__(self, cadence: Cadence, now_s: float):
        self._cadence = cadence
        self._taken_s = now_s  # when the last one was taken
        self._since = 0  # steps since then
        self._met_s = now_s
        self._steps = 1  # between the last two meetings

    def is_due(self, steps: int, now_s: float) -> bool:
        """Whether one is to be taken now.

        Args:
            steps: Steps of training since this was asked last.
            now_s: Time now.
        """
        self._since += steps
        if self._cadence.every_steps:
            return self._since >= self._cadence.every_steps
        return now_s - self._taken_s >= self._cadence.every_s

    def taken(self, now_s: float) -> None:
        """Notes that one was taken."""
        self._taken_s, self._since = now_s, 0

    def next_meeting(self, steps: int, now_s: float) -> int:
        """Returns after how many steps the ranks meet again.

        Args:
            steps: Steps since they met last.
            now_s: Time now.
        """
        step_s = (now_s - self._met_s) / max(steps, 1)
        self._met_s = now_s
        wanted = int(_MEET_S / step_s) if step_s > 0 else self._steps * _MORE
        self._steps = max(1, min(wanted, self._steps * _MORE))
        if left := self._cadence.every_steps:
            return max(1, min(self._steps, left - self._since))
        return self._steps
