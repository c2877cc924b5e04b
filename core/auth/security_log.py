"""The security log: JSON lines about sign-ins, changes of accounts and refused calls.

docs/operations.md lists the events and their fields, whose names are stable. There are no secrets
in it, no e-mail addresses and no usernames: people type passwords in place of the latter.

Events that a caller can repeat without limit, which are the refused ones, are bounded: the first of
a kind in a minute is logged at once, and the number of all further ones when the minute ends.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum

from core.auth.addresses import ClientAddresses, network_of
from core.auth.call_context import Context

MINUTE_SECONDS = 60
# How many kinds of refused events are told apart in a minute; all others of an event are one kind.
MAX_KINDS = 200
OTHERS = "others"

Detail = str | int | None


class Event(StrEnum):
    """What happened."""

    SIGN_IN = "sign_in"
    """A session was created."""
    SIGN_IN_FAILED = "sign_in_failed"
    """The username or the password was wrong."""
    REFRESH_FAILED = "refresh_failed"
    """A refresh token was not valid. If it was used before, its session has ended."""
    SESSION_REVOKED = "session_revoked"
    """A session was ended by RevokeSession."""
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a name
    """A user has a new password."""
    EMAIL_CHANGED = "email_changed"
    """A user has a new e-mail address."""
    REAUTHENTICATION_FAILED = "reauthentication_failed"
    """A change of password or e-mail address lacked the current password, or had a wrong one."""
    USER_DELETED = "user_deleted"
    """A user was deleted; `target` names them."""
    ADMINISTRATOR_ACTED = "administrator_acted"
    """A call was allowed because its caller is an administrator; `target` says what it is about."""
    CALL_REFUSED = "call_refused"
    """The access rule or the rate limit of a method refused a call."""


class SecurityLog:
    """The security log of a process."""

    def __init__(
        self,
        service: str,
        write: Callable[[str], None],
        addresses: ClientAddresses,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Log for a service.

        Args:
            service: the name of the service, which each line has.
            write: takes each line.
            addresses: tells where calls come from.
            clock: returns seconds since 1970.
        """
        self._service = service
        self._write = write
        self._addresses = addresses
        self._clock = clock
        self._minute = 0
        # How many events of each kind were not logged in this minute, and the fields of the first.
        self._unlogged: dict[tuple[Detail, ...], tuple[int, dict[str, Detail]]] = {}

    async def run(self) -> None:
        """Log the numbers of refused events when each minute ends, until cancelled."""
        try:
            while True:
                await asyncio.sleep(MINUTE_SECONDS - self._clock() % MINUTE_SECONDS)
                self.summarise()
        finally:
            self.summarise()

    def record(
        self,
        event: Event,
        context: Context,
        method: str,
        user_id: int | None,
        **details: Detail,
    ) -> None:
        """Log that something was done.

        Args:
            event: what was done.
            context: the call.
            method: the name of its method.
            user_id: the user who did it.
            **details: further fields.
        """
        self._log(self._fields(event, context, method, user_id, "OK") | details)

    def refuse(
        self,
        event: Event,
        context: Context,
        method: str,
        reason: str,
        user_id: int | None,
        **details: Detail,
    ) -> None:
        """Log or count that something was refused.

        Args:
            event: what was refused.
            context: the call.
            method: the name of its method.
            reason: the reason of the error, without its prefix.
            user_id: the user who called, or whom the caller wanted to be; None if there is none.
            **details: further fields, which are logged with the first event of a kind only.
        """
        now = int(self._clock() // MINUTE_SECONDS)
        if now != self._minute:
            self.summarise()
            self._minute = now
        fields = self._fields(event, context, method, user_id, reason)
        kind: tuple[Detail, ...] = (
            *(event, method, reason),
            *(user_id, context.caller.service, network_of(str(fields["address"]))),
        )
        if kind not in self._unlogged and len(self._unlogged) >= MAX_KINDS:
            fields |= {"user_id": None, "address": OTHERS}
            kind = (event, method, reason)
        if kind in self._unlogged:
            count, first = self._unlogged[kind]
            self._unlogged[kind] = (count + 1, first)
        else:
            self._unlogged[kind] = (0, fields)
            self._log(fields | details)

    def summarise(self) -> None:
        """Log how many events of each kind were not logged, and begin to count again."""
        unlogged, self._unlogged = self._unlogged, {}
        for count, fields in unlogged.values():
            if count:
                self._log(fields | {"count": count})

    def _fields(
        self, event: Event, context: Context, method: str, user_id: int | None, result: str
    ) -> dict[str, Detail]:
        fields: dict[str, Detail] = {
            "event": event,
            "service": self._service,
            "method": method,
            "user_id": user_id,
            "address": self._addresses.address(context),
            "result": result,
        }
        if context.caller.service:
            fields["calling_service"] = context.caller.service
        return fields

    def _log(self, fields: dict[str, Detail]) -> None:
        moment = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        self._write(json.dumps({"time": moment} | fields))
