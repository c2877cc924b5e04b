"""Consistency tokens: what a command gives its caller, for reads that must see its effect.

A token names a position in the primary's write-ahead log that is not before the command's commit.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct

from core.errors import InvalidConsistencyTokenError

_VERSION = 1
_LAYOUT = struct.Struct(">BQ4s")


def encode_token(wal_position: int) -> str:
    """Return the token of a command that was committed at or before the position."""
    token = _LAYOUT.pack(_VERSION, wal_position, _digest(wal_position))
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def decode_token(token: str) -> int | None:
    """Return the position that a read must have, None for the empty token.

    Raises InvalidConsistencyTokenError for what no command gave out. The digest finds damage; a
    token carries no authority.
    """
    if not token:
        return None
    try:
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        version, wal_position, digest = _LAYOUT.unpack(packed)
    except (ValueError, binascii.Error, struct.error):
        raise InvalidConsistencyTokenError from None
    if version != _VERSION or digest != _digest(wal_position):
        raise InvalidConsistencyTokenError
    return int(wal_position)


def _digest(wal_position: int) -> bytes:
    return hashlib.blake2b(str(wal_position).encode(), digest_size=4).digest()
