"""The log of each process, on stderr."""

from __future__ import annotations

import logging
import sys

from google.protobuf.message import DecodeError


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
    """Return False for what libraries say of bytes that are no HTTP, no text, or no message.

    They repeat them, and there may be a token or a password in them. They are the client's
    mistakes, and answered as such.
    """
    error = record.exc_info[0] if record.exc_info else None
    if error is None:
        return True
    if record.name == "aiohttp.server":
        return error.__module__ != "aiohttp.http_exceptions"
    return record.name not in {"asyncio", "grpc._cython.cygrpc"} or not issubclass(
        error, (UnicodeError, DecodeError)
    )
