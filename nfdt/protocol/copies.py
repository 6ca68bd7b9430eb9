"""What each worker pulled last: what its next gradient is computed at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nfdt.rules.corrections import Vector


class Copy(NamedTuple):
    """Parameters as they were sent to a worker."""

    params: Vector | None  # [P]; None for a worker that has never pulled
    version: int  # updates applied to them


class Copies:
    """The parameters that were sent, worker by worker.

    Copied: what is sent must not change while it is on its way, and it is what a
    gradient is corrected by when it comes.
    """

    def __init__(self) -> None:
        self._found: dict[int, Copy] = {}

    def of(self, worker: int, version: int) -> Copy:
        """Returns what a worker pulled last; ``version`` for one that never did."""
        return self._found.get(worker, Copy(None, version))

    def make(
        self, worker: int, params: Vector, version: int, *, keeps_last: bool
    ) -> Vector:
        """Copies the parameters for a worker.

        Args:
            worker: The worker.
            params: [P].
            version: Updates applied to them.
            keeps_last: Whether the copy before must stay as it is.
        """
        last = self.of(worker, version).params
        place = np.empty_like(params) if last is None or keeps_last else last
        np.copyto(place, params)
        self._found[worker] = Copy(place, version)
        return place

    def renumber(self, version: int) -> None:
        """Counts all that were sent as of a version: updates are counted anew."""
        for worker, copy in self._found.items():
            self._found[worker] = copy._replace(version=version)
