"""What commands on accounts need, and cause, where authentication is on."""

from __future__ import annotations

import time

from fanfare.write.v1 import write_pb2 as pb

from core.auth.call_context import Context
from core.auth.ended_tokens import EndedTokens
from core.auth.security_log import Event, SecurityLog
from core.errors import InvalidRequestError, ReauthenticationRequiredError
from write_service.password_queue import Kind
from write_service.passwords import Passwords, normalise_password
from write_service.session_store import SessionStore

MIN_PASSWORD_CODE_POINTS = 8
# How long after a sign-in its user need not enter the password again.
RECENT_SECONDS = 300


def changes_credentials(request: pb.UpdateUserRequest) -> bool:
    """Return whether a request changes what a user signs in with, or recovers the account with."""
    return request.HasField("password") or request.HasField("email")


class AccountSecurity:
    """Protects accounts against stolen access tokens and weak passwords."""

    def __init__(
        self, store: SessionStore, passwords: Passwords, ended: EndedTokens, log: SecurityLog
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._ended = ended
        self._log = log

    @staticmethod
    def check_new_password(password: str) -> None:
        """Check a password that a user wants to have.

        Raises:
            InvalidRequestError: it is too short.
        """
        if len(normalise_password(password)) < MIN_PASSWORD_CODE_POINTS:
            must = f"must have at least {MIN_PASSWORD_CODE_POINTS} code points in normal form KC"
            raise InvalidRequestError([("password", must)])

    async def before_update(self, request: pb.UpdateUserRequest, context: Context) -> None:
        """Check that a user may change what the request names.

        Raises:
            InvalidRequestError: the new password is too short.
            ReauthenticationRequiredError: the current password is wrong, or is missing although the
                session is not new.
            OverloadedError: too many callers wait for the check of a password.
        """
        if request.HasField("password"):
            self.check_new_password(request.password)
        if not changes_credentials(request):
            return
        if request.HasField("current_password"):
            stored = await self._store.password_hash(request.user_id)
            is_user, _ = await self._passwords.verify(stored, request.current_password, Kind.CHANGE)
        else:
            is_user = time.time() - context.caller.signed_in_at <= RECENT_SECONDS
        if not is_user:
            error = ReauthenticationRequiredError()
            self._log.refuse(
                Event.REAUTHENTICATION_FAILED,
                context,
                "UpdateUser",
                error.reason_name,
                context.caller.user_id,
            )
            raise error

    async def after_update(self, request: pb.UpdateUserRequest, context: Context) -> None:
        """Refuse the access tokens that a change has ended, and log it."""
        if not changes_credentials(request):
            return
        await self._ended.refresh()
        user_id = context.caller.user_id
        if request.HasField("password"):
            self._log.record(Event.PASSWORD_CHANGED, context, "UpdateUser", user_id)
        if request.HasField("email"):
            self._log.record(Event.EMAIL_CHANGED, context, "UpdateUser", user_id)

    async def after_deletion(self, user_id: int, context: Context) -> None:
        """Refuse the access tokens of a deleted user, and log the deletion."""
        await self._ended.refresh()
        self._log.record(
            Event.USER_DELETED,
            context,
            "DeleteUser",
            context.caller.user_id,
            target=f"user_id={user_id}",
        )
