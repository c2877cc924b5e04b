"""Who the current task works for, so that callers can be given equal shares of what is scarce."""

from __future__ import annotations

from contextvars import ContextVar

CALLER: ContextVar[str | None] = ContextVar("caller", default=None)
"""The caller of the current task: a user id, the name of a service, or the address of a client
whose user is not known. None in tasks that the process itself has started."""

ADDRESS: ContextVar[str] = ContextVar("address", default="unknown")
"""The address that the call of the current task is counted by, whether its user is known or not."""
