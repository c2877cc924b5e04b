"""What is promised, and the readers who see whether it is kept."""

from __future__ import annotations

from collections.abc import Sequence

from model.events import PARTITIONS, SHARDS, Kind, Tweet
from model.postgres import FROM_THE_TOP
from model.reader import page, page_with_token
from model.world import Steps, ViolationError, World


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
    expected = world.postgres.primary.timeline(viewer)
    if tweets != expected:
        raise ViolationError(
            f"T1: u{viewer} reads {_named(tweets)} by {limit}, and not {_named(expected)}"
        )


def check_token(world: World, committed: int, viewer: int) -> Steps[None]:
    """T3: a read with a command's token is of some moment after the command."""
    token = world.postgres.position
    yield
    limit = world.rng.randint(1, 6)
    tweets = yield from page_with_token(world, viewer, token, limit)
    later = world.postgres.snapshots[committed:]
    if tweets not in [snapshot.timeline(viewer, limit=limit) for snapshot in later]:
        raise ViolationError(
            f"T3: u{viewer} reads {_named(tweets)} with the token of what was committed"
            f" at {committed}"
        )


def check_pagination(world: World, viewer: int) -> Steps[None]:
    """Whatever was there and drained, and stays, is on exactly one page.

    A copy of Redis that is restored meanwhile is drained anew, and nothing is said of it. Nor is
    it of what the replica has not seen yet: while a progress key is absent, or Redis away, its
    past is what is served.
    """
    incarnation = world.redis.incarnation
    begun = world.postgres.replayed
    settled = _settled(world, viewer)
    tweets = yield from read_all(world, viewer, world.rng.randint(1, 4))
    if world.redis.incarnation != incarnation:
        return
    ids = [tweet.id for tweet in tweets]
    if sorted(set(ids), reverse=True) != ids:
        raise ViolationError(f"pages: u{viewer} reads {ids}, which is out of order")
    for snapshot in world.postgres.snapshots[begun:]:
        settled &= {tweet.id for tweet in snapshot.timeline(viewer)}
    world.figures["settled tweets paged"] += len(settled)
    if lacking := settled - set(ids):
        raise ViolationError(f"pages: u{viewer} reads {ids} without {sorted(lacking)}")


def _settled(world: World, viewer: int) -> set[int]:
    """Return the ids in a timeline that every server has been told of."""
    replica = {tweet.id for tweet in world.postgres.replica.timeline(viewer)}
    unsettled = set()
    for row in world.postgres.outbox:
        event = row.event
        if _is_drained(world, row.sent_at, row.place, event.partition):
            continue
        if event.kind is Kind.CREATED and event.tweet is not None:
            unsettled.add(event.tweet.id)
        elif event.follower == viewer:
            unsettled |= set(world.postgres.primary.tweets_of(event.user))
            unsettled |= set(world.postgres.replica.tweets_of(event.user))
    return replica - unsettled


def _is_drained(
    world: World, sent_at: int | None, place: tuple[int, int] | None, partition: int
) -> bool:
    if sent_at is None or place is None:
        return False
    topic, offset = place
    for shard in range(SHARDS):
        fence = world.redis.progress.get((shard, partition))
        if fence is None or fence.topic_id != str(topic) or fence.offset <= offset:
            return False
    return topic == world.kafka.topic_id


def is_drained(world: World) -> bool:
    """Return whether no row is unsent and every progress key is at the end of its partition."""
    if world.postgres.unsent():
        return False
    for partition in range(PARTITIONS):
        for shard in range(SHARDS):
            fence = world.redis.progress.get((shard, partition))
            if fence is None or fence.offset != world.kafka.end(partition):
                return False
            topic = str(world.kafka.topic_id)
            if world.rules.topic_asked_again and fence.topic_id != topic:
                return False
    return True


def _named(tweets: Sequence[Tweet]) -> str:
    return "[" + " ".join(f"t{tweet.id}v{tweet.version}" for tweet in tweets) + "]"
