"""What only the client for asyncio decides: calls that are cancelled, and that share a refresh."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from fanfare.auth.v1.auth_pb2 import RefreshSessionRequest, RefreshSessionResponse, Session
from fanfare.read.v1.read_pb2 import GetUserRequest, GetUserResponse, WatchHomeTimelineResponse
from google.protobuf.timestamp_pb2 import Timestamp
from helpers.fake_fanfare import status

from fanfare_client.aio import AsyncClient, _Calls, _Sessions
from fanfare_client.errors import FanfareError
from fanfare_client.sessions import SessionState

FIRST = Session(
    access_token="first", access_expires_at=Timestamp(seconds=2**33), refresh_token="r1"
)
SECOND = Session(access_token="second", refresh_token="r2")


class Auth:
    """The AuthService, whose refreshes wait until they are released."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.entered = asyncio.Event()
        self.requests: list[RefreshSessionRequest] = []

    async def RefreshSession(  # noqa: N802 - the name of the method
        self,
        request: RefreshSessionRequest,
        timeout: float,  # noqa: ASYNC109 - as grpc has it
    ) -> RefreshSessionResponse:
        """Return the second session."""
        assert timeout > 0
        self.requests.append(request)
        self.entered.set()
        await self.release.wait()
        return RefreshSessionResponse(session=SECOND)


class Stream:
    """A stream of a watch without events, until `end` is cancelled."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.end = asyncio.get_running_loop().create_future()

    async def __aiter__(self) -> AsyncIterator[WatchHomeTimelineResponse]:
        """Yield no event."""
        self.entered.set()
        yield await self.end

    def cancel(self) -> None:
        """End the stream."""
        self.end.cancel()


class Server:
    """Rejects the access token of the first session."""

    def __init__(self) -> None:
        self.details: list[grpc.aio.ClientCallDetails] = []

    async def __call__(self, details: grpc.aio.ClientCallDetails, _request: Any) -> Any:
        """Return the call, to be awaited."""
        self.details.append(details)
        return self._answer(dict(details.metadata or ()))

    async def _answer(self, metadata: dict[str, str | bytes]) -> GetUserResponse:
        if metadata.get("authorization") == "Bearer second":
            return GetUserResponse()
        error = status(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
        trailing = grpc.aio.Metadata(*(error.trailing_metadata or ()))
        raise grpc.aio.AioRpcError(error.code, None, trailing, error.details)


def sessions(auth: Any, session: Session | None = FIRST) -> _Sessions:
    """Return the sessions of a client."""
    return _Sessions(auth, SessionState(session, None))


async def call(calls: _Calls, server: Server) -> object:
    """Make a call as grpc.aio does, with one entry of metadata."""
    metadata = grpc.aio.Metadata(("mine", "kept"))
    details = grpc.aio.ClientCallDetails("/m", None, metadata, None, None)
    return await calls.intercept_unary_unary(server, details, GetUserRequest())


async def test_calls_whose_token_is_rejected_share_a_refresh() -> None:
    """And are made again with the new token, with their own metadata, and a deadline."""
    auth, server = Auth(), Server()
    calls = _Calls(sessions(auth))
    both = asyncio.gather(call(calls, server), call(calls, server))
    await auth.entered.wait()
    auth.release.set()
    assert list(await both) == [GetUserResponse()] * 2
    assert [request.refresh_token for request in auth.requests] == ["r1"]
    assert [details.timeout for details in server.details] == pytest.approx([10] * 4, abs=1)
    sent = dict(server.details[-1].metadata or ())
    assert sent == {"mine": "kept", "authorization": "Bearer second"}


async def test_a_refresh_goes_on_if_its_caller_is_cancelled() -> None:
    """Because it uses up the refresh token."""
    auth = Auth()
    mine = sessions(auth)
    caller = asyncio.ensure_future(mine.renew("first", None))
    await auth.entered.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    auth.release.set()
    assert await mine.renew("first", None) == "second"
    assert len(auth.requests) == 1


async def test_a_call_waits_for_a_refresh_only_until_its_deadline() -> None:
    """The refresh goes on."""
    auth = Auth()
    mine = sessions(auth)
    with pytest.raises(FanfareError) as caught:
        await mine.renew("first", time.monotonic() + 0.01)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    auth.release.set()
    assert await mine.renew("first", None) == "second"
    assert len(auth.requests) == 1


async def test_a_watch_ends_with_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an error, though grpc.aio takes the end of a channel for a cancellation."""
    client = AsyncClient("127.0.0.1:1", "127.0.0.1:1")
    stream = Stream()
    monkeypatch.setattr(client, "read", SimpleNamespace(WatchHomeTimeline=lambda *_, **__: stream))
    watching = asyncio.ensure_future(anext(client.watch(7), None))
    await stream.entered.wait()
    await client.close()
    stream.end.cancel()
    assert await watching is None


async def test_a_watch_whose_task_is_cancelled_ends_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As any other coroutine does, and with its stream."""
    stream = Stream()
    async with AsyncClient("127.0.0.1:1", "127.0.0.1:1") as client:
        read = SimpleNamespace(WatchHomeTimeline=lambda *_, **__: stream)
        monkeypatch.setattr(client, "read", read)
        watching = asyncio.ensure_future(anext(client.watch(7), None))
        await stream.entered.wait()
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        assert stream.end.cancelled()


async def test_a_session_that_was_replaced_meanwhile_stays() -> None:
    """The result of a refresh of the former session is dropped."""
    auth = Auth()
    mine = sessions(auth)
    renewing = asyncio.ensure_future(mine.renew("first", None))
    await auth.entered.wait()
    mine.state.replace(Session(access_token="third"))
    auth.release.set()
    assert await renewing == "third"


async def test_an_error_without_a_session_is_raised() -> None:
    """Nothing is refreshed."""
    auth = Auth()
    with pytest.raises(FanfareError):
        await call(_Calls(sessions(auth, None)), Server())
    assert auth.requests == []
