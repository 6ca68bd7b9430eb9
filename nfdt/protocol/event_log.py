"""The record of one shard's events since the trace was last written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nfdt.protocol.events import READINGS, Event, Happening, Readings, Use, event_of
from nfdt.protocol.messages import Message


class EventLog:
    """The events of one shard, and what else happened there."""

    def __init__(self) -> None:
        self.events: list[Event] = []  # since they were taken
        self.happenings: list[Happening] = []  # since they were taken

    def add(self, event: Event) -> None:
        """Notes a push, when nothing more is to be learned of it."""
        self.events.append(event)

    def step(
        self, message: Message, now_s: float, version: int, staleness: int, lead: int
    ) -> None:
        """Notes a local step of a worker."""
        self.events.append(event_of(message, now_s, version, staleness, lead, Use.OWN))

    def readings(self, worker: int, now_s: float, found: Readings) -> None:
        """Notes what a worker's monitor has read."""
        self.happen(now_s, {"kind": READINGS, "worker": worker, **found._asdict()})

    def happen(self, now_s: float, about: Mapping[str, Any]) -> None:
        """Notes that something else has happened."""
        self.happenings.append(Happening(now_s, about))

    def take(self) -> tuple[list[Event], list[Happening]]:
        """Returns what has been noted since the last call."""
        taken = self.events, self.happenings
        self.events, self.happenings = [], []
        return taken
