"""When the Python client refreshes a session."""

from __future__ import annotations

import pytest
from fanfare.auth.v1.auth_pb2 import RefreshSessionRequest, Session
from google.protobuf.timestamp_pb2 import Timestamp

from fanfare_client.sessions import (
    REFRESH_BEFORE_SECONDS,
    REFRESH_PAUSE_SECONDS,
    SessionState,
    authorization,
)

EXPIRES = 1_000_000
SESSION = Session(access_token="a", access_expires_at=Timestamp(seconds=EXPIRES), refresh_token="r")


class Clock:
    """A monotonic clock that the test sets."""

    seconds = 5.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


@pytest.mark.parametrize(
    ("now", "is_due"),
    [
        (EXPIRES - REFRESH_BEFORE_SECONDS - 1, False),
        (EXPIRES - REFRESH_BEFORE_SECONDS, True),
        (EXPIRES + 1, True),
    ],
)
def test_a_session_is_refreshed_before_its_token_expires(now: float, *, is_due: bool) -> None:
    """A minute before."""
    assert SessionState(SESSION, None, Clock()).is_due(now) is is_due


def test_a_wrong_clock_does_not_refresh_before_every_call() -> None:
    """After a refresh there is a pause, even if the new token seems to have expired."""
    clock = Clock()
    state = SessionState(SESSION, None, clock)
    assert state.is_due(EXPIRES)
    assert state.refresh_request() == RefreshSessionRequest(refresh_token="r")
    assert not state.is_due(EXPIRES)
    clock.seconds += REFRESH_PAUSE_SECONDS - 1
    assert not state.is_due(EXPIRES)
    clock.seconds += 1
    assert state.is_due(EXPIRES)


def test_a_new_session_is_passed_on_before_it_is_used() -> None:
    """So that it can be stored; the end of the session is not one."""
    stored: list[Session] = []
    state = SessionState(None, stored.append)
    state.replace(SESSION)
    state.replace(None)
    assert stored == [SESSION]


def test_a_session_that_cannot_be_stored_is_used() -> None:
    """Because the refresh token of the one before is used up."""

    def store(_: Session) -> None:
        raise OSError("the disk is full")

    state = SessionState(None, store)
    with pytest.raises(OSError, match="disk is full"):
        state.replace(SESSION)
    assert state.session == SESSION


def test_without_a_session_there_is_no_token() -> None:
    """And nothing to refresh."""
    state = SessionState(None, None)
    assert not state.is_due(EXPIRES)
    assert authorization(state.access_token) == ()
    assert authorization("a") == (("authorization", "Bearer a"),)
