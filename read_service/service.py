"""The ReadService: each method of the contract, by way of Redis and the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from fanfare.common.v1.common_pb2 import Tweet, User
from fanfare.read.v1 import read_pb2 as pb

from core.consistency import decode_token
from core.errors import (
    FanfareError,
    FollowNotFoundError,
    InvalidRequestError,
    TweetNotFoundError,
    UserNotFoundError,
    to_status,
)
from core.messages import timestamp
from core.server import Context
from read_service.home import HomeTimelines
from read_service.pages import (
    FROM_THE_TOP,
    decode_page_token,
    encode_page_token,
    page_size,
)
from read_service.store import Store
from read_service.tweets import Tweets

MAX_BATCH_TWEETS = 2000
# How many timelines of one batch are read at a time.
BATCH_WIDTH = 16


class ReadService:
    """The queries. Requests have been validated against the contract before they come here."""

    def __init__(self, store: Store, tweets: Tweets, home: HomeTimelines) -> None:
        self._store = store
        self._tweets = tweets
        self._home = home

    async def GetUser(  # noqa: N802 - the contract's name, as for all below
        self, request: pb.GetUserRequest, _context: Context
    ) -> pb.GetUserResponse:
        """Return one user."""
        user = await self._store.user(request.user_id, _token(request))
        if user is None:
            raise UserNotFoundError(request.user_id)
        return pb.GetUserResponse(user=user)

    async def GetUserByUsername(  # noqa: N802
        self, request: pb.GetUserByUsernameRequest, _context: Context
    ) -> pb.GetUserByUsernameResponse:
        """Return the user of a name."""
        user = await self._store.user_by_username(request.username, _token(request))
        if user is None:
            raise UserNotFoundError(request.username)
        return pb.GetUserByUsernameResponse(user=user)

    async def BatchGetUsers(  # noqa: N802
        self, request: pb.BatchGetUsersRequest, _context: Context
    ) -> pb.BatchGetUsersResponse:
        """Return the users that exist."""
        ids = list(dict.fromkeys(request.user_ids))
        found = await self._store.users(ids, _token(request))
        return pb.BatchGetUsersResponse(users=[found[id_] for id_ in ids if id_ in found])

    async def ListUsers(  # noqa: N802
        self, request: pb.ListUsersRequest, _context: Context
    ) -> pb.ListUsersResponse:
        """Return a page of all users."""
        after = _position(request, "ListUsers", 0, top=0)
        limit = page_size(request.limit)
        users = await self._store.list_users(after, request.offset, limit + 1, _token(request))
        positions = [user.id for user in users]
        token = _next_token("ListUsers", 0, positions, limit)
        return pb.ListUsersResponse(users=users[:limit], next_page_token=token)

    async def GetTweet(  # noqa: N802
        self, request: pb.GetTweetRequest, _context: Context
    ) -> pb.GetTweetResponse:
        """Return one tweet."""
        found = await self._tweets.get([request.tweet_id], issued=False, token=_token(request))
        if request.tweet_id not in found:
            raise TweetNotFoundError(request.tweet_id)
        return pb.GetTweetResponse(tweet=found[request.tweet_id])

    async def BatchGetTweets(  # noqa: N802
        self, request: pb.BatchGetTweetsRequest, _context: Context
    ) -> pb.BatchGetTweetsResponse:
        """Return the tweets that exist."""
        ids = list(dict.fromkeys(request.tweet_ids))
        token = _token(request)
        found = await self._tweets.get(ids, issued=False, token=token) if ids else {}
        return pb.BatchGetTweetsResponse(tweets=[found[id_] for id_ in ids if id_ in found])

    async def GetFollow(  # noqa: N802
        self, request: pb.GetFollowRequest, _context: Context
    ) -> pb.GetFollowResponse:
        """Return since when one user has followed another."""
        since = await self._store.followed_since(
            request.follower_id, request.followed_id, _token(request)
        )
        if since is None:
            raise FollowNotFoundError(request.follower_id, request.followed_id)
        return pb.GetFollowResponse(created_at=timestamp(since))

    async def GetHomeTimeline(  # noqa: N802
        self, request: pb.GetHomeTimelineRequest, _context: Context
    ) -> pb.GetHomeTimelineResponse:
        """Return a page of a home timeline."""
        before = _position(request, "GetHomeTimeline", request.user_id)
        limit = page_size(request.limit)
        tweets, token = await self._home_page(
            request.user_id, before, request.offset, limit, _token(request)
        )
        return pb.GetHomeTimelineResponse(tweets=tweets, next_page_token=token)

    async def BatchGetHomeTimelines(  # noqa: N802
        self, request: pb.BatchGetHomeTimelinesRequest, _context: Context
    ) -> pb.BatchGetHomeTimelinesResponse:
        """Return the first pages of several home timelines, each of which may fail alone."""
        limit = page_size(request.limit)
        ids = list(dict.fromkeys(request.user_ids))
        if len(ids) * limit > MAX_BATCH_TWEETS:
            raise InvalidRequestError(
                [("limit", f"users times limit must be at most {MAX_BATCH_TWEETS} tweets")]
            )
        at = _token(request)
        width = asyncio.Semaphore(BATCH_WIDTH)

        async def read(user_id: int) -> pb.HomeTimeline:
            async with width:
                try:
                    tweets, token = await self._home_page(user_id, FROM_THE_TOP, 0, limit, at)
                except FanfareError as error:
                    return pb.HomeTimeline(user_id=user_id, error=to_status(error))
            return pb.HomeTimeline(user_id=user_id, tweets=tweets, next_page_token=token)

        return pb.BatchGetHomeTimelinesResponse(
            timelines=await asyncio.gather(*(read(user_id) for user_id in ids))
        )

    async def ListUserTweets(  # noqa: N802
        self, request: pb.ListUserTweetsRequest, _context: Context
    ) -> pb.ListUserTweetsResponse:
        """Return a page of a user's own tweets."""
        before = _position(request, "ListUserTweets", request.user_id)
        limit = page_size(request.limit)
        at = _token(request)
        tweets = await self._store.user_tweets(
            request.user_id, before, request.offset, limit + 1, at
        )
        if not tweets:
            await self._check_user(request.user_id, at)
        positions = [tweet.id for tweet in tweets]
        token = _next_token("ListUserTweets", request.user_id, positions, limit)
        return pb.ListUserTweetsResponse(tweets=tweets[:limit], next_page_token=token)

    async def ListFollowers(  # noqa: N802
        self, request: pb.ListFollowersRequest, _context: Context
    ) -> pb.ListFollowersResponse:
        """Return a page of a user's followers."""
        users, token = await self._edge_page(request, "ListFollowers", self._store.followers)
        return pb.ListFollowersResponse(users=users, next_page_token=token)

    async def ListFollowing(  # noqa: N802
        self, request: pb.ListFollowingRequest, _context: Context
    ) -> pb.ListFollowingResponse:
        """Return a page of those whom a user follows."""
        users, token = await self._edge_page(request, "ListFollowing", self._store.following)
        return pb.ListFollowingResponse(users=users, next_page_token=token)

    async def _edge_page(
        self,
        request: pb.ListFollowersRequest | pb.ListFollowingRequest,
        method: str,
        read: Callable[[int, int, int, int, int | None], Awaitable[list[tuple[User, int]]]],
    ) -> tuple[list[User], str]:
        """Return a page of the users at the other end of a user's follow edges, and its token."""
        before = _position(request, method, request.user_id)
        limit = page_size(request.limit)
        at = _token(request)
        rows = await read(request.user_id, before, request.offset, limit + 1, at)
        if not rows:
            await self._check_user(request.user_id, at)
        positions = [position for _, position in rows]
        token = _next_token(method, request.user_id, positions, limit)
        return [user for user, _ in rows[:limit]], token

    async def _home_page(
        self, user_id: int, before: int, offset: int, limit: int, at: int | None
    ) -> tuple[Sequence[Tweet], str]:
        # One more than the page holds tells whether there is a next page.
        tweets = await self._home.page(user_id, before, offset, limit + 1, at)
        positions = [tweet.id for tweet in tweets]
        token = _next_token("GetHomeTimeline", user_id, positions, limit)
        return tweets[:limit], token

    async def _check_user(self, user_id: int, token: int | None) -> None:
        if not await self._store.user_exists(user_id, token):
            raise UserNotFoundError(user_id)


class _Consistent(Protocol):
    consistency_token: str


class _Paged(Protocol):
    page_token: str


def _token(request: _Consistent) -> int | None:
    """Return the position that the answer must have, None if the request names none."""
    return decode_token(request.consistency_token)


def _position(request: _Paged, method: str, user_id: int, top: int = FROM_THE_TOP) -> int:
    """Return where a page begins: what its token says, else the top."""
    if not request.page_token:
        return top
    return decode_page_token(request.page_token, method, user_id)


def _next_token(method: str, user_id: int, positions: Sequence[int], limit: int) -> str:
    """Return the token of the next page; "" if what was read does not go past this one."""
    if len(positions) <= limit:
        return ""
    return encode_page_token(method, user_id, positions[limit - 1])
