"""Refresh tokens: the text that a user keeps, and the hash that Postgres keeps."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import uuid
from dataclasses import dataclass
from typing import Self

from core.errors import InvalidRefreshTokenError

# A session ends when it is not refreshed for this long.
LIFE_SECONDS = 30 * 86_400
# How many sessions a user can have. A further sign-in ends the least recently refreshed one.
MAX_SESSIONS = 100

_ID_BYTES = 16
_SECRET_BYTES = 32


@dataclass(frozen=True)
class RefreshToken:
    """The id of a session, and a secret that every refresh replaces."""

    session_id: uuid.UUID
    secret: bytes

    @classmethod
    def new(cls, session_id: uuid.UUID) -> Self:
        """Return a token of the session with a new secret."""
        return cls(session_id, secrets.token_bytes(_SECRET_BYTES))

    @classmethod
    def decode(cls, text: str) -> Self:
        """Return the token that encode() turned into this text.

        Raises:
            InvalidRefreshTokenError: no token has this text.
        """
        try:
            raw = base64.b64decode(text, altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise InvalidRefreshTokenError from None
        if len(raw) != _ID_BYTES + _SECRET_BYTES:
            raise InvalidRefreshTokenError
        return cls(uuid.UUID(bytes=raw[:_ID_BYTES]), raw[_ID_BYTES:])

    def encode(self) -> str:
        """Return the text for the user: 64 characters of base64url."""
        return base64.urlsafe_b64encode(self.session_id.bytes + self.secret).decode()

    @property
    def session_name(self) -> str:
        """What access tokens and the security log call the session; the id itself is secret."""
        return hashlib.sha256(self.session_id.bytes).hexdigest()[:22]

    @property
    def sha256(self) -> bytes:
        """The hash that is stored; a random secret needs neither a salt nor a slow hash."""
        return hashlib.sha256(self.secret).digest()
