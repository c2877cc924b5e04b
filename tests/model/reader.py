"""The read service: pages from lists in Redis, else from Postgres.

See first_pages.py, home_timelines.py and tweets.py in read_service/. Lists are read in lists.py
here, and what the process keeps is in local_cache.py. Windows of lists are read by the production
code in core/feed/timeline_lists.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from model.events import SHARDS, Tweet
from model.lists import applied, read_windows
from model.postgres import FROM_THE_TOP, Moment, RelayState, SessionLostError, Snapshot
from model.redis import (
    LENGTH,
    CachedTweet,
    Deleted,
    Lease,
    RedisAwayError,
    author_list,
    home,
)
from model.rules import Rules
from model.wal_rule import HistoryEndedError, read_at
from model.world import Steps, World

from core.feed.timeline_lists import (
    Window,
    WindowState,
    merge_windows,
    read_window,
)

LOG_ROOM = 1
"""How many elements more than a page the first window has."""
REFILL = 2
"""The fewest tweets that are read at once to fill up a page that lacks some."""


def page(world: World, viewer: int, before: int, limit: int) -> Steps[list[Tweet]]:
    """Return a page of a home timeline, as a read without a consistency token gets it."""
    history = world.known
    if history is not None:
        try:
            found = yield from _cached(world, history, viewer, before, limit)
        except (RedisAwayError, HistoryEndedError):
            found = None
        if found is not None:
            world.figures["pages from Redis"] += 1
            return found
    world.figures["pages from Postgres"] += 1
    return (yield from _from_postgres(world, history, viewer, before, limit))


def tweets_by_id(world: World, ids: Sequence[int]) -> Steps[dict[int, Tweet]]:
    """Return those of the tweets that exist, as a read without a consistency token gets them."""
    history = world.known
    if history is not None:
        with suppress(RedisAwayError, HistoryEndedError):
            return (yield from _by_id(world, history, ids))
    return (yield from _existing_anywhere(world, ids))


def _from_postgres(
    world: World, history: str | None, viewer: int, before: int, limit: int
) -> Steps[list[Tweet]]:
    lsn = None
    if history is not None:
        with suppress(RedisAwayError):
            if world.rules.pages_at_lsn:
                lsn = applied(world, history, viewer % SHARDS)
        yield
        with suppress(HistoryEndedError):
            return (
                yield from read_at(
                    world, history, lsn, lambda now: now.timeline(viewer, before, limit)
                )
            )
    yield
    return world.postgres.now.timeline(viewer, before, limit)


def page_with_token(
    world: World, viewer: int, token: Moment, limit: int
) -> Steps[list[Tweet] | None]:
    """Return the first page as of the token's moment or later; None if the read is refused."""
    world.figures["pages with a token"] += 1
    replica, primary = world.replica, world.postgres
    on_replica = replica.history(world.rules) is not None or not world.rules.tokens_by_history
    on_replica &= is_reached(world.rules, replica.now.relay, replica.replayed, token)
    yield
    try:
        if on_replica:
            replica.check()
            return replica.now.timeline(viewer, limit=limit)
        if world.rules.tokens_by_history:
            if primary.valid_history() is None:
                world.figures["tokens refused"] += 1
                return None
            if not is_reached(world.rules, primary.now.relay, primary.lsn, token):
                world.figures["tokens refused"] += 1
                return None
        yield
        primary.check()
        return primary.now.timeline(viewer, limit=limit)
    except SessionLostError:
        return None


def is_reached(rules: Rules, relay: RelayState, lsn: int, token: Moment) -> bool:
    """Return whether a Postgres has what was committed up to the token's moment."""
    if not rules.tokens_need_lsn:
        return True
    if not rules.tokens_by_history:
        return lsn >= token.lsn
    if token.history == relay.history:
        return lsn >= token.lsn
    if token.history not in relay.ended:
        return False
    return token.lsn <= relay.ended[token.history] or not rules.ended_lsn_bounds_tokens


def _cached(
    world: World, history: str, viewer: int, before: int, limit: int
) -> Steps[list[Tweet] | None]:
    """Return the page from Redis; None when the lists cannot give it."""
    if limit > LENGTH:
        return None
    if world.local_lists and before == FROM_THE_TOP:
        window = yield from _kept_window(world, history, viewer, limit + LOG_ROOM)
        if window is not None:
            found = yield from _readable(world, history, window, before, limit)
            if found is not None:
                world.figures["pages from kept lists"] += 1
                return found
    for length in (limit + LOG_ROOM, None) if before == FROM_THE_TOP else (None,):
        window = yield from _window(world, history, viewer, length)
        if window is None:
            return None
        found = yield from _readable(world, history, window, before, limit)
        if found is not None:
            return found
    return None


def _kept_window(world: World, history: str, viewer: int, length: int) -> Steps[Window | None]:
    """Return a window on the viewer's list as the process keeps it; None if it is not usable."""
    local = world.local_cache
    if local.head(history, home(viewer), length) is None:
        return None
    if world.rules.barrier_before_local_lists:
        yield from local.barrier()
    head = local.head(history, home(viewer), length)  # it may have changed
    if head is None:
        return None
    window = read_window(head.elements, is_whole=len(head.elements) < head.length)
    is_usable = window.state is WindowState.READABLE and not window.pulled
    return window if is_usable else None


