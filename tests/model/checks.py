"""What is promised, and the readers who see whether it is kept."""

from __future__ import annotations

from collections.abc import Sequence

from model.events import PARTITIONS, SHARDS, Kind, Tweet
from model.postgres import FROM_THE_TOP, Row, Snapshot
from model.reader import page, page_with_token
from model.world import Acknowledged, Steps, ViolationError, World

from core.feed.checkpoints import Checkpoint


def read_all(world: World, viewer: int, limit: int) -> Steps[list[Tweet]]:
    """Return a whole timeline, by pages, each of which begins where the one before ended."""
    tweets: list[Tweet] = []
    before = FROM_THE_TOP
    while found := (yield from page(world, viewer, before, limit)):
        world.figures["pages compared"] += 1
        tweets += found
        before = found[-1].id
        yield
    return tweets


def check_exact(world: World, viewer: int, limit: int) -> Steps[None]:
    """T1: once all is drained, the pages of a timeline are what the oracle says."""
    tweets = yield from read_all(world, viewer, limit)
    expected = world.postgres.now.timeline(viewer)
    if tweets != expected:
        raise ViolationError(
            f"T1: u{viewer} reads {_named(tweets)} by {limit}, and not {_named(expected)}"
        )


def check_token(world: World, done: Acknowledged, viewer: int) -> Steps[None]:
    """T3: a read with a command's token is refused, or is of some moment after the command."""
    yield
    limit = world.rng.randint(1, 6)
    doubted, loaded = _is_doubted(world), len(world.loaded)
    tweets = yield from page_with_token(world, viewer, done.token, limit)
    if doubted or _is_doubted(world) or loaded != len(world.loaded):
        return
    if tweets is None:
        if world.quiet and world.postgres.valid_history() == done.token.history:
            raise ViolationError(f"T3: {done.token} is refused, and its history has not ended")
        return
    at = done.lsn
    commit = done.server.snapshots[at]
    for server in world.servers:
        if at <= server.lsn and server.snapshots[at] is commit:
            later = _until_lost(world, commit, server.snapshots[at:], at)
            if tweets in [snapshot.timeline(viewer, limit=limit) for snapshot in later]:
                return
    raise ViolationError(
        f"T3: u{viewer} reads {_named(tweets)} with {done.token} of what was committed at {at}"
    )


def _is_doubted(world: World) -> bool:
    """Return whether an older state was loaded, and a server does not know it yet."""
    return world.postgres.now.doubted or world.replica.now.doubted


def _until_lost(
    world: World, commit: Snapshot, snapshots: Sequence[Snapshot], at: int
) -> Sequence[Snapshot]:
    """Return the snapshots before an older state was loaded that lacks the commit."""
    for number, snapshot in enumerate(snapshots):
        for loaded, past in world.loaded:
            if snapshot is loaded and (len(past) <= at or past[at] is not commit):
                return snapshots[:number]
    return snapshots


def check_pagination(world: World, viewer: int) -> Steps[None]:
    """Whatever was there and drained, and stays, is on exactly one page.

    A copy of Redis that is restored meanwhile is drained anew, and nothing is said of it. Nor is
    it of what the replica has not seen yet: while a progress key is absent, or Redis away, its
    past is what is served. Nor while the history is not the one that all know.
    """
    incarnation, restored = world.redis.incarnation, world.kafka.restored
    postgres, replica = world.postgres, world.replica
    history = postgres.valid_history()
    begun = replica.replayed
    settled = _settled(world, viewer)
    promised = _is_paged(world, history)
    tweets = yield from read_all(world, viewer, world.rng.randint(1, 4))
    if (incarnation, restored) != (world.redis.incarnation, world.kafka.restored):
        return
    if not promised or not _is_paged(world, history):
        return
    if (postgres, replica) != (world.postgres, world.replica):
        return
    ids = [tweet.id for tweet in tweets]
    if sorted(set(ids), reverse=True) != ids:
        raise ViolationError(f"pages: u{viewer} reads {ids}, which is out of order")
    for snapshot in postgres.snapshots[begun:]:
        settled &= {tweet.id for tweet in snapshot.timeline(viewer)}
    world.figures["settled tweets paged"] += len(settled)
    if lacking := settled - set(ids):
        raise ViolationError(f"pages: u{viewer} reads {ids} without {sorted(lacking)}")


def _is_paged(world: World, history: str | None) -> bool:
    return (
        history is not None
        and history == world.known == world.postgres.valid_history()
        and history not in world.unpaged
        and world.replica.source is world.postgres
    )


def _settled(world: World, viewer: int) -> set[int]:
    """Return the ids in a timeline that every server has been told of."""
    postgres, replica = world.postgres, world.replica
    seen = {tweet.id for tweet in replica.now.timeline(viewer)}
    unsettled = set()
    for row in postgres.now.outbox.values():
        event = row.event
        if _is_drained(world, row):
            continue
        if event.kind is Kind.CREATED and event.tweet is not None:
            unsettled.add(event.tweet.id)
        elif event.follower == viewer:
            unsettled |= set(postgres.now.tweets_of(event.user))
            unsettled |= set(replica.now.tweets_of(event.user))
    return seen - unsettled


def _is_drained(world: World, row: Row) -> bool:
    history = world.postgres.valid_history()
    if row.sent_at is None or history is None:
        return False
    # Of an event that an earlier history sent, all is known where the keys were created after.
    topic, offset = world.places.get((history, row.id), (world.kafka.topic_id, -1))
    for shard in range(SHARDS):
        fence = world.space(history).progress.get((shard, row.event.partition))
        if fence is None or fence.topic_id != str(topic) or fence.offset <= offset:
            return False
    return topic == world.kafka.topic_id


def is_drained(world: World) -> bool:
    """Return whether all know the history, and every progress key is at its partition's end."""
    history = world.postgres.valid_history()
    if history is None or history != world.known or world.postgres.unsent():
        return False
    progress = world.space(history).progress
    return all(
        _is_at_end(world, partition, progress.get((shard, partition)))
        for partition in range(PARTITIONS)
        for shard in range(SHARDS)
    )


def _is_at_end(world: World, partition: int, fence: Checkpoint | None) -> bool:
    """Return whether a progress key is at the end of the log, and not by chance."""
    rules, kafka = world.rules, world.kafka
    if fence is None or fence.offset != kafka.end(partition):
        return False
    if rules.topic_asked_again and fence.topic_id != str(kafka.topic_id):
        return False
    last = kafka.last(partition, fence.offset)
    return last in {None, fence.last_event_id} or not rules.last_record_compared


def _named(tweets: Sequence[Tweet]) -> str:
    return "[" + " ".join(f"t{tweet.id}v{tweet.version}" for tweet in tweets) + "]"
