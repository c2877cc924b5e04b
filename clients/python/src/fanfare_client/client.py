"""A client of Fanfare for programs that use threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, NamedTuple, Self

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


class Client:
    """Calls Fanfare's services. It may be used by several threads at once.

    `write`, `read` and `auth` are the generated stubs. Their unary calls are repeated as the
    service config says, have a deadline of ten seconds unless they name a `timeout`, carry the
    access token of the session, and raise FanfareError. Requests that create tweets get a
    `request_id` if they have none, so that repeating them is safe. `.future()` of a stub waits for
    the answer; use AsyncClient for calls that go on in the background.
    """

    def __init__(
        self,
        write_target: str | grpc.Channel,
        read_target: str | grpc.Channel,
        *,
        tls: grpc.ChannelCredentials | None = None,
        session: Session | None = None,
        on_session: Callable[[Session], None] | None = None,
    ) -> None:
        """Open the client. It connects when it is first used.

        Args:
            write_target: host:port of the write service, or a channel to it.
            read_target: host:port of the read service, or a channel to it.
            tls: Credentials, such as those of channels.tls_from_folder(); None for no TLS.
            session: A session to go on with; None to begin without one.
            on_session: Called with each new session before it is used, to store it. A refresh token
                is valid only once, so only the latest session can be continued.
        """
        self._channels = [_channel(target, tls) for target in (write_target, read_target)]
        write, read = self._channels
        self._sessions = _Sessions(AuthServiceStub(write), SessionState(session, on_session))
        calls = _Calls(self._sessions)
        self.write = WriteServiceStub(grpc.intercept_channel(write, calls))
        self.auth = AuthServiceStub(grpc.intercept_channel(write, calls))
        self.read = ReadServiceStub(grpc.intercept_channel(read, calls))
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the client."""
        self.close()

    def close(self) -> None:
        """Close the channels, which ends calls and watches. The session goes on."""
        self._closed.set()
        for channel in self._channels:
            channel.close()

    @property
    def session(self) -> Session | None:
        """The session, with its newest tokens; None if there is none."""
        return self._sessions.state.session

    def sign_in(self, username: str, password: str) -> Session:
        """Create a session, and use it for the calls from now on."""
        request = CreateSessionRequest(username=username, password=password)
        session = self.auth.CreateSession(request).session
        self._sessions.replace(session)
        return session

    def sign_out(self) -> None:
        """End the session, and go on without one."""
        session = self.session
        if session is not None:
            self.auth.RevokeSession(RevokeSessionRequest(refresh_token=session.refresh_token))
            self._sessions.replace(None)

    def watch(
        self, user_id: int, *, limit: int = 0, consistency_token: str = ""
    ) -> Generator[list[Tweet], None, None]:
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
            token = self._sessions.access_token(None)
            error: FanfareError | None = None
            stream = self.read.WatchHomeTimeline(watch.request(), metadata=authorization(token))
            try:
                for event in stream:
                    tweets = watch.apply(event)
                    if tweets is not None:
                        yield tweets
            except grpc.RpcError as failure:
                error = fanfare_error(failure)
            finally:
                stream.cancel()
            if watch.needs_new_token(error, token):
                try:
                    self._sessions.renew(token, None)
                    watch.note_renewed()
                    continue
                except FanfareError as failure:
                    error = failure
            if not self._closed.is_set():
                self._closed.wait(watch.delay_seconds(error))


def pages(list_page: Callable[[ListRequestT], PageT], request: ListRequestT) -> Iterator[PageT]:
    """Yield the pages of a list, such as `pages(client.read.ListUsers, ListUsersRequest())`.

    Args:
        list_page: The method of a stub.
        request: The request for the first page.
    """
    following: ListRequestT | None = request
    while following is not None:
        page = list_page(following)
        yield page
        following = next_request(following, page)


def _channel(target: str | grpc.Channel, tls: grpc.ChannelCredentials | None) -> grpc.Channel:
    if not isinstance(target, str):
        return target
    if tls is None:
        return grpc.insecure_channel(target, OPTIONS)  # noqa: TID251 - this is a client's channel
    return grpc.secure_channel(target, tls, OPTIONS)  # noqa: TID251 - likewise


