"""Tells a Redis that is at its memory limit from one that does not answer."""

from __future__ import annotations

from redis.exceptions import OutOfMemoryError

_REFUSAL = "OOM command not allowed"


def is_out_of_memory(error: Exception) -> bool:
    """Return whether Redis refused a command because it has reached its memory limit.

    redis-py raises OutOfMemoryError only for commands that it parses the replies of itself. For
    replies from scripts and transactions, and those that core.storage.redis parses, only the text
    of the error tells.
    """
    return isinstance(error, OutOfMemoryError) or _REFUSAL in str(error)
