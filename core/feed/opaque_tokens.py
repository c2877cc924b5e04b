"""Opaque tokens: short strings that a client gets, keeps, and passes back unchanged.

Consistency tokens and page tokens are built here. A token is a version byte, some values packed by
`struct`, and a digest, all in base64url without padding. The digest detects a token that was
damaged, or that was issued for another purpose. It is not a signature: anybody can compute it, so a
token must never grant any right.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterable
from typing import Any

Value = int | bytes


class OpaqueTokenCodec:
    """Encodes and decodes the tokens of one kind and version."""

    def __init__(self, version: int, values: str, digest_size: int) -> None:
        """Take the layout of the token.

        Args:
            version: 0 to 255; a new layout needs a new version.
            values: the `struct` format of the values, without a byte order.
            digest_size: in bytes.
        """
        self._version = version
        self._layout = struct.Struct(f">B{values}{digest_size}s")
        self._digest_size = digest_size

    def encode(self, *values: Value, bound_to: Iterable[int | str] = ()) -> str:
        """Return the token that holds these values.

        Args:
            *values: what the token holds.
            bound_to: what the token is for, such as the name of a method. The digest covers it, so
                decode() needs the same values.
        """
        packed = self._layout.pack(self._version, *values, self._digest(bound_to, values))
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    def decode(self, token: str, bound_to: Iterable[int | str] = ()) -> tuple[Any, ...]:
        """Return the values of a token.

        Raises:
            ValueError: the token is damaged, is of another kind or version, or is bound to
                something else.
        """
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        if len(packed) != self._layout.size:
            raise ValueError("the token has another length")
        version, *values, digest = self._layout.unpack(packed)
        if version != self._version or digest != self._digest(bound_to, values):
            raise ValueError("the token has another version or digest")
        return tuple(values)

    def _digest(self, bound_to: Iterable[int | str], values: Iterable[Value]) -> bytes:
        words = [str(word).encode() for word in bound_to]
        words += [word if isinstance(word, bytes) else b"%d" % word for word in values]
        return hashlib.blake2b(b" ".join(words), digest_size=self._digest_size).digest()
