"""The log of a process, on stderr: as text for people, or as JSON lines for other programs.

A call such as `LOG.info("relay started: history=%s epoch=%d", history, epoch)` is one event. Its
name and the names of its fields come from the format string, so that they do not depend on the
values: here `relay_started` with `history` and `epoch`. A test compares the names of all events
with docs/log-events.md, so that a change of a name is noticed.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from google.protobuf.message import DecodeError

from core.runtime.log_fields import Fields
from core.runtime.tracing import CURRENT
from core.settings import LogFormat

TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# The event of all records of libraries, whose texts are not ours to keep stable.
LIBRARY_EVENT = "library_message"
_OWN = {"core", "write_service", "read_service", "fanout_worker", "gateway"}

_PLACEHOLDER = re.compile(r"(?:(?P<key>[a-z][a-z0-9_]*)=)?(?P<conversion>%(?:[-.0-9]*[a-z]))|%%")
# Where the name of the event ends: before the first field, or the first sign between two clauses.
_END_OF_NAME = re.compile(r"[:;,(]|[a-z][a-z0-9_]*=%")


class EventTemplate(NamedTuple):
    """What a format string says about all events that are logged with it."""

    event: str
    keys: tuple[str | None, ...]
    """For each value, the name of its field; None for a value in the midst of the text."""


@lru_cache(maxsize=1000)
def event_template(format_string: str) -> EventTemplate:
    """Return the name of the event, and the names of its fields."""
    found = [match for match in _PLACEHOLDER.finditer(format_string) if match["conversion"]]
    plain = _END_OF_NAME.split(format_string, maxsplit=1)[0]
    words = re.findall(r"[a-z0-9]+", _PLACEHOLDER.sub(" ", plain).lower())
    return EventTemplate("_".join(words), tuple(match["key"] for match in found))


def start_log(level: str, log_format: LogFormat) -> None:
    """Log to stderr from this level on, except for records that quote what clients sent."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_quotes_no_client)
    handler.setFormatter(JsonFormatter() if log_format is LogFormat.JSON else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler])


class TextFormatter(logging.Formatter):
    """Formats a record as one line for people, with the trace id at its end if there is one."""

    def __init__(self) -> None:
        super().__init__(TEXT_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line without its traceback."""
        line = super().formatMessage(record)
        span = CURRENT.get()
        return line if span is None else f"{line} trace_id={span.trace_id}"


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields: dict[str, object] = {
            "time": utc_time(record.created),
            "level": record.levelname,
            "logger": record.name,
        }
        message = record.getMessage()
        if record.name.partition(".")[0] in _OWN:
            event, keys = event_template(str(record.msg))
            fields |= {"event": event, "message": message} | _fields(keys, record.args)
        else:
            fields |= {"event": LIBRARY_EVENT, "message": message}
        if (span := CURRENT.get()) is not None:
            fields["trace_id"] = span.trace_id
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str, ensure_ascii=False)


def utc_time(seconds: float) -> str:
    """Return a time in RFC 3339 with milliseconds, from seconds since 1970."""
    moment = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


def _fields(keys: tuple[str | None, ...], args: object) -> dict[str, object]:
    """Return the named values of a record."""
    # logging passes on a single mapping without the tuple around it.
    values = args if isinstance(args, tuple) else (args,)
    fields: dict[str, object] = {}
    for key, value in zip(keys, values, strict=False):
        if isinstance(value, Fields):
            fields |= value
        elif key is not None:
            fields[key] = value if isinstance(value, int | float) else str(value)
    return fields


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
