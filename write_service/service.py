"""The gRPC WriteService."""

from __future__ import annotations

import asyncio
import time

from fanfare.common.v1.common_pb2 import Tweet
from fanfare.write.v1 import write_pb2 as pb

from core.auth.call_context import Context
from core.errors import FanfareError, InvalidRequestError
from core.feed.consistency_tokens import encode_token
from core.rpc.error_status import to_status
from core.rpc.validation import violations
from core.runtime.tracing import child_span
from write_service.account_security import AccountSecurity, changes_credentials
from write_service.drafts import TweetDraft, normalise_content, parse_draft
from write_service.group_commit import GroupCommit
from write_service.password_queue import Kind
from write_service.passwords import Passwords
from write_service.store import CommandStore, UserChanges
from write_service.usernames import refuse_reserved

# How long the validation of batches may hold the event loop before other calls get a turn.
TURN_SECONDS = 0.005


class WriteService:
    """The commands. Requests have already been validated, except the items of a batch."""

    def __init__(
        self,
        store: CommandStore,
        tweets: GroupCommit,
        passwords: Passwords,
        security: AccountSecurity | None,
    ) -> None:
        """Take the collaborators.

        Args:
            store: runs all commands but the creation of tweets.
            tweets: creates tweets.
            passwords: hashes passwords.
            security: protects accounts; None where authentication is off.
        """
        self._store = store
        self._tweets = tweets
        self._passwords = passwords
        self._security = security
        # One batch at a time is validated, so that many batches hold the event loop no longer than
        # one does.
        self._validating = asyncio.Lock()

    async def CreateUser(  # noqa: N802 - the contract's name, as for all below
        self, request: pb.CreateUserRequest, _context: Context
    ) -> pb.CreateUserResponse:
        """Create a user."""
        refuse_reserved(request.username)
        if self._security is not None:
            self._security.check_new_password(request.password)
        password_hash = await self._passwords.hash(request.password, Kind.SIGN_UP)
        user, moment = await self._store.create_user(
            request.username, request.email, password_hash, request.bio
        )
        return pb.CreateUserResponse(user=user, consistency_token=encode_token(moment))

    async def UpdateUser(  # noqa: N802
        self, request: pb.UpdateUserRequest, context: Context
    ) -> pb.UpdateUserResponse:
        """Change the fields of a user that the request sets."""
        if request.HasField("username"):
            refuse_reserved(request.username)
        token_epoch = None
        if self._security is not None:
            await self._security.before_update(request, context)
            if changes_credentials(request):
                token_epoch = context.caller.epoch
        changes = UserChanges(
            username=request.username if request.HasField("username") else None,
            email=request.email if request.HasField("email") else None,
            password_hash=(
                await self._passwords.hash(request.password, Kind.CHANGE)
                if request.HasField("password")
                else None
            ),
            bio=request.bio if request.HasField("bio") else None,
        )
        user, moment = await self._store.update_user(request.user_id, changes, token_epoch)
        if self._security is not None:
            await self._security.after_update(request, context)
        return pb.UpdateUserResponse(user=user, consistency_token=encode_token(moment))

    async def DeleteUser(  # noqa: N802
        self, request: pb.DeleteUserRequest, context: Context
    ) -> pb.DeleteUserResponse:
        """Delete a user with all their tweets and follows."""
        _, moment = await self._store.delete_user(request.user_id)
        if self._security is not None:
            await self._security.after_deletion(request.user_id, context)
        return pb.DeleteUserResponse(consistency_token=encode_token(moment))

    async def CreateTweet(  # noqa: N802
        self, request: pb.CreateTweetRequest, _context: Context
    ) -> pb.CreateTweetResponse:
        """Create a tweet, in a group commit."""
        with child_span("commit"):
            (result,), moment = await self._tweets.submit([parse_draft(request)])
        if isinstance(result, FanfareError):
            raise result
        token = encode_token(moment or await self._store.committed())
        return pb.CreateTweetResponse(tweet=result, consistency_token=token)

    async def BatchCreateTweets(  # noqa: N802
        self, request: pb.BatchCreateTweetsRequest, _context: Context
    ) -> pb.BatchCreateTweetsResponse:
        """Create tweets, each of which succeeds or fails independently of the others."""
        with child_span("commit"):
            async with self._validating:
                parsed = await _parse_items(request)
            created, moment = await self._tweets.submit(
                [item for item in parsed if isinstance(item, TweetDraft)]
            )
        remaining = iter(created)
        results = [next(remaining) if isinstance(item, TweetDraft) else item for item in parsed]
        return pb.BatchCreateTweetsResponse(
            results=[_batch_result(result) for result in results],
            consistency_token=encode_token(moment or await self._store.committed()),
        )

    async def UpdateTweet(  # noqa: N802
        self, request: pb.UpdateTweetRequest, _context: Context
    ) -> pb.UpdateTweetResponse:
        """Replace the content of a tweet."""
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
        """Have one user follow another."""
        _, moment = await self._store.follow(request.follower_id, request.followed_id)
        return pb.FollowUserResponse(consistency_token=encode_token(moment))

    async def UnfollowUser(  # noqa: N802
        self, request: pb.UnfollowUserRequest, _context: Context
    ) -> pb.UnfollowUserResponse:
        """End a follow."""
        _, moment = await self._store.unfollow(request.follower_id, request.followed_id)
        return pb.UnfollowUserResponse(consistency_token=encode_token(moment))


async def _parse_items(
    request: pb.BatchCreateTweetsRequest,
) -> list[TweetDraft | InvalidRequestError]:
    """Return for each item of a batch the draft, or what is wrong with it."""
    parsed = []
    turn_began = time.monotonic()
    for item in request.requests:
        parsed.append(_parse_item(item))
        # A thousand items that are slow to validate must not delay all other calls.
        if time.monotonic() - turn_began > TURN_SECONDS:
            await asyncio.sleep(0)
            turn_began = time.monotonic()
    return parsed


def _parse_item(request: pb.CreateTweetRequest) -> TweetDraft | InvalidRequestError:
    """Return the draft of an item of a batch, or what is wrong with it."""
    if found := violations(request):
        return InvalidRequestError(found)
    try:
        return parse_draft(request)
    except InvalidRequestError as error:
        return error


def _batch_result(result: Tweet | FanfareError) -> pb.BatchCreateTweetsResult:
    if isinstance(result, FanfareError):
        return pb.BatchCreateTweetsResult(error=to_status(result))
    return pb.BatchCreateTweetsResult(tweet=result)
