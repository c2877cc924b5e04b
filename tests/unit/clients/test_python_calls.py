"""Calls of the Python client, answered over grpcio-testing's fake channel."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import grpc
import pytest
from fanfare.auth.v1.auth_pb2 import CreateSessionResponse, RefreshSessionResponse, Session
from fanfare.common.v1.common_pb2 import User
from fanfare.errors.v1 import errors_pb2
from fanfare.read.v1.read_pb2 import (
    GetUserRequest,
    GetUserResponse,
    ListUsersRequest,
    ListUsersResponse,
)
from fanfare.write.v1.write_pb2 import (
    BatchCreateTweetsRequest,
    BatchCreateTweetsResponse,
    CreateTweetRequest,
    CreateTweetResponse,
)
from google.protobuf.timestamp_pb2 import Timestamp
from helpers.fake_fanfare import FakeFanfare, status

from fanfare_client.client import pages
from fanfare_client.errors import FanfareError

REJECTED = status(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
REQUEST = GetUserRequest(user_id=7)
RESPONSE = GetUserResponse(user=User(id=7))
FAR = 2**33  # in seconds since 1970


def session(name: str, expires: int = FAR) -> Session:
    """Return a session whose tokens begin with a name."""
    return Session(
        access_token=f"{name}-access",
        access_expires_at=Timestamp(seconds=expires),
        refresh_token=f"{name}-refresh",
    )


@pytest.fixture
def fake() -> Iterator[FakeFanfare]:
    """Return a fake whose client has no session."""
    with FakeFanfare() as fake:
        yield fake


@pytest.fixture
def signed_in() -> Iterator[FakeFanfare]:
    """Return a fake whose client has a session."""
    with FakeFanfare(session("first")) as fake:
        yield fake


def test_a_call_has_a_deadline_and_no_token_without_a_session(fake: FakeFanfare) -> None:
    """A call without a timeout gets ten seconds; one with a timeout keeps it."""
    found = fake.start(lambda: fake.client.read.GetUser(REQUEST))
    metadata, request = fake.answer("GetUser", RESPONSE)
    assert found.result() == RESPONSE
    assert request == REQUEST
    assert "authorization" not in metadata
    hurried = fake.start(lambda: fake.client.read.GetUser(REQUEST, timeout=3))
    fake.answer("GetUser", RESPONSE)
    hurried.result()
    assert fake.timeouts == pytest.approx([10, 3], abs=1)


def test_an_error_says_why(fake: FakeFanfare) -> None:
    """The reason, the metadata and the delay come from the details of the status."""
    call = fake.start(lambda: fake.client.read.GetUser(REQUEST))
    sent = status(
        grpc.StatusCode.UNAVAILABLE, "USER_BUSY", retry=timedelta(seconds=1.5), user_id="7"
    )
    fake.fail("GetUser", sent)
    error = call.exception()
    assert isinstance(error, FanfareError)
    assert error.code is grpc.StatusCode.UNAVAILABLE
    assert error.reason == errors_pb2.ERROR_REASON_USER_BUSY
    assert error.metadata == {"user_id": "7"}
    assert error.retry_delay_seconds == 1.5
    assert str(error) == "USER_BUSY: because of USER_BUSY"


@pytest.mark.parametrize(
    ("reason", "domain"), [("OF_TOMORROW", "fanfare"), ("USER_BUSY", "proxy.example.com")]
)
def test_an_unknown_reason_leaves_the_code(fake: FakeFanfare, reason: str, domain: str) -> None:
    """The reason of a newer server, or of something between, is unspecified."""
    call = fake.start(lambda: fake.client.read.GetUser(REQUEST))
    fake.fail("GetUser", status(grpc.StatusCode.ABORTED, reason, domain=domain))
    error = call.exception()
    assert isinstance(error, FanfareError)
    assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, 0)


def test_a_rejected_access_token_is_renewed_once(signed_in: FakeFanfare) -> None:
    """The call is made again with the new session's token."""
    found = signed_in.start(lambda: signed_in.client.read.GetUser(REQUEST))
    metadata, _ = signed_in.fail("GetUser", REJECTED)
    assert metadata["authorization"] == "Bearer first-access"
    _, refresh = signed_in.answer(
        "RefreshSession", RefreshSessionResponse(session=session("second"))
    )
    assert refresh.refresh_token == "first-refresh"
    metadata, _ = signed_in.answer("GetUser", RESPONSE)
    assert metadata["authorization"] == "Bearer second-access"
    assert found.result() == RESPONSE
    assert signed_in.client.session == session("second")


def test_a_second_rejection_is_final(signed_in: FakeFanfare) -> None:
    """A renewed token that is rejected as well ends the call."""
    call = signed_in.start(lambda: signed_in.client.read.GetUser(REQUEST))
    signed_in.fail("GetUser", REJECTED)
    signed_in.answer("RefreshSession", RefreshSessionResponse(session=session("second")))
    signed_in.fail("GetUser", REJECTED)
    error = call.exception()
    assert isinstance(error, FanfareError)
    assert error.reason == errors_pb2.ERROR_REASON_UNAUTHENTICATED


