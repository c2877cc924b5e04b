"""Who the current task works for, so that callers can be given equal shares of what is scarce."""

from __future__ import annotations

from contextvars import ContextVar

CALLER: ContextVar[tuple[str, ...]] = ContextVar("caller", default=())
"""The caller of the current task, as a path of groups for a FairQueue: first the address that its
calls are counted by, then the user id, the name of a service, or the address again if neither is
known. Addresses come first because anybody can create users. Empty in tasks that the process itself
has started."""
