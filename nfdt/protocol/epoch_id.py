"""The identity of an epoch in a job, and the integer that travels for it."""

from __future__ import annotations

from typing import NamedTuple

_BITS = 32  # of the epoch's number; those above are the fit's


class EpochId(NamedTuple):
    """An epoch of a fit, unique in the job.

    A message, the mark of a batch and the trace carry it as one integer, which grows
    from epoch to epoch. There -1 stands for none.
    """

    fit: int  # fits of the job so far, this one included; 0 before the first
    epoch: int  # in the fit, from 0; below 2**32

    def pack(self) -> int:
        """Returns the integer, >= 0."""
        assert self.fit >= 0 <= self.epoch < 1 << _BITS, self
        return (self.fit << _BITS) + self.epoch

    @classmethod
    def unpack(cls, packed: int) -> EpochId:
        """Returns the epoch that an integer stands for.

        Raises:
            ValueError: The integer stands for none.
        """
        if packed < 0:
            raise ValueError(f"the integer of an epoch is >= 0. Received: {packed}.")
        return cls(*divmod(packed, 1 << _BITS))

    def __str__(self) -> str:
        return f"epoch {self.epoch} of fit {self.fit}"
