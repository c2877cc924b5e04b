"""A client of Fanfare for programs that use asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import grpc
from fanfare.auth.v1.auth_pb2 import CreateSessionRequest, RevokeSessionRequest, Session
from fanfare.auth.v1.auth_pb2_grpc import AuthServiceStub
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub

from fanfare_client.channels import DEFAULT_TIMEOUT_SECONDS, OPTIONS
from fanfare_client.errors import FanfareError, fanfare_error
from fanfare_client.requests import ListRequestT, PageT, next_request, with_request_ids
from fanfare_client.sessions import (
    SessionState,
    authorization,
    is_rejected,
    refresh_timeout,
)
from fanfare_client.watches import Watch

if TYPE_CHECKING:  # only the type stubs have it
    from fanfare.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub


class AsyncClient:
    """Calls Fanfare's services. Everything is as in fanfare_client.client.Client, to be awaited."""

    def __init__(
        self,
        write_target: str,
        read_target: str,
        *,
        tls: grpc.ChannelCredentials | None = None,
        session: Session | None = None,
        on_session: Callable[[Session], None] | None = None,
    ) -> None:
        """Open the client, in a running event loop. It connects when it is first used.

        Args:
            write_target: host:port of the write service.
            read_target: host:port of the read service.
            tls: Credentials, such as those of channels.tls_from_folder(); None for no TLS.
            session: A session to go on with; None to begin without one.
            on_session: Called with each new session before it is used, to store it. A refresh token
                is valid only once, so only the latest session can be continued.
        """
        refreshing = _channel(write_target, tls)
        self._sessions = _Sessions(AuthServiceStub(refreshing), SessionState(session, on_session))
        calls = _Calls(self._sessions)
        write, read = (_channel(target, tls, calls) for target in (write_target, read_target))
        self._channels = [refreshing, write, read]
        self.write = WriteServiceStub(write)
        self.auth = AuthServiceStub(write)
        self.read = ReadServiceStub(read)
        self._closed = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the client."""
        await self.close()

    async def close(self) -> None:
        """Close the channels, which ends calls and watches. The session goes on."""
        self._closed.set()
        for channel in self._channels:
            await channel.close()

    @property
    def session(self) -> Session | None:
        """The session, with its newest tokens; None if there is none."""
        return self._sessions.state.session

    async def sign_in(self, username: str, password: str) -> Session:
        """Create a session, and use it for the calls from now on."""
        request = CreateSessionRequest(username=username, password=password)
        session = (await self.auth.CreateSession(request)).session
        self._sessions.state.replace(session)
        return session

    async def sign_out(self) -> None:
        """End the session, and go on without one."""
        session = self.session
        if session is not None:
            await self.auth.RevokeSession(RevokeSessionRequest(refresh_token=session.refresh_token))
            self._sessions.state.replace(None)

    async def watch(
        self, user_id: int, *, limit: int = 0, consistency_token: str = ""
    ) -> AsyncGenerator[list[Tweet], None]:
        """Watch a home timeline.

        A stream that ends is opened again, after a pause that grows, and continues where it ended.

        Args:
            user_id: Whose home timeline.
            limit: How many tweets to show; 0 means 20, and more than 100 means 100.
            consistency_token: Of a command whose effect the first timeline must show.

        Yields:
            The newest tweets, newest first: once at the beginning, then after each change.

        Raises:
            FanfareError: The watch cannot go on, as when the user was deleted.
        """
        watch = Watch(user_id, limit, consistency_token)
        while not self._closed.is_set():
            token = await self._sessions.access_token(None)
            error: FanfareError | None = None
            stream = self.read.WatchHomeTimeline(watch.request(), metadata=authorization(token))
            try:
                async for event in stream:
                    tweets = watch.apply(event)
                    if tweets is not None:
                        yield tweets
            except grpc.aio.AioRpcError as failure:
                error = fanfare_error(failure)
            except asyncio.CancelledError:
                # close() ends the stream like this, too.
                task = asyncio.current_task()
                if not self._closed.is_set() or (task is not None and task.cancelling()):
                    raise
            finally:
                stream.cancel()
            if watch.needs_new_token(error, token):
                try:
                    await self._sessions.renew(token, None)
                    watch.note_renewed()
                    continue
                except FanfareError as failure:
                    error = failure
            if not self._closed.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(watch.delay_seconds(error)):
                        await self._closed.wait()


async def pages(
    list_page: Callable[[ListRequestT], Awaitable[PageT]], request: ListRequestT
) -> AsyncIterator[PageT]:
    """Yield the pages of a list, such as `pages(client.read.ListUsers, ListUsersRequest())`.

    Args:
        list_page: The method of a stub.
        request: The request for the first page.
    """
    following: ListRequestT | None = request
    while following is not None:
        page = await list_page(following)
        yield page
        following = next_request(following, page)


def _channel(
    target: str, tls: grpc.ChannelCredentials | None, *interceptors: grpc.aio.ClientInterceptor
) -> grpc.aio.Channel:
    if tls is None:
        return grpc.aio.insecure_channel(  # noqa: TID251 - this is a client's channel
            target, OPTIONS, interceptors=interceptors
        )
    return grpc.aio.secure_channel(target, tls, OPTIONS, interceptors=interceptors)


class _Sessions:
    """Refreshes the session of a client, once for all calls that need it at the same time.

    Deadlines are times of time.monotonic(); None to wait until the refresh ends.
    """

    def __init__(self, auth: AuthServiceAsyncStub, state: SessionState) -> None:
        self.state = state
        self._auth = auth
        self._refreshing: asyncio.Task[None] | None = None

    async def access_token(self, deadline: float | None) -> str:
        """Return an access token that has not expired if possible; empty without a session."""
        if self.state.is_due(time.time()):
            # The old access token may still be valid. If not, the call says so.
            with suppress(FanfareError):
                await self._refresh(deadline)
        return self.state.access_token

    async def renew(self, rejected: str, deadline: float | None) -> str:
        """Return another access token than the one that was rejected. May raise FanfareError."""
        if self.state.access_token == rejected:
            await self._refresh(deadline)
        return self.state.access_token

    async def _refresh(self, deadline: float | None) -> None:
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._exchange())
            self._refreshing.add_done_callback(self._forget)
        # It goes on if its caller gives up, because it uses up the refresh token.
        refreshed = asyncio.shield(self._refreshing)
        try:
            async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()):
                await refreshed
        except TimeoutError as late:
            raise refresh_timeout() from late

    def _forget(self, done: asyncio.Task[None]) -> None:
        self._refreshing = None
        if not done.cancelled():
            done.exception()  # or asyncio logs it, if no caller is left

    async def _exchange(self) -> None:
        old = self.state.session
        request = self.state.refresh_request()
        try:
            response = await self._auth.RefreshSession(request, timeout=DEFAULT_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as failure:
            error = fanfare_error(failure)
            self.state.end_refresh(old, error)
            raise error from failure
        self.state.end_refresh(old, response.session)


class _Calls(grpc.aio.UnaryUnaryClientInterceptor):
    """Adds deadlines, access tokens and request ids to unary calls, and translates errors."""

    def __init__(self, sessions: _Sessions) -> None:
        self._sessions = sessions

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        """Make the call, and once more with a new access token if the first one was rejected."""
        repeatable = with_request_ids(request)
        timeout = client_call_details.timeout
        deadline = time.monotonic() + (DEFAULT_TIMEOUT_SECONDS if timeout is None else timeout)
        token = await self._sessions.access_token(deadline)

        async def send(access_token: str) -> Any:
            details = _details(client_call_details, deadline, access_token)
            call = await continuation(details, repeatable)
            try:
                return await call
            except grpc.aio.AioRpcError as error:
                raise fanfare_error(error) from error

        try:
            return await send(token)
        except FanfareError as error:
            if not is_rejected(error, token):
                raise
        return await send(await self._sessions.renew(token, deadline))


def _details(
    given: grpc.aio.ClientCallDetails, deadline: float, access_token: str
) -> grpc.aio.ClientCallDetails:
    return grpc.aio.ClientCallDetails(
        given.method,
        deadline - time.monotonic(),
        grpc.aio.Metadata(*(given.metadata or ()), *authorization(access_token)),
        given.credentials,
        given.wait_for_ready,
    )
