"""Distinguishes a Redis that has reached its memory limit from one that does not answer."""

from __future__ import annotations

from redis.exceptions import OutOfMemoryError

_REFUSAL = "OOM command not allowed"


def is_out_of_memory(error: Exception) -> bool:
    """Return whether Redis refused a command because it has reached its memory limit.

    redis-py raises OutOfMemoryError only when it parses the reply itself. The errors of scripts and
    transactions, and those that core.storage.redis parses, can be recognised only by their text.
    """
    return isinstance(error, OutOfMemoryError) or _REFUSAL in str(error)
