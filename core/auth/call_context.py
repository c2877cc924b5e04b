"""What the authorizer and the methods know about a call, over gRPC or REST."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from core.auth.access_tokens import Caller

Metadata = Iterable[tuple[str, str | bytes]]
UNKNOWN_CALLER = Caller()


class Context(Protocol):
    """One call, as the authorizer and the method see it; gRPC and REST each implement it."""

    caller: Caller
    """Who calls, once the authorizer has found out; an unknown caller until then."""

    @property
    def metadata(self) -> Metadata:
        """The gRPC metadata, or the HTTP headers that replace it; keys are in lower case."""

    @property
    def address(self) -> str:
        """The IP address at the other end of the connection, or "unknown"."""

    @property
    def certificate_names(self) -> Sequence[str]:
        """The common names in the client's certificate; empty if it sent none."""
