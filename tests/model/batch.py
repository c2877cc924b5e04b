"""How a worker turns records into commands; see fanout_worker/rounds.py and followers.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from model.events import SHARDS, Event, Kind
from model.kafka import Record
from model.postgres import Moment
from model.redis import Deleted, ListKey, Space, author_list, home
from model.rules import Rules
from model.wal_rule import read_at
from model.world import Steps, World

from core.feed.checkpoints import Checkpoint

Placed = tuple[int, Record]
"""A record with its offset."""
Followers = dict[int, set[int]]
"""Followers by author."""


@dataclass(frozen=True)
class Command:
    """A command of a transaction."""

    run: Callable[[Space], int | None]
    """Returns the new length of the list that it pushed to."""
    list: ListKey | None = None
    """The list that it pushes to, if any."""


@dataclass(frozen=True)
class Counting:
    """Decides which records count for a shard."""

    rules: Rules
    history: str

    def effective(self, records: Iterable[Placed], offset: int, epoch: int) -> list[Record]:
        """Return the records that count for a checkpoint with this offset and epoch.

        Records of another history and of a replaced relay do not count.
        """
        counting = []
        for at, record in records:
            if at < offset or not record.readable:
                continue
            if self.rules.records_by_history and record.history != self.history:
                continue
            if not record.replayed:
                if self.rules.stale_epochs_skipped and record.epoch < epoch:
                    continue
                epoch = max(epoch, record.epoch)
            counting.append(record)
        return counting

    def advanced(self, checkpoint: Checkpoint, records: Sequence[Placed]) -> Checkpoint:
        """Return the checkpoint after the records have been applied."""
        counting = self.effective(records, checkpoint.offset, checkpoint.epoch)
        at, last = records[-1]
        if at < checkpoint.offset:
            return checkpoint
        return replace(
            checkpoint,
            offset=at + 1,
            lsn=max([checkpoint.lsn, *(record.lsn for record in counting)]),
            epoch=max(
                [checkpoint.epoch, *(record.epoch for record in counting if not record.replayed)]
            ),
            last_event_id=last.id if last.readable else 0,
            chunk_id="",
        )


def commands_by_shard(
    rules: Rules, records: Sequence[Record], followers: Mapping[int, set[int]]
) -> list[list[Command]]:
    """Return the commands of each shard: the tweet cache first, then drops, then pushes."""
    commands: list[list[Command]] = [[] for _ in range(SHARDS)]
    for record in records:
        if record.event.tweet is not None:
            commands[record.event.tweet.id % SHARDS].append(_tweet_cache_command(rules, record))
    for key in _dropped(rules, records, followers):
        commands[key.shard].append(_drop(key))
    pushed: dict[ListKey, list[int]] = {}
    for record in records:
        event = record.event
        if event.kind is Kind.CREATED and event.tweet and not _only_drops(rules, record):
            pushed.setdefault(author_list(event.user), []).append(event.tweet.id)
            if not event.pulled:
                for follower in followers[event.user]:
                    pushed.setdefault(home(follower), []).append(event.tweet.id)
    for key, ids in pushed.items():
        commands[key.shard].append(_push(key, ids))
    return commands


def _only_drops(rules: Rules, record: Record) -> bool:
    return record.replayed and rules.replayed_only_drop


def _tweet_cache_command(rules: Rules, record: Record) -> Command:
    event = record.event
    tweet = event.tweet
    if tweet is None:
        raise AssertionError(event)
    if _only_drops(rules, record):
        return Command(lambda space: space.put_tweet(tweet.id, None))
    entry = Deleted() if event.kind is Kind.DELETED else tweet
    if event.kind is Kind.CREATED:
        # SET NX: the first version replaces nothing, not even a lease.
        return Command(
            lambda space: space.put_tweet(tweet.id, space.tweet_cache.get(tweet.id, entry))
        )
    return Command(lambda space: space.put_newer_tweet(tweet.id, entry))


def _dropped(
    rules: Rules, records: Sequence[Record], followers: Mapping[int, set[int]]
) -> dict[ListKey, None]:
    """Return the lists that are wrong after the records."""
    drops: dict[ListKey, None] = {}
    for record in records:
        event = record.event
        if event.kind is Kind.CREATED and _only_drops(rules, record):
            drops |= dict.fromkeys(map(home, followers[event.user]))
            drops[author_list(event.user)] = None
        elif event.became_pulled and rules.crossing_drops_lists:
            drops |= dict.fromkeys(map(home, followers[event.user]))
        elif event.kind in {Kind.FOLLOWED, Kind.UNFOLLOWED}:
            drops[home(event.follower)] = None
        elif event.kind is Kind.USER_DELETED:
            drops |= {home(event.user): None, author_list(event.user): None}
    return drops


def _drop(key: ListKey) -> Command:
    def run(space: Space) -> None:
        space.drop_list(key)

    return Command(run)


def _push(key: ListKey, ids: Sequence[int]) -> Command:
    return Command(lambda space: space.push(key, ids), key)


class FollowerIndex:
    """The followers that a worker knows, by partition and author."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._followers: dict[int, Followers] = {}

    def drop(self, partition: int) -> None:
        """Forget the authors of a partition."""
        self._followers.pop(partition, None)

    def after(self, partition: int, records: Sequence[Record], needed: Moment) -> Steps[Followers]:
        """Apply the records, and return the followers of the authors whose tweets need them.

        Unknown authors are read from a Postgres that has reached the moment.
        """
        rules = self._world.rules
        index = self._followers.setdefault(partition, {})
        for record in records:
            if _only_drops(rules, record):
                index.pop(record.event.user, None)
        tweeting = {record.event.user for record in records if _needs_followers(rules, record)}
        if unknown := tweeting - index.keys():
            index |= yield from read_at(
                self._world,
                needed.history,
                needed.lsn if rules.wal_rule_for_followers else 0,
                lambda now: {author: now.followers(author) for author in unknown},
            )
        before = {author: set(index[author]) for author in tweeting}
        for record in records:
            if not _only_drops(rules, record):
                change(index, record.event)
        if not rules.follows_before_pushes:
            return before
        return {author: set(index[author]) for author in tweeting}


def change(index: Followers, event: Event) -> None:
    """Apply a follow or unfollow to the followed user, if the index knows that user."""
    if event.user in index and event.kind is Kind.FOLLOWED:
        index[event.user].add(event.follower)
    if event.user in index and event.kind is Kind.UNFOLLOWED:
        index[event.user].discard(event.follower)


def _needs_followers(rules: Rules, record: Record) -> bool:
    event = record.event
    if event.kind is not Kind.CREATED:
        return False
    return _only_drops(rules, record) or event.became_pulled or not event.pulled
