"""A batch of events as commands for Redis, transposed.

The events say tweet -> followers; Redis wants timeline -> tweets, one multi-id push for each
timeline whatever the number of tweets. The longer the backlog, the cheaper a delivery.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from core import bodies
from core.shards import SHARDS, shard_of
from core.timeline import timeline_key
from fanout_worker.records import Record
from fanout_worker.store import Followers

Command = tuple[bytes | str | int, ...]


def commands_by_shard(
    records: Sequence[Record], followers: Mapping[int, Followers], ttl_seconds: int
) -> list[list[Command]]:
    """Return, by shard, the commands that apply the records.

    followers: of each author of a created tweet, as of the last record. ttl_seconds: for bodies.
    Bodies come first: a list must not name a tweet whose body could have been there.
    """
    commands: list[list[Command]] = [[] for _ in range(SHARDS)]
    drops: dict[int, None] = {}
    pushed: dict[int, list[int]] = {}
    for record in records:
        event = record.event
        match event.WhichOneof("event"):
            case "tweet_created":
                tweet = event.tweet_created.tweet
                pushed.setdefault(tweet.user_id, []).append(tweet.id)
                body = bodies.body(1, tweet.SerializeToString())
                # The first version never replaces anything: a plain SET NX will do, and a reader
                # who holds the lease reads this version or a newer.
                commands[shard_of(tweet.id)].append(
                    ("SET", bodies.body_key(tweet.id), body, "NX", "EX", ttl_seconds)
                )
            case "tweet_updated":
                update = event.tweet_updated
                body = bodies.body(update.version, update.tweet.SerializeToString())
                commands[shard_of(update.tweet.id)].append(
                    _set_if_newer(update.tweet.id, body, ttl_seconds)
                )
            case "tweet_deleted":
                tweet_id = event.tweet_deleted.tweet_id
                commands[shard_of(tweet_id)].append(
                    _set_if_newer(tweet_id, bodies.DELETED, ttl_seconds)
                )
            case "user_followed":
                drops[event.user_followed.follower_id] = None
            case "user_unfollowed":
                drops[event.user_unfollowed.follower_id] = None
            case "user_deleted":
                drops[event.user_deleted.user_id] = None
    for user_id in drops:
        commands[shard_of(user_id)].append(("UNLINK", timeline_key(user_id)))
    for user_id, ids in _transposed(pushed, followers):
        commands[shard_of(user_id)].append(("LPUSHX", timeline_key(user_id), *ids))
    return commands


def _set_if_newer(tweet_id: int, body: bytes, ttl_seconds: int) -> Command:
    return ("EVAL", bodies.SET_IF_NEWER, 1, bodies.body_key(tweet_id), body, ttl_seconds)


def _transposed(
    pushed: Mapping[int, Sequence[int]], followers: Mapping[int, Followers]
) -> Iterator[tuple[int, list[int]]]:
    """Yield (follower, ids of the tweets for them), from (author -> tweets) and their followers."""
    pairs = [(followers[author], ids) for author, ids in pushed.items() if followers[author].size]
    if not pairs:
        return
    readers = np.concatenate([np.tile(array, len(ids)) for array, ids in pairs])
    tweets = np.concatenate([np.repeat(ids, array.size) for array, ids in pairs])
    order = np.argsort(readers, kind="stable")
    readers, tweets = readers[order], tweets[order]
    starts = np.flatnonzero(np.diff(readers, prepend=-1))
    ends = np.append(starts[1:], readers.size)
    ids = tweets.tolist()
    for reader, start, end in zip(
        readers[starts].tolist(), starts.tolist(), ends.tolist(), strict=True
    ):
        yield reader, ids[start:end]