def test_calls_at_the_same_time_share_a_refresh(signed_in: FakeFanfare) -> None:
    """Two calls whose token is rejected refresh the session once."""
    calls = [signed_in.start(lambda: signed_in.client.read.GetUser(REQUEST)) for _ in range(2)]
    for _ in calls:
        signed_in.fail("GetUser", REJECTED)
    signed_in.answer("RefreshSession", RefreshSessionResponse(session=session("second")))
    for _ in calls:
        metadata, _ = signed_in.answer("GetUser", RESPONSE)
        assert metadata["authorization"] == "Bearer second-access"
    assert [call.result() for call in calls] == [RESPONSE, RESPONSE]


def test_a_refused_refresh_token_ends_the_session(signed_in: FakeFanfare) -> None:
    """Calls then have no access token, and refresh nothing."""
    call = signed_in.start(lambda: signed_in.client.read.GetUser(REQUEST))
    signed_in.fail("GetUser", REJECTED)
    refused = status(grpc.StatusCode.UNAUTHENTICATED, "INVALID_REFRESH_TOKEN")
    signed_in.fail("RefreshSession", refused)
    error = call.exception()
    assert isinstance(error, FanfareError)
    assert error.reason == errors_pb2.ERROR_REASON_INVALID_REFRESH_TOKEN
    assert signed_in.client.session is None
    again = signed_in.start(lambda: signed_in.client.read.GetUser(REQUEST))
    metadata, _ = signed_in.answer("GetUser", RESPONSE)
    assert "authorization" not in metadata
    again.result()


def test_a_call_waits_for_a_refresh_only_until_its_deadline(signed_in: FakeFanfare) -> None:
    """The refresh goes on, and the next call uses its session."""
    call = signed_in.start(lambda: signed_in.client.read.GetUser(REQUEST, timeout=0.1))
    signed_in.fail("GetUser", REJECTED)
    error = call.exception(timeout=5)
    assert isinstance(error, FanfareError)
    assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
    again = signed_in.start(lambda: signed_in.client.read.GetUser(REQUEST))
    signed_in.fail("GetUser", REJECTED)
    signed_in.answer("RefreshSession", RefreshSessionResponse(session=session("second")))
    metadata, _ = signed_in.answer("GetUser", RESPONSE)
    assert metadata["authorization"] == "Bearer second-access"
    again.result()


def test_an_expiring_token_is_refreshed_before_the_call() -> None:
    """If the refresh fails, the call tries the old token."""
    with FakeFanfare(session("first", expires=1)) as fake:
        found = fake.start(lambda: fake.client.read.GetUser(REQUEST))
        fake.fail("RefreshSession", status(grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE"))
        metadata, _ = fake.answer("GetUser", RESPONSE)
        assert metadata["authorization"] == "Bearer first-access"
        found.result()
    with FakeFanfare(session("first", expires=1)) as fake:
        found = fake.start(lambda: fake.client.read.GetUser(REQUEST))
        fake.answer("RefreshSession", RefreshSessionResponse(session=session("second")))
        metadata, _ = fake.answer("GetUser", RESPONSE)
        assert metadata["authorization"] == "Bearer second-access"
        found.result()


def test_a_wrong_password_refreshes_nothing(signed_in: FakeFanfare) -> None:
    """Only a rejected access token does; a sign-in that succeeds replaces the session."""
    call = signed_in.start(lambda: signed_in.client.sign_in("ann", "wrong"))
    wrong = status(grpc.StatusCode.UNAUTHENTICATED, "INVALID_CREDENTIALS")
    signed_in.fail("CreateSession", wrong)
    error = call.exception()
    assert isinstance(error, FanfareError)
    assert error.reason == errors_pb2.ERROR_REASON_INVALID_CREDENTIALS
    assert signed_in.client.session == session("first")
    right = signed_in.start(lambda: signed_in.client.sign_in("ann", "right"))
    signed_in.answer("CreateSession", CreateSessionResponse(session=session("second")))
    assert right.result() == signed_in.client.session == session("second")


def test_tweets_get_request_ids(fake: FakeFanfare) -> None:
    """Those that have none do, so that a repeated call creates nothing twice."""
    given = CreateTweetRequest(user_id=1, content="hello")
    call = fake.start(lambda: fake.client.write.CreateTweet(given))
    _, request = fake.answer("CreateTweet", CreateTweetResponse())
    call.result()
    assert len(request.request_id) == 36
    assert not given.request_id
    named = CreateTweetRequest(user_id=1, content="hello", request_id="mine")
    batch = BatchCreateTweetsRequest(requests=[given, named])
    more = fake.start(lambda: fake.client.write.BatchCreateTweets(batch))
    _, request = fake.answer("BatchCreateTweets", BatchCreateTweetsResponse())
    more.result()
    first, second = (tweet.request_id for tweet in request.requests)
    assert (len(first), second) == (36, "mine")


def test_pages_end_with_the_last_one(fake: FakeFanfare) -> None:
    """Each page is asked for with the token of the one before, and without the offset."""
    request = ListUsersRequest(limit=2, offset=3, consistency_token="t")
    found = fake.start(lambda: list(pages(fake.client.read.ListUsers, request)))
    first = ListUsersResponse(users=[User(id=1), User(id=2)], next_page_token="p")
    last = ListUsersResponse(users=[User(id=3)])
    assert fake.answer("ListUsers", first)[1] == request
    assert fake.answer("ListUsers", last)[1] == ListUsersRequest(
        limit=2, page_token="p", consistency_token="t"
    )
    assert found.result() == [first, last]
