"""The gRPC ReadService."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
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
)
from core.feed.consistency_tokens import decode_token
from core.rpc.error_status import to_status
from core.rpc.json_answer import JsonAnswer
from core.rpc.messages import delimited, field_tag, timestamp
from read_service.answers import HomePageAnswer, page_tags, serialised_page
from read_service.freshness import ANY, Freshness, TokenFreshness
from read_service.home_timelines import HomeTimelines
from read_service.local_tweet_cache import LocalTweetCache
from read_service.pages import (
    FROM_THE_TOP,
    decode_page_token,
    encode_page_token,
    page_size,
)
from read_service.protocols import TweetPage
from read_service.store import FollowEdge, PostgresStore
from read_service.tweets import TweetReader
from read_service.watches import Watches

MAX_BATCH_TWEETS = 2000

# Answers with tweets are assembled from these tags and from serialised tweets, without parsing.
_TWEET = field_tag(pb.GetTweetResponse.TWEET_FIELD_NUMBER)
_TWEETS = field_tag(pb.BatchGetTweetsResponse.TWEETS_FIELD_NUMBER)
_TIMELINES = field_tag(pb.BatchGetHomeTimelinesResponse.TIMELINES_FIELD_NUMBER)
_HOME_TIMELINE, _USER_PAGE = map(page_tags, (pb.HomeTimeline, pb.ListUserTweetsResponse))


class ReadService:
    """The queries. Requests have already been validated against the rules in the protos."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        store: PostgresStore,
        tweets: TweetReader,
        home: HomeTimelines,
        local: LocalTweetCache,
        watches: Watches,
        *,
        knows_callers: bool,
    ) -> None:
        """Take the collaborators.

        Args:
            store: reads Postgres.
            tweets: reads tweets.
            home: reads home timelines.
            local: prints tweets as JSON.
            watches: watches home timelines.
            knows_callers: whether the access rules are enforced.
        """
        self._store = store
        self._knows_callers = knows_callers
        self._tweets = tweets
        self._home = home
        self._local = local
        self._watches = watches

    async def GetUser(  # noqa: N802 - the contract's name, as for all below
        self, request: pb.GetUserRequest, _context: Context
    ) -> pb.GetUserResponse:
        """Return one user."""
        user = await self._store.user(request.user_id, _freshness(request))
        if user is None:
            raise UserNotFoundError(request.user_id)
        return pb.GetUserResponse(user=user)

    async def GetAccount(  # noqa: N802
        self, request: pb.GetAccountRequest, _context: Context
    ) -> pb.GetAccountResponse:
        """Return the account of the caller."""
        if not self._knows_callers:
            raise AuthenticationOffError
        account = await self._store.account(request.user_id, _freshness(request))
        if account is None:
            raise UserNotFoundError(request.user_id)
        return pb.GetAccountResponse(user=account.user, email=account.email)

    async def GetUserByUsername(  # noqa: N802
        self, request: pb.GetUserByUsernameRequest, _context: Context
    ) -> pb.GetUserByUsernameResponse:
        """Return the user with a name."""
        user = await self._store.user_by_username(request.username, _freshness(request))
        if user is None:
            raise UserNotFoundError(request.username)
        return pb.GetUserByUsernameResponse(user=user)

    async def BatchGetUsers(  # noqa: N802
        self, request: pb.BatchGetUsersRequest, _context: Context
    ) -> pb.BatchGetUsersResponse:
        """Return those of the users that exist."""
        ids = list(dict.fromkeys(request.user_ids))
        found = await self._store.users(ids, _freshness(request))
        return pb.BatchGetUsersResponse(users=[found[id_] for id_ in ids if id_ in found])

    async def ListUsers(  # noqa: N802
        self, request: pb.ListUsersRequest, _context: Context
    ) -> pb.ListUsersResponse:
        """Return a page of all users."""
        after = _position(request, "ListUsers", 0, top=0)
        limit = page_size(request.limit)
        users = await self._store.list_users(after, request.offset, limit + 1, _freshness(request))
        positions = [user.id for user in users]
        token = _next_token("ListUsers", 0, positions, limit)
        return pb.ListUsersResponse(users=users[:limit], next_page_token=token)

    async def GetTweet(  # noqa: N802
        self, request: pb.GetTweetRequest, _context: Context
    ) -> bytes:
        """Return one tweet."""
        found = await self._tweets.tweets([request.tweet_id], _freshness(request))
        if request.tweet_id not in found:
            raise TweetNotFoundError(request.tweet_id)
        return _TWEET + found[request.tweet_id]

    async def BatchGetTweets(  # noqa: N802
        self, request: pb.BatchGetTweetsRequest, _context: Context
    ) -> bytes:
        """Return those of the tweets that exist."""
        ids = list(dict.fromkeys(request.tweet_ids))
        freshness = _freshness(request)
        found = await self._tweets.tweets(ids, freshness) if ids else {}
        return b"".join(_TWEETS + found[id_] for id_ in ids if id_ in found)

    async def GetFollow(  # noqa: N802
        self, request: pb.GetFollowRequest, _context: Context
    ) -> pb.GetFollowResponse:
        """Return since when one user has followed another."""
        since = await self._store.followed_since(
            request.follower_id, request.followed_id, _freshness(request)
        )
        if since is None:
            raise FollowNotFoundError(request.follower_id, request.followed_id)
        return pb.GetFollowResponse(created_at=timestamp(since))

    async def GetHomeTimeline(  # noqa: N802
        self, request: pb.GetHomeTimelineRequest, _context: Context
    ) -> JsonAnswer:
        """Return a page of a home timeline."""
        before = _position(request, "GetHomeTimeline", request.user_id)
        limit = page_size(request.limit)
        # One tweet more than the page holds tells whether there is a next page.
        page = await self._home.page(
            request.user_id, before, request.offset, limit + 1, _freshness(request)
        )
        if page.answer is None:
            token = _next_token("GetHomeTimeline", request.user_id, page.ids, limit)
            tweets = page.tweets[:limit]
            page.answer = HomePageAnswer(page.ids[:limit], tweets, token, self._local)
        return page.answer

    async def BatchGetHomeTimelines(  # noqa: N802
        self, request: pb.BatchGetHomeTimelinesRequest, _context: Context
    ) -> bytes:
        """Return the first pages of several home timelines, each of which may fail by itself."""
        limit = page_size(request.limit)
        ids = list(dict.fromkeys(request.user_ids))
        if len(ids) * limit > MAX_BATCH_TWEETS:
            raise InvalidRequestError(
                [("limit", f"users times limit must be at most {MAX_BATCH_TWEETS} tweets")]
            )
        pages = await self._home.first_pages(ids, limit + 1, _freshness(request))
        return b"".join(
            _timeline(user_id, page, limit) for user_id, page in zip(ids, pages, strict=True)
        )

    async def ListUserTweets(  # noqa: N802
        self, request: pb.ListUserTweetsRequest, _context: Context
    ) -> bytes:
        """Return a page of a user's own tweets."""
        before = _position(request, "ListUserTweets", request.user_id)
        limit = page_size(request.limit)
        freshness = _freshness(request)
        page = await self._store.user_tweets(
            request.user_id, before, request.offset, limit + 1, freshness
        )
        if not page.ids:
            await self._check_user(request.user_id, freshness)
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
        """Return a page of the users that a user follows."""
        users, token = await self._edge_page(request, "ListFollowing", self._store.following)
        return pb.ListFollowingResponse(users=users, next_page_token=token)

    def WatchHomeTimeline(  # noqa: N802
        self, request: pb.WatchHomeTimelineRequest, _context: Context
    ) -> AsyncGenerator[bytes, None]:
        """Yield the events of a watch."""
        limit = page_size(request.limit)
        return self._watches.watch(
            request.user_id, limit, request.resume_token, _freshness(request)
        )

    async def _edge_page(
        self,
        request: pb.ListFollowersRequest | pb.ListFollowingRequest,
        method: str,
        read: Callable[[int, int, int, int, Freshness], Awaitable[list[FollowEdge]]],
    ) -> tuple[list[User], str]:
        """Return a page of the users at the other ends of the edges, and the next page token."""
        before = _position(request, method, request.user_id)
        limit = page_size(request.limit)
        freshness = _freshness(request)
        edges = await read(request.user_id, before, request.offset, limit + 1, freshness)
        if not edges:
            await self._check_user(request.user_id, freshness)
        token = _next_token(method, request.user_id, [edge.seq for edge in edges], limit)
        return [edge.user for edge in edges[:limit]], token

    async def _check_user(self, user_id: int, freshness: Freshness) -> None:
        if not await self._store.user_exists(user_id, freshness):
            raise UserNotFoundError(user_id)


