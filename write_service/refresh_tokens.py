"""Refresh tokens: what is given to the user, and what is kept of it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import uuid
from dataclasses import dataclass
from typing import Self

from core.errors import InvalidRefreshTokenError

# A session that is not refreshed for so long has ended.
LIFE_SECONDS = 30 * 86_400
# For one user.
MAX_SESSIONS = 100

_ID_BYTES = 16
_SECRET_BYTES = 32


@dataclass(frozen=True)
class RefreshToken:
    """The session's id, which stays, and a secret, which each refresh replaces."""

    session_id: uuid.UUID
    secret: bytes

    @classmethod
    def new(cls, session_id: uuid.UUID) -> Self:
        """Return a token of the session with a secret of its own."""
        return cls(session_id, secrets.token_bytes(_SECRET_BYTES))

    @classmethod
    def decode(cls, text: str) -> Self:
        """Return what encode() gave; raises InvalidRefreshTokenError for anything else."""
        try:
            raw = base64.b64decode(text, altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise InvalidRefreshTokenError from None
        if len(raw) != _ID_BYTES + _SECRET_BYTES:
            raise InvalidRefreshTokenError
        return cls(uuid.UUID(bytes=raw[:_ID_BYTES]), raw[_ID_BYTES:])

    def encode(self) -> str:
        """Return the token as its user keeps it: 64 characters of base64url."""
        return base64.urlsafe_b64encode(self.session_id.bytes + self.secret).decode()

    @property
    def sha256(self) -> bytes:
        """What is stored; of 32 random bytes a plain hash is enough."""
        return hashlib.sha256(self.secret).digest()
