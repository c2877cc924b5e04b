"""Calls to a system in which faults happen. Some failures are expected because of the faults."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from torture.world import CALL_SECONDS, Cast, World

from core.feed.consistency_tokens import decode_token

# How long calls may fail after the primary crashed: the pool replaces its connections one by one.
RECOVER_SECONDS = 60.0
# Calls wait for a service that is restarting.
CALL: dict[str, Any] = {"timeout": CALL_SECONDS, "wait_for_ready": True}


class Calls:
    """The calls of a story, one at a time or many at once."""

    def __init__(self, world: World, cast: Cast) -> None:
        self._world = world
        self._cast = cast

    def command(self, method: str, request: object) -> Any:
        """Return a command's answer, None if it is NOT_FOUND.

        A command that fails while the primary restarts is sent again. If the first attempt took
        effect after all, the oracle, which is SQL, has it too.
        """
        try:
            return self._with_retries(lambda: getattr(self._world.write, method)(request, **CALL))
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return None
            raise

    def has_ended_history(self, token: str) -> bool:
        """Return whether a consistency token names a history that is no longer the current one."""
        moment = decode_token(token)
        ((history,),) = self._world.clients.sql("SELECT history FROM relay_state")
        return moment is not None and moment.history != history

    def timeline(self, user: int, limit: int, token: str = "") -> r.GetHomeTimelineResponse:
        """Return a page of a timeline."""
        request = r.GetHomeTimelineRequest(user_id=user, limit=limit, page_token=token)
        page: r.GetHomeTimelineResponse = self._with_retries(
            lambda: self._world.read.GetHomeTimeline(request, **CALL)
        )
        return page

    def send(self, kind: str, first: int, second: int) -> Any:
        """Send a command or a read; return its future, None if its tweet or edge cannot exist."""
        cast, write = self._cast, self._world.write
        user, other = cast.user(first), cast.user(second)
        tweet = cast.tweets[second % len(cast.tweets)] if cast.tweets else None
        edge = {"follower_id": user, "followed_id": other}
        sent: Any = None
        match kind:
            case "tweet":
                new = w.CreateTweetRequest(user_id=user, content="at once")
                sent = write.CreateTweet.future(new, **CALL)
            case "update" if tweet is not None:
                change = w.UpdateTweetRequest(tweet_id=tweet, content=f"{first}")
                sent = write.UpdateTweet.future(change, **CALL)
            case "delete" if tweet is not None:
                sent = write.DeleteTweet.future(w.DeleteTweetRequest(tweet_id=tweet), **CALL)
            case "follow" if user != other:
                sent = write.FollowUser.future(w.FollowUserRequest(**edge), **CALL)
            case "unfollow" if user != other:
                sent = write.UnfollowUser.future(w.UnfollowUserRequest(**edge), **CALL)
            case "read":
                sent = self.send_read(user)
        if sent is not None:
            self._world.figures.operations[f"{kind} at once"] += 1
        return sent

    def send_read(self, user: int) -> Any:
        """Send a read of the first page of a timeline; return its future."""
        request = r.GetHomeTimelineRequest(user_id=user, limit=20)
        return self._world.read.GetHomeTimeline.future(request, **CALL)

    def finish(self, sent: Sequence[Any]) -> None:
        """Wait for the answers; remember the tweets that were created."""
        for future in sent:
            if future is None:
                continue
            try:
                answer = future.result()
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.NOT_FOUND and not self._excused(error):
                    raise
                continue
            if isinstance(answer, w.CreateTweetResponse):
                self.created([answer.tweet])

    def created(self, tweets: Sequence[Tweet]) -> None:
        """Remember tweets that were created."""
        self._cast.tweets += [tweet.id for tweet in tweets]
        self._cast.all_tweets += [tweet.id for tweet in tweets]

    def _with_retries(self, call: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + RECOVER_SECONDS
        while True:
            try:
                return call()
            except grpc.RpcError as error:
                if not self._excused(error) or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def _excused(self, error: grpc.RpcError) -> bool:
        """Return whether a call may fail like this: for a while after the primary was killed.

        An earlier story may have killed it: a connection that was idle since fails only now.
        """
        recent = time.monotonic() - self._world.postgres_crashed_at < RECOVER_SECONDS
        return recent and error.code() == grpc.StatusCode.UNAVAILABLE
