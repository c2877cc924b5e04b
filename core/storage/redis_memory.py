"""Telling a Redis that has no memory left from one that is away."""

from __future__ import annotations

from redis.exceptions import OutOfMemoryError

_REFUSAL = "OOM command not allowed"


def is_out_of_memory(error: Exception) -> bool:
    """Return whether Redis refused a command because it is at its memory limit.

    redis-py has a class for the plain reply. The replies that we parse, those of scripts and
    those of transactions say it in their text.
    """
    return isinstance(error, OutOfMemoryError) or _REFUSAL in str(error)
