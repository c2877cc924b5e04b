"""A small client of both services, for `fanfare tweet`, `follow`, `timeline` and `watch`."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import grpc
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1 import read_pb2 as r
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from fanfare.write.v1 import write_pb2 as w
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub

from core.settings import Settings
from ops.channel import service_channel
from ops.failures import failures_as_ops_errors
from ops.watched_timeline import Disconnected, resumed_events

CALL_SECONDS = 10.0


class Client:
    """Calls the services of the system that the settings are of."""

    def __init__(self, settings: Settings, token_file: Path | None = None) -> None:
        """Prepare the channels; nothing is connected yet.

        Args:
            settings: where the services are, and how to reach them.
            token_file: a file with an access token; None to sign one, where that is needed.
        """
        self._write_channel = service_channel(settings, settings.write_service_target(), token_file)
        self._read_channel = service_channel(settings, settings.read_service_target(), token_file)
        self._write = WriteServiceStub(self._write_channel)
        self._read = ReadServiceStub(self._read_channel)
        self._usernames: dict[int, str] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the channels."""
        self._write_channel.close()
        self._read_channel.close()

    @failures_as_ops_errors()
    def tweet(self, user_id: int, content: str) -> w.CreateTweetResponse:
        """Create a tweet.

        Raises:
            OpsError: the call failed.
        """
        request = w.CreateTweetRequest(
            user_id=user_id, content=content, request_id=str(uuid.uuid4())
        )
        return self._write.CreateTweet(request, timeout=CALL_SECONDS)

    @failures_as_ops_errors()
    def follow(self, follower_id: int, followed_id: int) -> w.FollowUserResponse:
        """Make one user follow another.

        Raises:
            OpsError: the call failed.
        """
        request = w.FollowUserRequest(follower_id=follower_id, followed_id=followed_id)
        return self._write.FollowUser(request, timeout=CALL_SECONDS)

    @failures_as_ops_errors()
    def timeline(self, request: r.GetHomeTimelineRequest) -> r.GetHomeTimelineResponse:
        """Return a page of a home timeline.

        Raises:
            OpsError: the call failed.
        """
        return self._read.GetHomeTimeline(request, timeout=CALL_SECONDS)

    def watch(
        self, user_id: int, limit: int
    ) -> Iterator[r.WatchHomeTimelineResponse | Disconnected]:
        """Yield the events of a home timeline, as resumed_events() does.

        Raises:
            OpsError: the first connection failed, or the server refuses to go on.
        """

        def open_stream(resume_token: str) -> Iterable[r.WatchHomeTimelineResponse]:
            request = r.WatchHomeTimelineRequest(
                user_id=user_id, limit=limit, resume_token=resume_token
            )
            return self._read.WatchHomeTimeline(request)

        with failures_as_ops_errors():
            yield from resumed_events(open_stream)

    def usernames(self, tweets: Iterable[Tweet]) -> dict[int, str]:
        """Return the usernames of the tweets' authors, by id; those that are not known are absent.

        A tweet can be shown without them, so a call that fails is no error.
        """
        wanted = {tweet.user_id for tweet in tweets} - self._usernames.keys()
        if wanted:
            request = r.BatchGetUsersRequest(user_ids=sorted(wanted))
            with contextlib.suppress(grpc.RpcError):
                users = self._read.BatchGetUsers(request, timeout=CALL_SECONDS).users
                self._usernames |= {user.id: user.username for user in users}
        return self._usernames
