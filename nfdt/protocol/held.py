"""A gradient that the server has received and not used yet."""

from __future__ import annotations

from typing import NamedTuple

from nfdt.protocol.copies import Copy
from nfdt.protocol.messages import Message
from nfdt.rules.corrections import Correction, Push, Vector
from nfdt.rules.updates import Late


class Held(NamedTuple):
    """A push whose gradient is not used yet."""

    message: Message
    lead: int  # of its worker, when it arrived
    pulled: Copy  # what it was computed at

    def staleness(self, version: int) -> int:
        """Returns how many updates it is behind parameters of a version."""
        return version - self.pulled.version

    def late(
        self, params: Vector, version: int, learning_rate: float, rule: Correction
    ) -> Late:
        """Returns it as a rule takes it.

        Args:
            params: The parameters now, [P].
            version: Theirs.
            learning_rate: In force now.
            rule: What corrects it.
        """
        push = Push(self.message.worker, self.staleness(version), learning_rate)
        if not rule.needs_pulled:
            return Late(push, self.message.payload, None)
        # A worker that has never pulled began with the first values.
        pulled = params if self.pulled.params is None else self.pulled.params
        return Late(push, self.message.payload, pulled)
