"""The log of each process, on stderr."""

from __future__ import annotations

import logging
import sys


def start_log(level: str) -> None:
    """Write records from this level on to stderr, but for those that repeat what clients sent."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_is_ours_to_tell)
    logging.basicConfig(
        level=level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[handler],
    )


def _is_ours_to_tell(record: logging.LogRecord) -> bool:
    """Return False for what libraries say of bytes that are no HTTP, or no text in metadata.

    They repeat them, and there may be a token or a password in them. They are the client's
    mistakes, and answered as such.
    """
    error = record.exc_info[0] if record.exc_info else None
    if record.name == "aiohttp.server" and error is not None:
        return error.__module__ != "aiohttp.http_exceptions"
    return record.name != "grpc._cython.cygrpc" or "Invalid encoding" not in str(record.msg)
