"""The envelopes around the messages of Connect's streams and of gRPC-Web.

An envelope is a byte of flags, the length of the message in four bytes, and the message.
"""

from __future__ import annotations

import struct

from core.errors import MalformedRequestError, UnsupportedEncodingError

_HEAD = struct.Struct(">BI")
ENVELOPE_BYTES = _HEAD.size
"""How much longer a message is in its envelope."""
_COMPRESSED = 1


def envelope(message: bytes, flags: int = 0) -> bytes:
    """Return a message in its envelope."""
    return _HEAD.pack(flags, len(message)) + message


def only_message(body: bytes) -> bytes:
    """Return the message of a body that has exactly one, which is not compressed.

    Raises:
        UnsupportedEncodingError: the body has no message, or several.
        MalformedRequestError: the body ends within an envelope, or the message is compressed, or is
            none of the method's.
    """
    if not body:
        raise UnsupportedEncodingError("the body has no message: send exactly one")
    if len(body) < ENVELOPE_BYTES:
        raise MalformedRequestError("the body ends within its envelope: send all of it")
    flags, length = _HEAD.unpack_from(body)
    if flags & _COMPRESSED:
        raise MalformedRequestError(
            "the message is marked as compressed, but no header names its encoding: send it plain"
        )
    if flags:
        raise MalformedRequestError(f"the envelope has the flags {flags}: send it with flags 0")
    end = ENVELOPE_BYTES + length
    if len(body) < end:
        raise MalformedRequestError(
            f"the envelope says {length} bytes, but {len(body) - ENVELOPE_BYTES} follow: send all"
        )
    if len(body) > end:
        raise UnsupportedEncodingError("the body has more than one message: send exactly one")
    return body[ENVELOPE_BYTES:]
