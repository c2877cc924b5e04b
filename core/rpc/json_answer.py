"""A response that a method can give in either of two forms, without making a message of it."""

from __future__ import annotations

from abc import ABC, abstractmethod


class JsonAnswer(ABC):
    """A response whose JSON is known, so that REST need neither parse nor print a message.

    It stands in for the message: gRPC calls SerializeToString(), as it would the message's.
    """

    __slots__ = ()

    @abstractmethod
    def SerializeToString(self) -> bytes:  # noqa: N802 - the name that messages have
        """Return the serialised message."""

    @abstractmethod
    def json(self) -> bytes:
        """Return what gateway.transcode prints for the message, in UTF-8."""
