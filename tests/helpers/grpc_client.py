"""Calls of the gRPC API, and what their errors say."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import grpc
import pytest
from fanfare.common.v1.common_pb2 import Tweet, User
from fanfare.read.v1 import read_pb2 as r
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from fanfare.write.v1 import write_pb2 as w
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status
from helpers.leaks import SECRET

from core.rpc.tls import open_channel
from core.settings import Settings

_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Failure:
    """A call's error: its code, its reason, and the request fields that it names."""

    code: grpc.StatusCode
    reason: str
    fields: tuple[str, ...] = ()


def failure(call: Callable[[], object]) -> Failure:
    """Return the error of a call, which must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    status = rpc_status.from_call(cast("grpc.Call", caught.value))
    assert status is not None, f"no details in {caught.value}"
    return Failure(caught.value.code(), *details(status))


def details(status: Status) -> tuple[str, tuple[str, ...]]:
    """Return the reason of a status, and the request fields that it names."""
    info, bad = ErrorInfo(), BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    assert info.domain == "fanfare"
    return info.reason, tuple(violation.field for violation in bad.field_violations)


def reason(error: grpc.RpcError) -> str:
    """Return the reason of a call's error, "" if it has none, as when no server was reached."""
    status = rpc_status.from_call(cast("grpc.Call", error))
    return details(status)[0] if status is not None and status.details else ""


def ids(tweets: Sequence[Tweet]) -> list[int]:
    """Return the ids of tweets, in their order."""
    return [tweet.id for tweet in tweets]


class GrpcClient:
    """Stubs of both services, and the calls that most tests make."""

    def __init__(self, settings: Settings) -> None:
        tls_dir = settings.tls_dir
        self._write_channel = open_channel(settings.write_service_target(), tls_dir)
        self._read_channel = open_channel(settings.read_service_target(), tls_dir)
        self.write = WriteServiceStub(self._write_channel)
        self.read = ReadServiceStub(self._read_channel)

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the client."""
        self.close()

    def close(self) -> None:
        """Close the channels."""
        self._write_channel.close()
        self._read_channel.close()

    def user(self, *followed: User) -> User:
        """Create a user who follows the given users."""
        name = f"user_{next(_NUMBERS)}_{uuid.uuid4().hex[:8]}"
        request = w.CreateUserRequest(
            username=name, email=f"{name}@example.com", password=f"{SECRET}{uuid.uuid4().hex}"
        )
        user = self.write.CreateUser(request).user
        for other in followed:
            self.follow(user, other)
        return user

    def follow(self, follower: User, followed: User) -> None:
        """Make one user follow the other."""
        self.write.FollowUser(w.FollowUserRequest(follower_id=follower.id, followed_id=followed.id))

    def unfollow(self, follower: User, followed: User) -> None:
        """Make one user unfollow the other."""
        self.write.UnfollowUser(
            w.UnfollowUserRequest(follower_id=follower.id, followed_id=followed.id)
        )

    def tweet(self, author: User, content: str = "hello") -> Tweet:
        """Create a tweet."""
        request = w.CreateTweetRequest(user_id=author.id, content=content)
        return self.write.CreateTweet(request).tweet

    def tweets(self, author: User, count: int) -> list[Tweet]:
        """Create many tweets, in batches; return them in the order of creation."""
        created: list[Tweet] = []
        while len(created) < count:
            items = [
                w.CreateTweetRequest(user_id=author.id, content=f"tweet {n}")
                for n in range(len(created), min(len(created) + 1000, count))
            ]
            answer = self.write.BatchCreateTweets(w.BatchCreateTweetsRequest(requests=items))
            created += [result.tweet for result in answer.results]
        return created

    def timeline(self, reader: User, limit: int = 20, **page: Any) -> r.GetHomeTimelineResponse:
        """Return a page of a home timeline, by default the first; page: further request fields."""
        request = r.GetHomeTimelineRequest(user_id=reader.id, limit=limit, **page)
        return self.read.GetHomeTimeline(request)

    def whole_timeline(self, reader: User, limit: int = 100) -> list[int]:
        """Return the tweet ids on all pages of a home timeline, with up to limit on a page."""
        tweet_ids: list[int] = []
        token = ""
        while True:
            page = self.timeline(reader, limit, page_token=token)
            tweet_ids += ids(page.tweets)
            token = page.next_page_token
            if not token:
                return tweet_ids
