"""Creating tweets: the transaction of CreateTweet and BatchCreateTweets."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fanfare.common.v1.common_pb2 import Tweet
from psycopg.pq.abc import PGresult
from psycopg.rows import scalar_row

from core.errors import FanfareError, UserBusyError, UserNotFoundError
from core.rpc import messages
from core.runtime.metrics import METRICS, Metric
from core.storage.postgres import Connection
from core.storage.queries import load_queries
from core.storage.round_trips import (
    RoundTrip,
    Statement,
    bigint,
    bigints,
    byteas,
    check,
    only_row,
    texts,
    timestamptz,
)
from write_service import events
from write_service.committed import add_begin_history, add_commit
from write_service.drafts import TweetDraft
from write_service.follower_counts import FollowerCounts
from write_service.idempotency import claim_request_ids
from write_service.rollbacks import rolled_back_on_error
from write_service.user_locks import existing_users

SQL = load_queries("write_service")
_BEGIN = Statement("begin", "BEGIN")
_USE_GENERIC_PLANS = Statement("use_generic_plans", SQL["use_generic_plans"])
_LOCK_AUTHORS = Statement("lock_authors", SQL["lock_authors"])
_INSERT = Statement("insert_tweets_and_events", SQL["insert_tweets_and_events"])


@dataclass(frozen=True)
class _LockedAuthors:
    """The row of lock_authors: the locked authors, and ids and a time for the new tweets."""

    user_ids: list[int] | None
    """The authors who exist. If there are none, this list and the next two are None."""
    pulled: list[bool] | None
    """For each of them, whether they were a pull author before."""
    follower_counts: list[int | None] | None
    """For each of them, how many followers were counted; None if none had to be."""
    tweet_ids: list[int]
    created_at: datetime


@dataclass(frozen=True)
class _Author:
    """How an author's tweets reach timelines."""

    pulled: bool
    """Whether they were a pull author before this transaction."""
    crosses: bool
    """Whether they are about to become one, since they have too many followers to push to."""


class TweetCreator:
    """Creates tweets, and decides who becomes a pull author.

    A transaction makes two round trips to Postgres: one locks the authors and draws the ids, and
    one inserts, commits, and reads the LSN for the consistency tokens.
    """

    def __init__(self, pull_followers: int) -> None:
        """Start without any follower counts.

        Args:
            pull_followers: an author with more followers becomes a pull author; 0 turns that off.
        """
        self._pull_followers = pull_followers
        self._follower_counts = FollowerCounts()
        self.follows_drawn = 0
        """A number that the sequence of follows has reached; later follows draw higher ones."""

    async def create(
        self, connection: Connection, drafts: Sequence[TweetDraft]
    ) -> tuple[list[Tweet | FanfareError], PGresult]:
        """Insert tweets, with their events and the claims of their request_ids, and commit.

        Args:
            connection: must not be in a transaction.
            drafts: the tweets to create.

        Returns:
            For each draft, in order, the tweet or the reason why it was not created; and the result
            of the statement after the commit, for committed_state().

        Raises:
            psycopg.Error: the transaction was rolled back, unless the connection broke.
        """
        async with rolled_back_on_error(connection):
            locked, authors, busy = await self._lock_authors(connection, drafts)
            created_at = messages.timestamp(locked.created_at)
            results: list[Tweet | FanfareError] = [
                Tweet(
                    id=tweet_id,
                    user_id=draft.user_id,
                    content=draft.content,
                    created_at=created_at,
                    updated_at=created_at,
                )
                if draft.user_id in authors
                else _missing(draft.user_id, busy)
                for draft, tweet_id in zip(drafts, locked.tweet_ids, strict=True)
            ]
            retries = await claim_request_ids(connection, drafts, results, locked.created_at)
            new_tweets = [
                (result, draft.traceparent)
                for index, (draft, result) in enumerate(zip(drafts, results, strict=True))
                if isinstance(result, Tweet) and index not in retries
            ]
            for index, answer in retries.items():
                results[index] = answer
            last = RoundTrip(connection)
            if new_tweets:
                await _add_insert(last, connection, new_tweets, authors, locked.created_at)
            else:
                add_begin_history(last)
            add_commit(last)
            *in_transaction, after_commit, _ = await last.run()
            for result in in_transaction:
                check(result)
        METRICS.add(Metric.REQUEST_REPEATED, len(retries))
        return results, after_commit

    async def _lock_authors(
        self, connection: Connection, drafts: Sequence[TweetDraft]
    ) -> tuple[_LockedAuthors, dict[int, _Author], set[int]]:
        """Begin a transaction, lock the authors against deletion, and draw an id for each draft.

        Returns:
            What was locked and drawn, the locked authors by id, and the ids of those authors who
            exist but whose rows another transaction has locked.
        """
        user_ids = list({draft.user_id for draft in drafts})
        follows_drawn = self.follows_drawn
        first = RoundTrip(connection)
        first.add(_BEGIN)
        first.add(_USE_GENERIC_PLANS)
        first.add(
            _LOCK_AUTHORS,
            bigints(user_ids),
            bigints(self._follower_counts.bounds(user_ids)),
            bigint(self._pull_followers),
            bigint(len(drafts)),
        )
        begun, set_plans, answer = await first.run()
        check(begun)
        check(set_plans)
        locked = only_row(connection, answer, _LockedAuthors)
        known = locked.user_ids or []
        counts = dict(zip(known, locked.follower_counts or (), strict=True))
        self._follower_counts.remember(
            {user_id: count for user_id, count in counts.items() if count is not None},
            follows_drawn,
        )
        authors = {
            user_id: _Author(pulled, (counts[user_id] or 0) > self._pull_followers)
            for user_id, pulled in zip(known, locked.pulled or (), strict=True)
        }
        missing = [user_id for user_id in user_ids if user_id not in authors]
        busy = await existing_users(connection, missing) if missing else set()
        return locked, authors, busy


