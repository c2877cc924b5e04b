"""Creating tweets: the transaction of CreateTweet and BatchCreateTweets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fanfare.common.v1.common_pb2 import Tweet
from psycopg.rows import class_row

from core.errors import FanfareError, UserNotFoundError
from core.rpc import messages
from core.runtime.metrics import METRICS, Metric
from core.storage.postgres import Connection
from core.storage.queries import load_queries
from write_service import events
from write_service.drafts import TweetDraft
from write_service.follower_counts import FollowerCounts
from write_service.idempotency import claim_request_ids

SQL = load_queries("write_service")


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
    becomes_pulled: bool
    """Whether this transaction makes them one, since they have too many followers to push to."""


class TweetCreator:
    """Creates tweets in the caller's transaction, and decides who becomes a pull author."""

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
    ) -> list[Tweet | FanfareError]:
        """Insert tweets, with their events and the claims of their request_ids.

        Args:
            connection: must be in a transaction.
            drafts: the tweets to create.

        Returns:
            For each draft, in order, the tweet or the reason why it was not created.
        """
        locked, authors = await self._lock_authors(connection, drafts)
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
            else UserNotFoundError(draft.user_id)
            for draft, tweet_id in zip(drafts, locked.tweet_ids, strict=True)
        ]
        retries = await claim_request_ids(connection, drafts, results, locked.created_at)
        new_tweets = [
            result
            for index, result in enumerate(results)
            if isinstance(result, Tweet) and index not in retries
        ]
        for index, answer in retries.items():
            results[index] = answer
        if new_tweets:
            await _insert_tweets(connection, new_tweets, authors, locked.created_at)
        METRICS.add(Metric.REQUEST_REPEATED, len(retries))
        return results

    async def _lock_authors(
        self, connection: Connection, drafts: Sequence[TweetDraft]
    ) -> tuple[_LockedAuthors, dict[int, _Author]]:
        """Lock the authors of the drafts against deletion, and draw an id for each draft."""
        user_ids = list({draft.user_id for draft in drafts})
        follows_drawn = self.follows_drawn
        cursor = connection.cursor(binary=True, row_factory=class_row(_LockedAuthors))
        await cursor.execute(
            SQL["lock_authors"],
            {
                "user_ids": user_ids,
                "follower_bounds": self._follower_counts.bounds(user_ids),
                "pull_followers": self._pull_followers,
                "count": len(drafts),
            },
        )
        (locked,) = await cursor.fetchall()
        known = locked.user_ids or []
        counts = dict(zip(known, locked.follower_counts or (), strict=True))
        self._follower_counts.remember(
            {user_id: count for user_id, count in counts.items() if count is not None},
            follows_drawn,
        )
        return locked, {
            user_id: _Author(pulled, (counts[user_id] or 0) > self._pull_followers)
            for user_id, pulled in zip(known, locked.pulled or (), strict=True)
        }


async def _insert_tweets(
    connection: Connection,
    tweets: Sequence[Tweet],
    authors: Mapping[int, _Author],
    created_at: datetime,
) -> None:
    """Insert tweets with their events, and mark authors who become pull authors."""
    becoming_pulled = {tweet.user_id for tweet in tweets if authors[tweet.user_id].becomes_pulled}
    if becoming_pulled:
        await connection.execute(SQL["pull_authors"], {"user_ids": list(becoming_pulled)})
        METRICS.add(Metric.AUTHOR_CROSSED, len(becoming_pulled))
    payloads = []
    for tweet in tweets:
        author = authors[tweet.user_id]
        event = events.tweet_created(
            tweet,
            pulled=author.pulled or author.becomes_pulled,
            became_pulled=author.becomes_pulled,
        )
        payloads.append(event.payload)
    await connection.execute(
        SQL["insert_tweets_and_events"],
        {
            "ids": [tweet.id for tweet in tweets],
            "user_ids": [tweet.user_id for tweet in tweets],
            "contents": [tweet.content for tweet in tweets],
            "payloads": payloads,
            "type": events.TWEET_CREATED,
            "created_at": created_at,
        },
    )
