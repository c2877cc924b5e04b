"""Consistency tokens: what a command gives its caller, for reads that must see its effect.

A token names a moment in the history of the database that is not before the command's commit.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct

from core.errors import InvalidConsistencyTokenError
from core.feed.history import Moment

_VERSION = 2
# The version, the history's ten digits as five bytes, the LSN, and a digest.
_LAYOUT = struct.Struct(">B5sQ4s")


def encode_token(moment: Moment) -> str:
    """Return the token of a command that was committed at or before the moment."""
    history = bytes.fromhex(moment.history)
    token = _LAYOUT.pack(_VERSION, history, moment.lsn, _digest(history, moment.lsn))
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def decode_token(token: str) -> Moment | None:
    """Return the moment that a read must have reached, None for the empty token.

    The digest finds damage; a token carries no authority.

    Raises:
        InvalidConsistencyTokenError: no command gave the token out.
    """
    if not token:
        return None
    try:
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        version, history, lsn, digest = _LAYOUT.unpack(packed)
    except (ValueError, binascii.Error, struct.error):
        raise InvalidConsistencyTokenError from None
    if version != _VERSION or digest != _digest(history, lsn):
        raise InvalidConsistencyTokenError
    return Moment(history.hex(), lsn)


def _digest(history: bytes, lsn: int) -> bytes:
    return hashlib.blake2b(b"%b %d" % (history, lsn), digest_size=4).digest()