def _missing(user_id: int, busy: Container[int]) -> FanfareError:
    """Return why an author could not be locked."""
    return UserBusyError(user_id) if user_id in busy else UserNotFoundError(user_id)


async def _add_insert(
    last: RoundTrip,
    connection: Connection,
    new_tweets: Sequence[tuple[Tweet, str | None]],
    authors: Mapping[int, _Author],
    created_at: datetime,
) -> None:
    """Add the insertion of tweets and their events; mark authors who become pull authors.

    Args:
        last: gets the statement.
        connection: is in the transaction.
        new_tweets: each with the traceparent of the call that creates it, if it is traced.
        authors: the authors of the tweets, by id.
        created_at: the creation time of the tweets.
    """
    tweets = [tweet for tweet, _ in new_tweets]
    traceparents = [traceparent or "" for _, traceparent in new_tweets]
    crossing = {tweet.user_id for tweet in tweets if authors[tweet.user_id].crosses}
    became_pulled = await _pull_authors(connection, list(crossing)) if crossing else set()
    payloads = []
    for tweet in tweets:
        author = authors[tweet.user_id]
        became = tweet.user_id in became_pulled
        event = events.tweet_created(tweet, pulled=author.pulled or became, became_pulled=became)
        payloads.append(event.payload)
    last.add(
        _INSERT,
        bigints([tweet.id for tweet in tweets]),
        bigints([tweet.user_id for tweet in tweets]),
        texts([tweet.content for tweet in tweets]),
        byteas(payloads),
        timestamptz(created_at),
        events.TWEET_CREATED.encode(),
        texts(traceparents if any(traceparents) else ()),
    )


async def _pull_authors(connection: Connection, user_ids: list[int]) -> set[int]:
    """Make users pull authors, and return those who became one with this transaction."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(SQL["pull_authors"], {"user_ids": user_ids})
    became_pulled = set(await cursor.fetchall())
    METRICS.add(Metric.AUTHOR_CROSSED, len(became_pulled))
    return became_pulled