def _window(world: World, history: str, viewer: int, length: int | None) -> Steps[Window | None]:
    """Return the merge of the viewer's list and the lists of the pulled authors."""
    own = yield from read_windows(world, history, [home(viewer)], length)
    if own is None:
        return None
    lists = [author_list(author) for author in own[0].pulled]
    if not lists:
        return own[0]
    pulled = yield from read_windows(world, history, lists, length)
    if pulled is None:
        return None
    world.figures["merges"] += 1
    if not world.rules.merged_to_highest_floor:
        windows = [*own, *pulled]
        lowest = min(window.floor for window in windows)
        return merge_windows([replace(window, floor=lowest) for window in windows])
    return merge_windows([*own, *pulled])


def _readable(
    world: World, history: str, window: Window, before: int, limit: int
) -> Steps[list[Tweet] | None]:
    """Return the tweets of a page; None if the window does not reach down to them."""
    ids = [id_ for id_ in window.ids if id_ < before]
    tweets: list[Tweet] = []
    at = 0
    while len(tweets) < limit and at < len(ids):
        chunk = ids[at : at + max(limit - len(tweets), REFILL if at else 0)]
        at += len(chunk)
        found = yield from _tweets(world, history, chunk)
        tweets += [found[id_] for id_ in chunk if id_ in found]
    return tweets[:limit] if len(tweets) >= limit or window.floor == 0 else None


# Tweets --------------------------------------------------------------------------------


def _tweets(world: World, history: str, ids: Sequence[int]) -> Steps[dict[int, Tweet]]:
    """Return those tweets that still exist, for ids that were just read from a list."""
    entries: dict[int, CachedTweet | None] = {**world.local_cache.known(history, ids)}
    world.figures["tweets from the local cache"] += len(entries)
    if unknown := [id_ for id_ in ids if id_ not in entries]:
        entries |= yield from world.local_cache.read(history, world.space(history), unknown)
    else:
        yield
    tweets = {id_: entry for id_, entry in entries.items() if isinstance(entry, Tweet)}
    missing = [id_ for id_, entry in entries.items() if entry is None or isinstance(entry, Lease)]
    if missing:
        tweets |= yield from _fill(world, history, missing)
    return tweets


def _by_id(world: World, history: str, ids: Sequence[int]) -> Steps[dict[int, Tweet]]:
    """Return those tweets that exist, for ids that anybody may have made up.

    No lease is taken of a tweet that does not exist.
    """
    entries = yield from world.local_cache.read(history, world.space(history), ids)
    tweets = {id_: entry for id_, entry in entries.items() if isinstance(entry, Tweet)}
    absent = [id_ for id_, entry in entries.items() if entry is None or isinstance(entry, Lease)]
    if not absent:
        return tweets
    existing = yield from _existing_anywhere(world, absent)
    world.figures["tweets by id that are absent"] += len(absent) - len(existing)
    if existing:
        tweets |= yield from _fill(world, history, sorted(existing), existing)
    return tweets


def _existing_anywhere(world: World, ids: Sequence[int]) -> Steps[dict[int, Tweet]]:
    """Return those of the tweets that the replica has, or else the primary."""
    yield
    found = _existing(world.replica.now, ids)
    lacking = [tweet_id for tweet_id in ids if tweet_id not in found]
    if lacking and world.rules.absent_asked_of_primary:
        yield
        found |= _existing(world.postgres.now, lacking)
    return found


def _fill(
    world: World, history: str, ids: Sequence[int], seen: Mapping[int, Tweet] | None = None
) -> Steps[dict[int, Tweet]]:
    """Read tweets from Postgres, and store those for which this reader has a fill lease.

    Args:
        world: the world.
        history: whose keys are filled.
        ids: which tweets.
        seen: None if the ids are from a list, so that a tweet that Postgres lacks was deleted. Else
            the tweets as they were before the leases; their absence is not stored.
    """
    redis, space = world.redis, world.space(history)
    token = world.new_token()
    redis.check()
    leased = [tweet_id for tweet_id in ids if tweet_id not in space.tweet_cache]
    for tweet_id in leased:
        space.put_tweet(tweet_id, Lease(token))
    yield
    shards = sorted({tweet_id % SHARDS for tweet_id in ids})
    lsns = [applied(world, history, shard) for shard in shards]
    known = [lsn for lsn in lsns if lsn is not None]
    may_fill = len(known) == len(lsns)
    lsn = max(known) if may_fill and world.rules.wal_rule_for_tweet_cache else None
    yield
    found = yield from read_at(world, history, lsn, lambda now: _existing(now, ids))
    lacking = [tweet_id for tweet_id in ids if tweet_id not in found]
    if lacking and world.rules.missing_asked_of_primary:
        yield
        if world.rules.history_checked_before_build and (world.postgres.valid_history() != history):
            raise HistoryEndedError
        found |= _existing(world.postgres.now, lacking)
    if seen is not None and not world.rules.read_again_under_lease:
        found = dict(seen)
    yield
    redis.check()
    for tweet_id in leased if world.rules.tweet_cache_under_lease else ids:
        entry = found.get(tweet_id, Deleted() if seen is None else None) if may_fill else None
        if world.rules.tweet_cache_under_lease:
            space.fill_tweet(tweet_id, token, entry)
        elif entry is not None:
            space.put_tweet(tweet_id, entry)
        world.tell("reader", f"fills t{tweet_id} with {entry}")
    if not world.rules.local_cache_only_tracked:
        world.local_cache.put(history, found)
    return found


def _existing(now: Snapshot, ids: Sequence[int]) -> dict[int, Tweet]:
    return {tweet_id: now.tweets[tweet_id] for tweet_id in ids if tweet_id in now.tweets}