class _Sessions:
    """Refreshes the session of a client, once for all calls that need it at the same time.

    Deadlines are times of time.monotonic(); None to wait until the refresh ends.
    """

    def __init__(self, auth: AuthServiceStub, state: SessionState) -> None:
        self.state = state
        self._auth = auth
        self._lock = threading.RLock()  # on_session may make calls
        self._refreshing: Future[None] | None = None

    def access_token(self, deadline: float | None) -> str:
        """Return an access token that has not expired if possible; empty without a session."""
        if self.state.is_due(time.time()):
            # The old access token may still be valid. If not, the call says so.
            with suppress(FanfareError):
                self._refresh(lambda: self.state.is_due(time.time()), deadline)
        return self.state.access_token

    def renew(self, rejected: str, deadline: float | None) -> str:
        """Return another access token than the one that was rejected. May raise FanfareError."""
        self._refresh(lambda: self.state.access_token == rejected, deadline)
        return self.state.access_token

    def replace(self, session: Session | None) -> None:
        """Use another session; None for none."""
        with self._lock:
            self.state.replace(session)

    def _refresh(self, is_needed: Callable[[], bool], deadline: float | None) -> None:
        with self._lock:
            if not is_needed():
                return
            refreshing = self._refreshing
            if refreshing is None:
                self._refreshing = refreshing = Future()
                # It goes on if its caller gives up, because it uses up the refresh token.
                threading.Thread(target=self._exchange, args=[refreshing], daemon=True).start()
        try:
            refreshing.result(None if deadline is None else deadline - time.monotonic())
        except TimeoutError as late:
            raise refresh_timeout() from late

    def _exchange(self, refreshing: Future[None]) -> None:
        with self._lock:
            old = self.state.session
            request = self.state.refresh_request()
        outcome: Session | FanfareError
        try:
            outcome = self._auth.RefreshSession(request, timeout=DEFAULT_TIMEOUT_SECONDS).session
        except grpc.RpcError as error:
            outcome = fanfare_error(error)
            outcome.__cause__ = error
        failure: Exception | None = outcome if isinstance(outcome, FanfareError) else None
        with self._lock:
            try:
                self.state.end_refresh(old, outcome)
            except Exception as error:  # noqa: BLE001 - of on_session, for those who wait
                failure = error
            self._refreshing = None
        if failure is None:
            refreshing.set_result(None)
        else:
            refreshing.set_exception(failure)


class _Details(NamedTuple):
    """What a call changes of the details that grpc would use; see grpc.ClientCallDetails."""

    timeout: float
    metadata: tuple[tuple[str, str | bytes], ...]


class _Calls(grpc.UnaryUnaryClientInterceptor):
    """Adds deadlines, access tokens and request ids to unary calls, and translates errors."""

    def __init__(self, sessions: _Sessions) -> None:
        self._sessions = sessions

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        """Make the call, and once more with a new access token if the first one was rejected."""
        repeatable = with_request_ids(request)
        timeout = client_call_details.timeout
        deadline = time.monotonic() + (DEFAULT_TIMEOUT_SECONDS if timeout is None else timeout)
        token = self._sessions.access_token(deadline)
        outcome = continuation(_details(client_call_details, deadline, token), repeatable)
        error = _error(outcome)
        if error is not None and is_rejected(error, token):
            renewed = self._sessions.renew(token, deadline)
            outcome = continuation(_details(client_call_details, deadline, renewed), repeatable)
            error = _error(outcome)
        if error is not None:
            raise error
        return outcome


def _details(given: Any, deadline: float, access_token: str) -> _Details:
    metadata = (*(given.metadata or ()), *authorization(access_token))
    return _Details(deadline - time.monotonic(), metadata)


def _error(outcome: Any) -> FanfareError | None:
    """Return the error of a call that grpc has made; None if it succeeded."""
    failure = outcome.exception() if isinstance(outcome, grpc.Future) else outcome
    if not isinstance(failure, Exception):
        return None
    if not isinstance(failure, grpc.RpcError):
        raise failure  # a mistake of the caller, as after close()
    error = fanfare_error(failure)
    error.__cause__ = failure
    return error
