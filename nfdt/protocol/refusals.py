"""Gradients that are not finite, which a server refuses."""

from __future__ import annotations

from nfdt.protocol.messages import Kind, Message
from nfdt.rules.finite import first_wrong, is_finite


class Refusals:
    """Refuses gradients with NaN or infinity, and counts them."""

    def __init__(self) -> None:
        self.in_a_row = 0  # of all workers, since the last that was finite

    def find(self, message: Message, version: int) -> list[Message]:
        """Returns the answer to a push that is refused; none for one that is not.

        Args:
            message: The push.
            version: Of the parameters now.
        """
        if is_finite(message.payload):
            self.in_a_row = 0
            return []
        self.in_a_row += 1
        return [
            Message(
                Kind.REFUSED,
                message.worker,
                version=version,
                number=first_wrong(message.payload),
                clock=self.in_a_row,
                payload=b"a gradient must be finite",
            )
        ]
