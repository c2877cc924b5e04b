"""Idempotency of CreateTweet: a retry with the same request_id gets the first answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from fanfare.common.v1.common_pb2 import Tweet
from psycopg.errors import LockNotAvailable
from psycopg.rows import class_row, scalar_row

from core.errors import DatabaseUnavailableError, FanfareError, RequestIdReusedError
from core.rpc import messages
from core.storage.postgres import Connection
from core.storage.queries import load_queries
from write_service.drafts import TweetDraft
from write_service.rollbacks import RequestIdLockedError

SQL = load_queries("write_service")


_Key = tuple[int, UUID]
"""A user and a request_id of theirs."""


@dataclass
class Claim:
    """A row of tweet_requests: a request_id and the tweet that it was first used for."""

    user_id: int
    request_id: UUID
    content_sha256: bytes
    tweet_id: int
    created_at: datetime


async def claim_request_ids(
    connection: Connection,
    drafts: Sequence[TweetDraft],
    results: Sequence[Tweet | FanfareError],
    created_at: datetime,
) -> dict[int, Tweet | FanfareError]:
    """Claim the request_ids of tweets that are about to be created.

    Args:
        connection: must be in the transaction that creates the tweets.
        drafts: a group of drafts.
        results: for each draft the tweet that is about to be created, or why it cannot be.
        created_at: the creation time of these tweets.

    Returns:
        The answers to retries, by the index of the draft; these tweets must not be created.

    Raises:
        DatabaseUnavailableError: a claim was purged meanwhile; the client's retry will succeed.
        RequestIdLockedError: another transaction has claimed one of them and has not ended.
    """
    keys = {
        index: (draft.user_id, draft.request_id)
        for index, draft in enumerate(drafts)
        if draft.request_id is not None and isinstance(results[index], Tweet)
    }
    if not keys:
        return {}
    first_index = {key: index for index, key in reversed(keys.items())}
    tweets = [result for i in first_index.values() if isinstance(result := results[i], Tweet)]
    request_ids = {
        "user_ids": [user_id for user_id, _ in first_index],
        "request_ids": [request_id for _, request_id in first_index],
    }
    # In a pipeline, a statement is sent without waiting for the result of the previous one, unless
    # it needs that result.
    async with connection.pipeline():
        # A client may repeat a request while a stalled process still holds the first claim.
        await connection.execute(SQL["limit_lock_wait"])
        inserted = connection.cursor(row_factory=scalar_row)
        await inserted.execute(
            SQL["claim_request_ids"],
            request_ids
            | {
                "digests": [drafts[index].sha256 for index in first_index.values()],
                "tweet_ids": [tweet.id for tweet in tweets],
                "created_at": created_at,
            },
        )
        await connection.execute(SQL["lift_lock_wait"])
        try:
            claimed_now = set(await inserted.fetchall())
        except LockNotAvailable as error:
            raise RequestIdLockedError from error
        # A second statement: its snapshot includes the claims that the first one waited for.
        rows = connection.cursor(row_factory=class_row(Claim))
        await rows.execute(SQL["claims_of_request_ids"], request_ids)
        claims = {(claim.user_id, claim.request_id): claim for claim in await rows.fetchall()}
    return answer_retries(drafts, keys, claims, claimed_now)


def answer_retries(
    drafts: Sequence[TweetDraft],
    keys: Mapping[int, _Key],
    claims: Mapping[_Key, Claim],
    claimed_now: set[int],
) -> dict[int, Tweet | FanfareError]:
    """Return the answers to those drafts that repeat an earlier one, by their index.

    The answer is the tweet that the request_id was first used for, or RequestIdReusedError if the
    draft has another content than that tweet.

    Args:
        drafts: a group of drafts.
        keys: the user and request_id of each draft that has one, by ascending index.
        claims: the first use of each of these request_ids.
        claimed_now: the ids of the tweets for which this transaction claimed a request_id.

    Raises:
        DatabaseUnavailableError: a claim was purged while it was looked up, so its request_id is
            free now.
    """
    answers: dict[int, Tweet | FanfareError] = {}
    seen: set[_Key] = set()
    for index, key in keys.items():
        if (claim := claims.get(key)) is None:
            raise DatabaseUnavailableError
        is_first_use = key not in seen and claim.tweet_id in claimed_now
        seen.add(key)
        if is_first_use:
            continue
        draft = drafts[index]
        answers[index] = (
            messages.tweet(
                claim.tweet_id, draft.user_id, draft.content, claim.created_at, claim.created_at
            )
            if draft.sha256 == claim.content_sha256
            else RequestIdReusedError()
        )
    return answers
