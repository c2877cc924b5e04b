"""A batch of events as commands for Redis, transposed.

The events say tweet -> followers; Redis wants timeline -> tweets, one multi-id push for each
timeline whatever the number of tweets. The longer the backlog, the cheaper a delivery.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from fanfare.events.v1.events_pb2 import FeedEvent

from core import bodies
from core.counters import COUNTERS, Rare
from core.shards import SHARDS, shard_of
from core.timeline import TimelineList, author_list, home_list
from fanout_worker.records import Record
from fanout_worker.store import Followers

Command = tuple[bytes | str | int, ...]


def commands_by_shard(
    records: Sequence[Record], followers: Mapping[int, Followers], ttl_seconds: int
) -> list[list[Command]]:
    """Return, by shard, the commands that apply the records.

    followers: as of the last record, of each author who is pushed or has just ceased to be.
    ttl_seconds: for bodies. Bodies come first: a list must not name a tweet whose body could have
    been there.

    A replayed record comes out of its order, so what it says may be past: it pushes nothing and
    sets nothing, and what it touches is dropped, to be read from Postgres.
    """
    commands: list[list[Command]] = [[] for _ in range(SHARDS)]
    for record in records:
        body = _dropped_body(record.event) if record.replayed else _body(record.event, ttl_seconds)
        if body is not None:
            tweet_id, command = body
            commands[shard_of(tweet_id)].append(command)
    for list_ in _dropped(records, followers):
        commands[list_.shard].append(("UNLINK", list_.key))
    written: dict[int, list[int]] = {}
    pushed: dict[int, list[int]] = {}
    for record in records:
        if record.event.HasField("tweet_created") and not record.replayed:
            created = record.event.tweet_created
            written.setdefault(created.tweet.user_id, []).append(created.tweet.id)
            if not created.pulled:
                pushed.setdefault(created.tweet.user_id, []).append(created.tweet.id)
    for author, ids in written.items():
        list_ = author_list(author)
        commands[list_.shard].append(("LPUSHX", list_.key, *ids))
    for user_id, ids in _transposed(pushed, followers):
        list_ = home_list(user_id)
        commands[list_.shard].append(("LPUSHX", list_.key, *ids))
    return commands


def _body(event: FeedEvent, ttl_seconds: int) -> tuple[int, Command] | None:
    """Return what an event does to a tweet's body, None for an event of something else."""
    match event.WhichOneof("event"):
        case "tweet_created":
            tweet = event.tweet_created.tweet
            body = bodies.body(1, tweet.SerializeToString())
            # The first version never replaces anything: a plain SET NX will do, and a reader who
            # holds the lease reads this version or a newer.
            return tweet.id, ("SET", bodies.body_key(tweet.id), body, "NX", "EX", ttl_seconds)
        case "tweet_updated":
            update = event.tweet_updated
            body = bodies.body(update.version, update.tweet.SerializeToString())
            return update.tweet.id, _set_if_newer(update.tweet.id, body, ttl_seconds)
        case "tweet_deleted":
            tweet_id = event.tweet_deleted.tweet_id
            return tweet_id, _set_if_newer(tweet_id, bodies.DELETED, ttl_seconds)
    return None


def _dropped_body(event: FeedEvent) -> tuple[int, Command] | None:
    match event.WhichOneof("event"):
        case "tweet_created":
            tweet_id = event.tweet_created.tweet.id
        case "tweet_updated":
            tweet_id = event.tweet_updated.tweet.id
        case "tweet_deleted":
            tweet_id = event.tweet_deleted.tweet_id
        case _:
            return None
    return tweet_id, ("UNLINK", bodies.body_key(tweet_id))


def _dropped(
    records: Sequence[Record], followers: Mapping[int, Followers]
) -> dict[TimelineList, None]:
    """Return the lists that are no longer right after the records, to be built anew."""
    drops: dict[TimelineList, None] = {}
    for record in records:
        event = record.event
        match event.WhichOneof("event"):
            case "tweet_created" if record.replayed:
                author = event.tweet_created.tweet.user_id
                drops |= dict.fromkeys(map(home_list, followers[author].tolist()))
                drops[author_list(author)] = None
            case "tweet_created" if event.tweet_created.became_pulled:
                # Built before, these lists do not name the author among those to merge.
                author = event.tweet_created.tweet.user_id
                drops |= dict.fromkeys(map(home_list, followers[author].tolist()))
                COUNTERS.add(Rare.CROSSING_DROPPED)
            case "user_followed":
                drops[home_list(event.user_followed.follower_id)] = None
            case "user_unfollowed":
                drops[home_list(event.user_unfollowed.follower_id)] = None
            case "user_deleted":
                drops[home_list(event.user_deleted.user_id)] = None
                drops[author_list(event.user_deleted.user_id)] = None
    return drops


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
