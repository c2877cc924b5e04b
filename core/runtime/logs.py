"""The log of a process, on stderr."""

from __future__ import annotations

import logging
import sys

from google.protobuf.message import DecodeError


def start_log(level: str) -> None:
    """Log to stderr from this level on, except for records that quote what clients sent."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_quotes_no_client)
    logging.basicConfig(
        level=level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[handler],
    )


def _quotes_no_client(record: logging.LogRecord) -> bool:
    """Return False for a library's record about bytes that are not valid HTTP, UTF-8 or protobuf.

    Such records quote the bytes, which may hold an access token or a password. The client gets an
    error, so nothing is missed when the record is dropped.
    """
    error = record.exc_info[0] if record.exc_info else None
    if error is None:
        return True
    if record.name == "aiohttp.server":
        return error.__module__ != "aiohttp.http_exceptions"
    return record.name not in {"asyncio", "grpc._cython.cygrpc"} or not issubclass(
        error, (UnicodeError, DecodeError)
    )
