"""The promises, and readers who check them."""

from __future__ import annotations

from collections.abc import Sequence

from model.events import PARTITIONS, SHARDS, Kind, Tweet
from model.postgres import FROM_THE_TOP, Row, Snapshot
from model.reader import page, page_with_token, tweets_by_id
from model.world import Acknowledged, Steps, ViolationError, World

from core.feed.checkpoints import Checkpoint

NO_TWEET = 2**40
"""An id that no tweet has."""


def read_all(world: World, viewer: int, limit: int) -> Steps[list[Tweet]]:
    """Return a whole timeline, page by page."""
    tweets: list[Tweet] = []
    before = FROM_THE_TOP
    while found := (yield from page(world, viewer, before, limit)):
        world.figures["pages compared"] += 1
        tweets += found
        before = found[-1].id
        yield
    return tweets


def check_exact(world: World, viewer: int, limit: int) -> Steps[None]:
    """T1: after draining, the pages of a timeline equal the oracle."""
    tweets = yield from read_all(world, viewer, limit)
    expected = world.postgres.now.timeline(viewer)
    if tweets != expected:
        raise ViolationError(
            f"T1: u{viewer} reads {_named(tweets)} by {limit}, and not {_named(expected)}"
        )


def check_erased(world: World) -> None:
    """Nothing is left of deleted users."""
    now = world.postgres.now
    left = {tweet.author for tweet in now.tweets.values()}.union(*now.follows) - now.users
    if left:
        raise ViolationError(
            f"erased: tweets or edges of the deleted users {sorted(left)} are left"
        )


def check_token(world: World, done: Acknowledged, viewer: int) -> Steps[None]:
    """T3: a read with a command's token is refused, or shows a state after the command."""
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
    """Return whether a server shows a loaded older state from which nobody has recovered yet."""
    return world.postgres.now.doubted or world.replica.now.doubted


def _until_lost(
    world: World, commit: Snapshot, snapshots: Sequence[Snapshot], at: int
) -> Sequence[Snapshot]:
    """Return the snapshots until one that loaded an older state without the commit."""
    for number, snapshot in enumerate(snapshots):
        for loaded, past in world.loaded:
            if snapshot is loaded and (len(past) <= at or past[at] is not commit):
                return snapshots[:number]
    return snapshots


def check_tweets(world: World) -> Steps[None]:
    """Check that after draining, a read by id shows every tweet as the primary has it."""
    expected = dict(world.postgres.now.tweets)
    found = yield from tweets_by_id(world, sorted(expected))
    if found != expected:
        raise ViolationError(
            f"by id: {_named([*found.values()])}, and not {_named([*expected.values()])}"
        )


def check_absence(world: World) -> Steps[None]:
    """Check that a tweet is absent only if the primary lacked it at a moment of the read.

    Nothing is checked in the cases in which `check_pagination` checks nothing.
    """
    incarnation, restored = world.redis.incarnation, world.kafka.restored
    postgres, replica = world.postgres, world.replica
    history, begun = postgres.valid_history(), postgres.lsn
    promised = is_paged(world, history)
    ids = [*sorted(postgres.now.tweets)[-3:], NO_TWEET]
    found = yield from tweets_by_id(world, ids)
    if (incarnation, restored) != (world.redis.incarnation, world.kafka.restored):
        return
    if not promised or not is_paged(world, history):
        return
    if (postgres, replica) != (world.postgres, world.replica):
        return
    world.figures["tweets read by id"] += len(ids)
    for tweet_id in ids:
        if tweet_id not in found and all(
            tweet_id in snapshot.tweets for snapshot in postgres.snapshots[begun:]
        ):
            raise ViolationError(f"by id: t{tweet_id} is absent, and was there all the time")


def check_pagination(world: World, viewer: int) -> Steps[None]:
    """Check that a drained tweet that stays in the timeline is on exactly one page.

    Nothing is checked if an older copy of Redis or Kafka took over meanwhile, because events must
    drain again, nor unless all actors know the current history. Tweets that the replica has not
    seen yet are not required: while a checkpoint is absent, or Redis is away, pages may come from
    the replica.
    """
    incarnation, restored = world.redis.incarnation, world.kafka.restored
    postgres, replica = world.postgres, world.replica
    history = postgres.valid_history()
    begun = replica.replayed
    settled = _settled(world, viewer)
    promised = is_paged(world, history)
    tweets = yield from read_all(world, viewer, world.rng.randint(1, 4))
    if (incarnation, restored) != (world.redis.incarnation, world.kafka.restored):
        return
    if not promised or not is_paged(world, history):
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


def is_paged(world: World, history: str | None) -> bool:
    """Return whether all actors know this history, and pages are checked in it."""
    return (
        history is not None
        and history == world.known == world.postgres.valid_history()
        and history not in world.unpaged
        and world.replica.source is world.postgres
    )


def _settled(world: World, viewer: int) -> set[int]:
    """Return the ids of a timeline whose events are drained, and that the replica has too."""
    postgres, replica = world.postgres, world.replica
    seen = {tweet.id for tweet in replica.now.timeline(viewer)}
    unsettled = set()
    for row in (*postgres.now.outbox.values(), *postgres.now.expired.values()):
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
    # An event of an earlier history counts as applied: the checkpoints of this history were created
    # after it. Offset -1 is below all checkpoints.
    topic, offset = world.places.get((history, row.id), (world.kafka.topic_id, -1))
    for shard in range(SHARDS):
        checkpoint = world.space(history).checkpoints.get((shard, row.event.partition))
        if checkpoint is None or checkpoint.topic_id != str(topic) or checkpoint.offset <= offset:
            return False
    return topic == world.kafka.topic_id


def is_drained(world: World) -> bool:
    """Return whether all know the history, all is erased, and all checkpoints are at the end."""
    history = world.postgres.valid_history()
    if history is None or history != world.known or world.postgres.unsent():
        return False
    if world.postgres.now.erasing:
        return False
    checkpoints = world.space(history).checkpoints
    return all(
        _is_at_end(world, partition, checkpoints.get((shard, partition)))
        for partition in range(PARTITIONS)
        for shard in range(SHARDS)
    )


def _is_at_end(world: World, partition: int, checkpoint: Checkpoint | None) -> bool:
    """Return whether a checkpoint is at the end of the log, and refers to the same records."""
    rules, kafka = world.rules, world.kafka
    if checkpoint is None or checkpoint.offset != kafka.end(partition):
        return False
    if rules.topic_asked_again and checkpoint.topic_id != str(kafka.topic_id):
        return False
    last = kafka.last(partition, checkpoint.offset)
    return last in {None, checkpoint.last_event_id} or not rules.last_record_compared


def _named(tweets: Sequence[Tweet]) -> str:
    return "[" + " ".join(f"t{tweet.id}v{tweet.version}" for tweet in tweets) + "]"