def _timeline(user_id: int, page: TweetPage | FanfareError, limit: int) -> bytes:
    """Return the field of a batch that holds the HomeTimeline with the page, or with the error."""
    if isinstance(page, FanfareError):
        failed = pb.HomeTimeline(user_id=user_id, error=to_status(page)).SerializeToString()
        return _TIMELINES + delimited(failed)
    if page.batch_field is None:
        user = pb.HomeTimeline(user_id=user_id).SerializeToString()
        tweets = _tweet_page(_HOME_TIMELINE, page, "GetHomeTimeline", user_id, limit)
        page.batch_field = _TIMELINES + delimited(user + tweets)
    return page.batch_field


def _tweet_page(
    tags: tuple[bytes, bytes], page: TweetPage, method: str, user_id: int, limit: int
) -> bytes:
    """Return the fields of a serialised message that hold tweets and next_page_token.

    Args:
        tags: the field tags of a tweet and of next_page_token.
        page: the tweets; one more than limit if there is a next page.
        method: the RPC that returns the page; no other RPC accepts the token.
        user_id: whose page it is; the token is refused for any other user.
        limit: how many tweets the page may have.
    """
    token = _next_token(method, user_id, page.ids, limit)
    return serialised_page(tags, page.tweets[:limit], token)


class _Consistent(Protocol):
    consistency_token: str


class _Paged(Protocol):
    page_token: str


def _freshness(request: _Consistent) -> Freshness:
    """Return the freshness that the request's consistency token requires."""
    moment = decode_token(request.consistency_token)
    return ANY if moment is None else TokenFreshness(moment)


def _position(request: _Paged, method: str, user_id: int, top: int = FROM_THE_TOP) -> int:
    """Return the position after which a page begins: from its page token, or the top."""
    if not request.page_token:
        return top
    return decode_page_token(request.page_token, method, user_id)


def _next_token(method: str, user_id: int, positions: Sequence[int], limit: int) -> str:
    """Return the page token of the next page; an empty one if there is no next page."""
    if len(positions) <= limit:
        return ""
    return encode_page_token(method, user_id, positions[limit - 1])
