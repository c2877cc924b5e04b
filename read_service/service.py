"""The ReadService: each method of the contract, by way of Redis and the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from fanfare.common.v1.common_pb2 import User
from fanfare.read.v1 import read_pb2 as pb

from core.auth.call_context import Context
from core.errors import (
    AuthenticationOffError,
    FanfareError,
    FollowNotFoundError,
    InvalidRequestError,
    TweetNotFoundError,
    UserNotFoundError,
    to_status,
)
from core.feed.consistency_tokens import decode_token
from core.feed.history import Moment
from core.rpc.messages import delimited, field_tag, timestamp
from read_service.home import HomeTimelines
from read_service.pages import (
    FROM_THE_TOP,
    decode_page_token,
    encode_page_token,
    page_size,
)
from read_service.store import Item, Store
from read_service.tweets import Tweets

MAX_BATCH_TWEETS = 2000
# How many timelines of one batch are read at a time.
BATCH_WIDTH = 16

# A message of tweets is made of their bytes, as they are in Redis, and never parsed here.
_TWEET = field_tag(pb.GetTweetResponse.TWEET_FIELD_NUMBER)
_TWEETS = field_tag(pb.BatchGetTweetsResponse.TWEETS_FIELD_NUMBER)
_TIMELINES = field_tag(pb.BatchGetHomeTimelinesResponse.TIMELINES_FIELD_NUMBER)
_HOME_PAGE, _HOME_TIMELINE, _USER_PAGE = (
    (field_tag(message.TWEETS_FIELD_NUMBER), field_tag(message.NEXT_PAGE_TOKEN_FIELD_NUMBER))
    for message in (pb.GetHomeTimelineResponse, pb.HomeTimeline, pb.ListUserTweetsResponse)
)


class ReadService:
    """The queries. Requests have been validated against the contract before they come here."""

    def __init__(
        self, store: Store, tweets: Tweets, home: HomeTimelines, *, knows_callers: bool
    ) -> None:
        """Serve from these; knows_callers: whether the access rules are enforced."""
        self._store = store
        self._knows_callers = knows_callers
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

    async def GetAccount(  # noqa: N802
        self, request: pb.GetAccountRequest, _context: Context
    ) -> pb.GetAccountResponse:
        """Return one's own account."""
        if not self._knows_callers:
            raise AuthenticationOffError
        found = await self._store.account(request.user_id, _token(request))
        if found is None:
            raise UserNotFoundError(request.user_id)
        user, email = found
        return pb.GetAccountResponse(user=user, email=email)

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
    ) -> bytes:
        """Return one tweet."""
        found = await self._tweets.get([request.tweet_id], listed=False, token=_token(request))
        if request.tweet_id not in found:
            raise TweetNotFoundError(request.tweet_id)
        return _TWEET + found[request.tweet_id]

    async def BatchGetTweets(  # noqa: N802
        self, request: pb.BatchGetTweetsRequest, _context: Context
    ) -> bytes:
        """Return the tweets that exist."""
        ids = list(dict.fromkeys(request.tweet_ids))
        token = _token(request)
        found = await self._tweets.get(ids, listed=False, token=token) if ids else {}
        return b"".join(_TWEETS + found[id_] for id_ in ids if id_ in found)

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
    ) -> bytes:
        """Return a page of a home timeline."""
        limit = page_size(request.limit)
        if not (request.offset or request.page_token or request.consistency_token):
            (page,) = await self._home.first_pages([request.user_id], limit + 1)
            if page is not None:
                return _tweet_page(_HOME_PAGE, page, "GetHomeTimeline", request.user_id, limit)
        before = _position(request, "GetHomeTimeline", request.user_id)
        # One more than the page holds tells whether there is a next page.
        page = await self._home.page(
            request.user_id, before, request.offset, limit + 1, _token(request)
        )
        return _tweet_page(_HOME_PAGE, page, "GetHomeTimeline", request.user_id, limit)

    async def BatchGetHomeTimelines(  # noqa: N802
        self, request: pb.BatchGetHomeTimelinesRequest, _context: Context
    ) -> bytes:
        """Return the first pages of several home timelines, each of which may fail alone."""
        limit = page_size(request.limit)
        ids = list(dict.fromkeys(request.user_ids))
        if len(ids) * limit > MAX_BATCH_TWEETS:
            raise InvalidRequestError(
                [("limit", f"users times limit must be at most {MAX_BATCH_TWEETS} tweets")]
            )
        at = _token(request)
        pages: Sequence[Sequence[Item] | None] = [None] * len(ids)
        if at is None and ids:
            pages = await self._home.first_pages(ids, limit + 1)
        width = asyncio.Semaphore(BATCH_WIDTH)

        async def read(user_id: int) -> Sequence[Item] | FanfareError:
            async with width:
                try:
                    return await self._home.page(user_id, FROM_THE_TOP, 0, limit + 1, at)
                except FanfareError as error:
                    return error

        left = [user_id for user_id, page in zip(ids, pages, strict=True) if page is None]
        others = iter(await asyncio.gather(*map(read, left)))
        return b"".join(
            _TIMELINES
            + delimited(_timeline(user_id, next(others) if page is None else page, limit))
            for user_id, page in zip(ids, pages, strict=True)
        )

    async def ListUserTweets(  # noqa: N802
        self, request: pb.ListUserTweetsRequest, _context: Context
    ) -> bytes:
        """Return a page of a user's own tweets."""
        before = _position(request, "ListUserTweets", request.user_id)
        limit = page_size(request.limit)
        at = _token(request)
        page = await self._store.user_tweets(request.user_id, before, request.offset, limit + 1, at)
        if not page:
            await self._check_user(request.user_id, at)
        return _tweet_page(_USER_PAGE, page, "ListUserTweets", request.user_id, limit)

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
        read: Callable[[int, int, int, int, Moment | None], Awaitable[list[tuple[User, int]]]],
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

    async def _check_user(self, user_id: int, token: Moment | None) -> None:
        if not await self._store.user_exists(user_id, token):
            raise UserNotFoundError(user_id)


def _timeline(user_id: int, page: Sequence[Item] | FanfareError, limit: int) -> bytes:
    """Return the HomeTimeline of a page, or of why there is none."""
    if isinstance(page, FanfareError):
        return pb.HomeTimeline(user_id=user_id, error=to_status(page)).SerializeToString()
    user = pb.HomeTimeline(user_id=user_id).SerializeToString()
    return user + _tweet_page(_HOME_TIMELINE, page, "GetHomeTimeline", user_id, limit)


def _tweet_page(
    fields: tuple[bytes, bytes], page: Sequence[Item], method: str, user_id: int, limit: int
) -> bytes:
    """Return the tweets and next_page_token of a message in which they have these tags."""
    tweets_tag, token_tag = fields
    answer = b"".join([tweets_tag + tweet for _, tweet in page[:limit]])
    token = _next_token(method, user_id, [id_ for id_, _ in page], limit)
    return answer + token_tag + delimited(token.encode()) if token else answer


class _Consistent(Protocol):
    consistency_token: str


class _Paged(Protocol):
    page_token: str


def _token(request: _Consistent) -> Moment | None:
    """Return the moment that the answer must have reached, None if the request names none."""
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
