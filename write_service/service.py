"""The WriteService: each method of the contract, by way of the store."""

from __future__ import annotations

import asyncio
import time

from fanfare.common.v1.common_pb2 import Tweet
from fanfare.write.v1 import write_pb2 as pb

from core.auth.call_context import Context
from core.errors import FanfareError, InvalidRequestError, to_status
from core.feed.consistency_tokens import encode_token
from core.rpc.validation import violations
from write_service.group_commit import GroupCommit
from write_service.passwords import Passwords
from write_service.store import Store
from write_service.tweets import Draft, draft, normalise_content

TURN_SECONDS = 0.01


class WriteService:
    """The commands. Requests have been validated against the contract before they come here."""

    def __init__(self, store: Store, tweets: GroupCommit, passwords: Passwords) -> None:
        self._store = store
        self._tweets = tweets
        self._passwords = passwords

    async def CreateUser(  # noqa: N802 - the contract's name, as for all below
        self, request: pb.CreateUserRequest, _context: Context
    ) -> pb.CreateUserResponse:
        """Create a user."""
        password_hash = await self._passwords.hash(request.password)
        user, moment = await self._store.create_user(
            request.username, request.email, password_hash, request.bio
        )
        return pb.CreateUserResponse(user=user, consistency_token=encode_token(moment))

    async def UpdateUser(  # noqa: N802
        self, request: pb.UpdateUserRequest, _context: Context
    ) -> pb.UpdateUserResponse:
        """Change the fields that are set."""
        user, moment = await self._store.update_user(
            request.user_id,
            request.username if request.HasField("username") else None,
            request.email if request.HasField("email") else None,
            await self._passwords.hash(request.password) if request.HasField("password") else None,
            request.bio if request.HasField("bio") else None,
        )
        return pb.UpdateUserResponse(user=user, consistency_token=encode_token(moment))

    async def DeleteUser(  # noqa: N802
        self, request: pb.DeleteUserRequest, _context: Context
    ) -> pb.DeleteUserResponse:
        """Delete a user and all that is theirs."""
        _, moment = await self._store.delete_user(request.user_id)
        return pb.DeleteUserResponse(consistency_token=encode_token(moment))

    async def CreateTweet(  # noqa: N802
        self, request: pb.CreateTweetRequest, _context: Context
    ) -> pb.CreateTweetResponse:
        """Create a tweet, in a transaction with those that arrive together with it."""
        (result,), moment = await self._tweets.submit([draft(request)])
        if isinstance(result, FanfareError):
            raise result
        token = encode_token(moment or await self._store.committed())
        return pb.CreateTweetResponse(tweet=result, consistency_token=token)

    async def BatchCreateTweets(  # noqa: N802
        self, request: pb.BatchCreateTweetsRequest, _context: Context
    ) -> pb.BatchCreateTweetsResponse:
        """Create tweets, each of which stands or falls alone."""
        checked = []
        begun = time.monotonic()
        for item in request.requests:
            checked.append(_checked_draft(item))
            # A thousand items that are hard to check must not keep all others waiting.
            if time.monotonic() - begun > TURN_SECONDS:
                await asyncio.sleep(0)
                begun = time.monotonic()
        created, moment = await self._tweets.submit(
            [item for item in checked if isinstance(item, Draft)]
        )
        left = iter(created)
        results = [next(left) if isinstance(item, Draft) else item for item in checked]
        return pb.BatchCreateTweetsResponse(
            results=[_batch_result(result) for result in results],
            consistency_token=encode_token(moment or await self._store.committed()),
        )

    async def UpdateTweet(  # noqa: N802
        self, request: pb.UpdateTweetRequest, _context: Context
    ) -> pb.UpdateTweetResponse:
        """Replace a tweet's content."""
        content = normalise_content(request.content)
        tweet, moment = await self._store.update_tweet(request.tweet_id, content)
        return pb.UpdateTweetResponse(tweet=tweet, consistency_token=encode_token(moment))

    async def DeleteTweet(  # noqa: N802
        self, request: pb.DeleteTweetRequest, _context: Context
    ) -> pb.DeleteTweetResponse:
        """Delete a tweet."""
        _, moment = await self._store.delete_tweet(request.tweet_id)
        return pb.DeleteTweetResponse(consistency_token=encode_token(moment))

    async def FollowUser(  # noqa: N802
        self, request: pb.FollowUserRequest, _context: Context
    ) -> pb.FollowUserResponse:
        """Make one user follow another."""
        _, moment = await self._store.follow(request.follower_id, request.followed_id)
        return pb.FollowUserResponse(consistency_token=encode_token(moment))

    async def UnfollowUser(  # noqa: N802
        self, request: pb.UnfollowUserRequest, _context: Context
    ) -> pb.UnfollowUserResponse:
        """End a follow."""
        _, moment = await self._store.unfollow(request.follower_id, request.followed_id)
        return pb.UnfollowUserResponse(consistency_token=encode_token(moment))


def _checked_draft(request: pb.CreateTweetRequest) -> Draft | InvalidRequestError:
    if found := violations(request):
        return InvalidRequestError(found)
    try:
        return draft(request)
    except InvalidRequestError as error:
        return error


def _batch_result(result: Tweet | FanfareError) -> pb.BatchCreateTweetsResult:
    if isinstance(result, FanfareError):
        return pb.BatchCreateTweetsResult(error=to_status(result))
    return pb.BatchCreateTweetsResult(tweet=result)
