"""Pages: how many items, and the tokens that say where the next page goes on."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct

from core.errors import InvalidPageTokenError

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
FROM_THE_TOP = 2**63 - 1

_VERSION = 1
_LAYOUT = struct.Struct(">Bq8s")


def page_size(limit: int) -> int:
    """Return how many items a page has at most, for the limit of a valid request."""
    return min(limit or DEFAULT_LIMIT, MAX_LIMIT)


def encode_page_token(method: str, user_id: int, position: int) -> str:
    """Return the token for the page after the item at this position.

    Opaque, versioned and bound to the method and the user by a digest. The digest finds damage
    and mix-ups; it is no signature, for a token carries no authority.
    """
    token = _LAYOUT.pack(_VERSION, position, _digest(method, user_id, position))
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def decode_page_token(token: str, method: str, user_id: int) -> int:
    """Return the position of a token; raises InvalidPageTokenError for a mangled or foreign one."""
    try:
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        version, position, digest = _LAYOUT.unpack(packed)
    except (ValueError, binascii.Error, struct.error):
        raise InvalidPageTokenError from None
    if version != _VERSION or digest != _digest(method, user_id, position):
        raise InvalidPageTokenError
    return int(position)


def _digest(method: str, user_id: int, position: int) -> bytes:
    return hashlib.blake2b(f"{method} {user_id} {position}".encode(), digest_size=8).digest()
