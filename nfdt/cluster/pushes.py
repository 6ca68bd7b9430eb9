"""Where a server reads gradients into: vectors that are used again."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from nfdt.protocol.gradients import WIRE_TYPES, unpack_gradient
from nfdt.protocol.messages import Kind, Message
from nfdt.protocol.server import Service


class Pushes:
    """Reads and decodes what workers send to one server.

    Args:
        service: The server, which knows its groups.
    """

    def __init__(self, service: Service):
        self._service = service
        self._bytes: dict[int, Any] = {}  # size -> buffer for what is decoded at once
        self._vectors: dict[int, list[Any]] = {}  # group -> vectors that nobody holds

    def buffer(self, message: Message, payload_bytes: int) -> Any:
        """Returns the array that the payload of a message is to be read into.

        Args:
            message: The message without its payload.
            payload_bytes: Bytes of that.
        """
        if message.kind is not Kind.PUSH:
            return np.empty(payload_bytes, np.uint8)
        if self._is_plain(message):
            return self._vector(message.group)
        if payload_bytes not in self._bytes:
            self._bytes[payload_bytes] = np.empty(payload_bytes, np.uint8)
        return self._bytes[payload_bytes]

    def decoded(self, message: Message) -> Message:
        """Returns a push with its gradient as a vector, in the parameters' type."""
        if self._is_plain(message):
            return message
        vector = self._vector(message.group)
        wire = self._service.descriptions[message.group]["wire"]
        unpack_gradient(message.parts, message.payload, vector, wire)
        return dataclasses.replace(message, payload=vector)

    def give_back(self, message: Message) -> None:
        """Uses the vector of a push again, unless the gradient waits to be applied."""
        if not self._service.groups[message.group].holds(message.worker):
            self._vectors[message.group].append(message.payload)

    def _is_plain(self, message: Message) -> bool:
        """Whether a push is just the vector, in the type of the parameters."""
        wire = self._service.descriptions[message.group]["wire"]
        params = self._service.groups[message.group].params
        return not message.parts and bool(WIRE_TYPES[wire] == params.dtype)

    def _vector(self, group: int) -> Any:
        free = self._vectors.setdefault(group, [])
        return free.pop() if free else np.empty_like(self._service.groups[group].params)
