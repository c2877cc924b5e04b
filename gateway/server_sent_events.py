"""Server-Sent Events: a stream of messages as text/event-stream, which browsers can resume.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import random

from google.protobuf.descriptor import Descriptor
from google.protobuf.message_factory import GetMessageClass

from core.errors import FanfareError
from core.rpc.error_status import to_status
from core.watch_errors import WatchEndedError
from gateway.transcode import field_printer, printer

CONTENT_TYPE = "text/event-stream"
LAST_EVENT_ID = "Last-Event-ID"
TOKEN_FIELD = "resume_token"  # noqa: S105 -- a field's name
HEARTBEAT = b": heartbeat\n\n"
# How long a client waits before it opens the stream again after it was lost, in milliseconds. It
# differs, so that the clients of a process do not come back all at once.
MIN_RETRY_MS = 1000
MAX_RETRY_MS = 5000
_EVENT = "event"
_HEARTBEAT_FIELD = "heartbeat"
# Events are named after the fields of the message, except for this one.
_NAMES = {"removed_tweet_id": "removed"}


class EventPrinter:
    """Prints the messages of a stream, which have a oneof `event` and a resume token."""

    def __init__(self, descriptor: Descriptor) -> None:
        """Prepare to print messages of this type."""
        self._class = GetMessageClass(descriptor)
        fields = descriptor.oneofs_by_name[_EVENT].fields
        self._parts = {
            field.name: (_NAMES.get(field.name, field.name), field_printer(field))
            for field in fields
        }

    def print(self, response: bytes) -> bytes:
        """Return a serialised message as an event; as a comment if it is a heartbeat."""
        message = self._class.FromString(response)
        kind = message.WhichOneof(_EVENT)
        if kind == _HEARTBEAT_FIELD:
            return HEARTBEAT
        name, print_field = self._parts[kind]
        token = getattr(message, TOKEN_FIELD)
        return f"id: {token}\nevent: {name}\ndata: {{{print_field(message)}}}\n\n".encode()


class ServerSentEvents:
    """The format of a stream's response, for gateway.stream_sender."""

    content_type = CONTENT_TYPE

    def __init__(self, descriptor: Descriptor) -> None:
        """Prepare to print messages of this type."""
        self.event = EventPrinter(descriptor).print

    def begin(self) -> bytes:
        """Return the line with which each stream begins."""
        return usual_retry()

    def end(self, error: FanfareError | None) -> bytes:
        """Return what tells a client why its stream ends, or when to open it again."""
        if error is None:
            return b""
        if isinstance(error, WatchEndedError):
            return retry(int(error.retry_after * 1000))
        return error_event(error)


def error_event(error: FanfareError) -> bytes:
    """Return the event that tells a client why its stream ends."""
    status = to_status(error)
    return f"event: error\ndata: {printer(status.DESCRIPTOR)(status)}\n\n".encode()


def retry(delay_ms: int) -> bytes:
    """Return the line that says how long a client waits after it has lost its stream."""
    return f"retry: {delay_ms}\n\n".encode()


def usual_retry() -> bytes:
    """Return the line with which each stream begins."""
    return retry(random.randint(MIN_RETRY_MS, MAX_RETRY_MS))  # noqa: S311 - not a secret
