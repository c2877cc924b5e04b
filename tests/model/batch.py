"""What a worker makes of a batch of records: see fanout_worker/rounds.py and followers.py."""

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
Arrays = dict[int, set[int]]
"""The followers of authors."""


@dataclass(frozen=True)
class Command:
    """A command of a transaction; it returns the length of the list that it pushed to."""

    run: Callable[[Space], int | None]
    list: ListKey | None = None
    """The list that it pushes to."""


@dataclass(frozen=True)
class Counting:
    """Which records count in a history."""

    rules: Rules
    history: str

    def effective(self, records: Iterable[Placed], offset: int, epoch: int) -> list[Record]:
        """Return the records from the offset on that count.

        None of another history, and none of a relay that was replaced.
        """
        counting = []
        for at, record in records:
            if at < offset or not record.readable:
                continue
            if self.rules.records_by_history and record.history != self.history:
                continue
            if not record.replayed:
                if self.rules.old_epochs_skipped and record.epoch < epoch:
                    continue
                epoch = max(epoch, record.epoch)
            counting.append(record)
        return counting

    def advanced(self, fence: Checkpoint, records: Sequence[Placed]) -> Checkpoint:
        """Return the fence after the records."""
        counting = self.effective(records, fence.offset, fence.epoch)
        at, last = records[-1]
        if at < fence.offset:
            return fence
        return replace(
            fence,
            offset=at + 1,
            lsn=max([fence.lsn, *(record.lsn for record in counting)]),
            epoch=max([fence.epoch, *(record.epoch for record in counting if not record.replayed)]),
            last_event_id=last.id if last.readable else 0,
        )


def commands_by_shard(
    rules: Rules, records: Sequence[Record], followers: Mapping[int, set[int]]
) -> list[list[Command]]:
    """Return, by shard, what applies the records: bodies, then drops, then pushes."""
    commands: list[list[Command]] = [[] for _ in range(SHARDS)]
    for record in records:
        if record.event.tweet is not None:
            commands[record.event.tweet.id % SHARDS].append(_body(rules, record))
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


def _body(rules: Rules, record: Record) -> Command:
    event = record.event
    tweet = event.tweet
    if tweet is None:
        raise AssertionError(event)
    if _only_drops(rules, record):
        return Command(lambda space: space.put_body(tweet.id, None))
    body = Deleted() if event.kind is Kind.DELETED else tweet
    if event.kind is Kind.CREATED:
        # SET NX: the first version replaces nothing, not even a lease.
        return Command(lambda space: space.put_body(tweet.id, space.bodies.get(tweet.id, body)))
    return Command(lambda space: space.set_newer_body(tweet.id, body))


def _dropped(
    rules: Rules, records: Sequence[Record], followers: Mapping[int, set[int]]
) -> dict[ListKey, None]:
    """Return the lists that are no longer right after the records."""
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
        space.lists.pop(key, None)

    return Command(run)


def _push(key: ListKey, ids: Sequence[int]) -> Command:
    return Command(lambda space: space.push(key, ids), key)


class FollowerArrays:
    """The follower arrays that a worker keeps, by partition and author."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._arrays: dict[int, Arrays] = {}

    def drop(self, partition: int) -> None:
        """Forget the arrays of a partition's authors."""
        self._arrays.pop(partition, None)

    def after(self, partition: int, records: Sequence[Record], needed: Moment) -> Steps[Arrays]:
        """Return the followers as of the last record, of the authors whose tweets need them.

        An array not yet known is read from a Postgres that has reached the moment.
        """
        rules = self._world.rules
        arrays = self._arrays.setdefault(partition, {})
        for record in records:
            if _only_drops(rules, record):
                arrays.pop(record.event.user, None)
        tweeting = {record.event.user for record in records if _needs_followers(rules, record)}
        if unknown := tweeting - arrays.keys():
            arrays |= yield from read_at(
                self._world,
                needed.history,
                needed.lsn if rules.wal_rule_for_arrays else 0,
                lambda now: {author: now.followers(author) for author in unknown},
            )
        before = {author: set(arrays[author]) for author in tweeting}
        for record in records:
            if not _only_drops(rules, record):
                change(arrays, record.event)
        if not rules.follows_before_pushes:
            return before
        return {author: set(arrays[author]) for author in tweeting}


def change(arrays: Arrays, event: Event) -> None:
    """Apply a follow or unfollow to the array of the followed user, if it is there."""
    if event.user in arrays and event.kind is Kind.FOLLOWED:
        arrays[event.user].add(event.follower)
    if event.user in arrays and event.kind is Kind.UNFOLLOWED:
        arrays[event.user].discard(event.follower)


def _needs_followers(rules: Rules, record: Record) -> bool:
    event = record.event
    if event.kind is not Kind.CREATED:
        return False
    return _only_drops(rules, record) or event.became_pulled or not event.pulled
