"""Sessions in Postgres; each method is one transaction on the primary."""

from __future__ import annotations

import hmac
import uuid
from dataclasses import dataclass
from datetime import datetime

from core.errors import InvalidCredentialsError, InvalidRefreshTokenError
from core.storage.postgres_pool import Database
from core.storage.queries import load_queries
from write_service.refresh_tokens import LIFE_SECONDS, MAX_SESSIONS, RefreshToken

SQL = load_queries("write_service")


@dataclass(frozen=True)
class Account:
    """What signing in needs to know about a user."""

    user_id: int
    password_hash: str | None
    admin: bool
    token_epoch: int


@dataclass(frozen=True)
class Session:
    """A session, with the one refresh token that is valid now."""

    user_id: int
    admin: bool
    token_epoch: int
    token: RefreshToken
    expires_at: datetime
    signed_in_at: datetime
    """When the session was created; a refresh does not change it."""


class SessionStore:
    """Creates, refreshes and ends sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_account(self, username: str) -> Account | None:
        """Return the account with this username, ignoring case; None if there is none."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(SQL["credentials"], {"username": username})
            row = await cursor.fetchone()
        return Account(*row) if row else None

    async def password_hash(self, user_id: int) -> str | None:
        """Return a user's password hash; None if the user has none, or does not exist."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(SQL["password_hash"], {"user_id": user_id})
            row = await cursor.fetchone()
        return row[0] if row else None

    async def replace_hash(self, user_id: int, old: str, new: str) -> bool:
        """Store a new hash of the same password if old is still stored; return whether it was."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                SQL["replace_password_hash"], {"user_id": user_id, "old": old, "new": new}
            )
            return cursor.rowcount == 1

    async def create(self, account: Account) -> Session:
        """Create a session, and delete the user's expired and surplus ones.

        Raises:
            InvalidCredentialsError: the password was changed or the user was deleted after the
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
            # After the INSERT, which locks the user. A password change locks in the same order, the
            # user before the sessions, so that the two cannot deadlock.
            await connection.execute(SQL["purge_sessions_of_user"], user | {"kept": MAX_SESSIONS})
            return Session(account.user_id, account.admin, account.token_epoch, token, *row)

    async def refresh(self, used: RefreshToken) -> Session:
        """Use up a refresh token, and return the session with its next one.

        A token that was used before ends its session, because somebody else may have a copy, and
        with it the session's access tokens.

        Raises:
            InvalidRefreshTokenError: the token is not the session's newest, or the session ended.
        """
        session = {"id": used.session_id}
        token = RefreshToken.new(used.session_id)
        async with self._database.connection() as connection, connection.transaction():
            cursor = await connection.execute(SQL["lock_session"], session)
            row = await cursor.fetchone()
            if row is not None and hmac.compare_digest(row[1], used.sha256):
                user_id, _, admin, token_epoch, signed_in_at = row
                cursor = await connection.execute(
                    SQL["renew_session"],
                    session | {"sha256": token.sha256, "seconds": LIFE_SECONDS},
                )
                ((expires_at,),) = await cursor.fetchall()
                return Session(user_id, admin, token_epoch, token, expires_at, signed_in_at)
            await connection.execute(SQL["delete_session"], session | {"name": used.session_name})
        # Outside the transaction, which an exception would roll back.
        raise InvalidRefreshTokenError

    async def revoke(self, token: RefreshToken) -> int | None:
        """End the session that a token belongs to; the token need not be its newest.

        Returns:
            The user whose session it was; None if it had ended before.
        """
        session = {"id": token.session_id, "name": token.session_name}
        async with self._database.connection() as connection:
            cursor = await connection.execute(SQL["delete_session"], session)
            row = await cursor.fetchone()
        return row[0] if row else None
