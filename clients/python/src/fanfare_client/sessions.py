"""When a session's access token is used, and when it is refreshed; without I/O."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc
from fanfare.auth.v1.auth_pb2 import RefreshSessionRequest, Session
from fanfare.errors.v1.errors_pb2 import (
    ERROR_REASON_INVALID_REFRESH_TOKEN,
    ERROR_REASON_UNAUTHENTICATED,
)

from fanfare_client.errors import FanfareError

# An access token lasts ten minutes. It is refreshed so early that no call meets its end.
REFRESH_BEFORE_SECONDS = 60.0
# The pause after a refresh, also one that failed. If this machine's clock is wrong, every access
# token may seem to have expired.
REFRESH_PAUSE_SECONDS = 60.0


class SessionState:
    """The session that a client's calls use. Without one, calls carry no access token."""

    def __init__(
        self,
        session: Session | None,
        on_session: Callable[[Session], None] | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with a session.

        Args:
            session: The session; None for none.
            on_session: Called with each later session before it is used; None for nothing.
            monotonic: A clock that nobody sets, in seconds.
        """
        self.session = session
        self._on_session = on_session
        self._monotonic = monotonic
        self._next_refresh = monotonic()

    @property
    def access_token(self) -> str:
        """The access token; empty if there is no session."""
        session = self.session  # another thread may end it
        return session.access_token if session is not None else ""

    def is_due(self, now: float) -> bool:
        """Return whether to refresh the session before the next call.

        Args:
            now: The time, in seconds since 1970.
        """
        session = self.session
        if session is None or self._monotonic() < self._next_refresh:
            return False
        expires = session.access_expires_at.ToNanoseconds() / 1e9
        return now >= expires - REFRESH_BEFORE_SECONDS

    def replace(self, session: Session | None) -> None:
        """Use another session from now on; None for none."""
        try:
            if session is not None and self._on_session is not None:
                self._on_session(session)
        finally:
            self.session = session  # the refresh token of the one before is used up

    def refresh_request(self) -> RefreshSessionRequest:
        """Begin a refresh: return its request."""
        self._next_refresh = self._monotonic() + REFRESH_PAUSE_SECONDS
        token = self.session.refresh_token if self.session is not None else ""
        return RefreshSessionRequest(refresh_token=token)

    def end_refresh(self, old: Session | None, outcome: Session | FanfareError) -> None:
        """End a refresh: use the new session, or none if the server refused the refresh token.

        Args:
            old: The session that was refreshed. If it was replaced meanwhile, nothing changes.
            outcome: The new session, or why there is none.
        """
        if self.session is not old:
            return
        if isinstance(outcome, Session):
            self.replace(outcome)
        elif outcome.reason == ERROR_REASON_INVALID_REFRESH_TOKEN:
            self.replace(None)


def refresh_timeout() -> FanfareError:
    """Return the error of a call whose deadline passed while the session was refreshed."""
    return FanfareError(grpc.StatusCode.DEADLINE_EXCEEDED, "the session was not refreshed in time")


def is_rejected(error: FanfareError, access_token: str) -> bool:
    """Return whether a call failed because of its access token; "" if it had none."""
    return (
        access_token != ""
        and error.code is grpc.StatusCode.UNAUTHENTICATED
        and error.reason == ERROR_REASON_UNAUTHENTICATED
    )


def authorization(access_token: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata that authenticates a call; none for an empty access token."""
    return (("authorization", f"Bearer {access_token}"),) if access_token else ()
