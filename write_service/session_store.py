"""The sessions' SQL: each method is one transaction on the primary."""

from __future__ import annotations

import hmac
import uuid
from dataclasses import dataclass
from datetime import datetime

from core.errors import InvalidCredentialsError, InvalidRefreshTokenError
from core.storage.postgres import Database
from core.storage.queries import load_queries
from write_service.refresh_tokens import LIFE_SECONDS, MAX_SESSIONS, RefreshToken

SQL = load_queries("write_service")


@dataclass(frozen=True)
class Account:
    """A user, as far as signing in is concerned."""

    user_id: int
    password_hash: str | None
    admin: bool


@dataclass(frozen=True)
class Session:
    """A session, with the only refresh token that it takes now."""

    user_id: int
    admin: bool
    token: RefreshToken
    expires_at: datetime


class SessionStore:
    """The Postgres primary, as sessions see it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def account(self, username: str) -> Account | None:
        """Return the account of this name in whatever case, or None."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(SQL["credentials"], {"username": username})
            row = await cursor.fetchone()
        return Account(*row) if row else None

    async def replace_hash(self, user_id: int, old: str, new: str) -> bool:
        """Replace a password's hash by one with the parameters of today.

        Returns whether it was still the old one.
        """
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                SQL["replace_password_hash"], {"user_id": user_id, "old": old, "new": new}
            )
            return cursor.rowcount == 1

    async def begin(self, account: Account) -> Session:
        """Return a new session; the user's expired ones are removed, and all but MAX_SESSIONS.

        Raises InvalidCredentialsError when the password was changed or the user deleted since the
        account was read.
        """
        token = RefreshToken.new(uuid.uuid4())
        user = {"user_id": account.user_id}
        async with self._database.connection() as connection, connection.transaction():
            cursor = await connection.execute(
                SQL["insert_session"],
                user
                | {
                    "id": token.session_id,
                    "sha256": token.sha256,
                    "seconds": LIFE_SECONDS,
                    "password_hash": account.password_hash,
                },
            )
            row = await cursor.fetchone()
            if row is None:
                raise InvalidCredentialsError
            # After the user was locked, as a new password locks them in that order too.
            await connection.execute(SQL["purge_sessions_of_user"], user | {"kept": MAX_SESSIONS})
            return Session(account.user_id, account.admin, token, row[0])

    async def renew(self, used: RefreshToken) -> Session:
        """Use up a refresh token and return the session with the next.

        Raises InvalidRefreshTokenError; one that was used before ends the session for good.
        """
        session = {"id": used.session_id}
        token = RefreshToken.new(used.session_id)
        async with self._database.connection() as connection, connection.transaction():
            cursor = await connection.execute(SQL["lock_session"], session)
            row = await cursor.fetchone()
            if row is not None and hmac.compare_digest(row[1], used.sha256):
                user_id, _, admin = row
                cursor = await connection.execute(
                    SQL["renew_session"],
                    session | {"sha256": token.sha256, "seconds": LIFE_SECONDS},
                )
                ((expires_at,),) = await cursor.fetchall()
                return Session(user_id, admin, token, expires_at)
            await connection.execute(SQL["delete_session"], session)
        # After the transaction, which an error would take back.
        raise InvalidRefreshTokenError

    async def end(self, token: RefreshToken) -> None:
        """End the session of this token, newest or not, if it has not ended."""
        async with self._database.connection() as connection:
            await connection.execute(SQL["delete_session"], {"id": token.session_id})
