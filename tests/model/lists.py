"""Windows on the lists in Redis, which are built when absent and compacted when they have grown.

See lists.py and list_building.py in read_service/.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from model.postgres import Snapshot
from model.redis import (
    LENGTH,
    ListKey,
    home,
)
from model.wal_rule import read_at
from model.world import Steps, World

from core.feed.timeline_lists import (
    Window,
    WindowState,
    encode_separator,
    read_window,
)

TRIES = 8
KEPT = 0.5
"""How often a list is kept in the process when its first elements are read."""


def read_windows(
    world: World, history: str, lists: Sequence[ListKey], length: int | None
) -> Steps[list[Window] | None]:
    """Return windows on lists, building and compacting as needed; None if that is impossible."""
    found: dict[ListKey, Window] = {}
    lengths: dict[ListKey, int | None] = dict.fromkeys(lists, length)
    for _ in range(TRIES):
        connection = world.local_cache.connect()
        absent = yield from _read_heads(world, history, lengths, found)
        if absent is None:
            return None
        yield
        # The reply with the list comes after everything that Redis sent before it.
        world.local_cache.parse(connection)
        if absent:
            built = yield from _build(world, history, absent)
            if built is None:
                return None
            connection = world.local_cache.connect()
            yield
            world.local_cache.parse(connection)
            found |= built
            lengths = {key: wanted for key, wanted in lengths.items() if key not in found}
        if not lengths:
            return [found[key] for key in lists]
    return None


def _read_heads(
    world: World,
    history: str,
    lengths: dict[ListKey, int | None],
    found: dict[ListKey, Window],
) -> Steps[list[ListKey] | None]:
    """Move the lists that are readable from lengths to found, and compact those that need it.

    Returns those that are absent; None while another reader builds one.
    """
    redis, space = world.redis, world.space(history)
    absent = []
    for key, wanted in list(lengths.items()):
        elements = space.lists.get(key, [])[:wanted]
        if wanted is not None and world.local_lists and world.rng.random() < KEPT:
            elements = space.read_head(key, wanted).elements
        window = read_window(elements, is_whole=wanted is None or len(elements) < wanted)
        if window.state is WindowState.READABLE:
            found[key] = window
            del lengths[key]
        elif window.state is WindowState.SHORT:
            lengths[key] = None
        elif window.state is WindowState.ABSENT:
            absent.append(key)
        elif window.state is WindowState.UNSORTED:
            yield
            redis.check()
            space.compact(key, keep_below_floor=not world.rules.compaction_cuts_at_floor)
            world.figures["compactions"] += 1
            world.tell("reader", f"compacts {key} to {space.lists.get(key)}")
        else:
            return None
    return absent


def _build(
    world: World, history: str, lists: Sequence[ListKey]
) -> Steps[dict[ListKey, Window] | None]:
    """Build absent lists, and return windows on their bases; None when one could not be built."""
    redis, space = world.redis, world.space(history)
    token = world.new_token()
    early = required_lsn(world, history, lists)
    yield
    redis.check()
    mine = []
    for key in lists:
        if space.begin_build(key, token):
            mine.append(key)
            world.tell("reader", f"begins to build {key}")
    yield
    lsn = required_lsn(world, history, lists) if world.rules.placeholder_before_lsn else early
    if not mine or lsn is None:
        for key in mine:
            space.abandon_build(key, token)
        return None
    built = {}
    needed = lsn if world.rules.wal_rule_for_lists else 0
    for key in mine:
        yield
        if world.chance(0.03):
            return None  # the builder dies; its placeholder stays
        found = yield from read_at(world, history, needed, partial(base, key))
        yield
        redis.check()
        if _finish(world, history, key, token, found):
            ids, pulled = found
            floor = ids[-1] if len(ids) == LENGTH else 0
            built[key] = Window(WindowState.READABLE, ids, floor, pulled=tuple(pulled))
    return built if len(built) == len(lists) else None


def required_lsn(world: World, history: str, lists: Sequence[ListKey]) -> int | None:
    """Return the LSN that Postgres must have reached; None if nothing may be built."""
    lsns = [applied(world, history, shard) for shard in sorted({key.shard for key in lists})]
    known = [lsn for lsn in lsns if lsn is not None]
    return max(known) if len(known) == len(lsns) else None


def base(key: ListKey, now: Snapshot) -> tuple[list[int], list[int]]:
    """Return the newest ids of a list, and the pulled authors to be merged with it."""
    if key == home(key.user):
        ids = [tweet.id for tweet in now.timeline(key.user, limit=LENGTH)]
        return ids, sorted(now.followed(key.user) & now.pulled)
    return now.tweets_of(key.user, LENGTH), []


def _finish(
    world: World, history: str, key: ListKey, token: str, base: tuple[list[int], list[int]]
) -> bool:
    ids, pulled = base
    complete = len(ids) < LENGTH
    space = world.space(history)
    if world.rules.builds_lose_to_drops:
        built = space.finish_build(key, token, ids, encode_separator(pulled), complete=complete)
    else:
        space.replace(key, ids, encode_separator(pulled), complete=complete)
        built = True
    world.figures["builds"] += built
    world.tell("reader", f"builds {key}:" if built else f"may not build {key}:", ids, pulled)
    return built


def applied(world: World, history: str, shard: int) -> int | None:
    """Return the highest LSN of a shard's checkpoints; None while one is absent."""
    world.redis.check()
    found = world.space(history).shard_checkpoints(shard)
    lsns = [checkpoint.lsn for checkpoint in found if checkpoint is not None]
    return max(lsns) if len(lsns) == len(found) else None
