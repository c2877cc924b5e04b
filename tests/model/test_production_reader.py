"""The read service's own code in the simulation, and the model's reader beside it."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from types import ModuleType

import pytest
from model import checks, production_reader, reader
from model.events import Tweet
from model.history import play
from model.redis import Redis
from model.rules import ALL_RULES
from model.search import Totals, histories
from model.world import Steps, World

from read_service import home_timelines, lists

CHUNKS = 4
HISTORIES = 12


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let production read as little at a time as the model does."""
    monkeypatch.setattr(lists, "LOG_ROOM", reader.LOG_ROOM)
    monkeypatch.setattr(home_timelines, "MIN_REFILL", reader.REFILL)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_production_keeps_the_promises(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the production reader every page is exact once all is drained, and tokens hold."""
    monkeypatch.setattr(checks, "page", production_reader.page)
    monkeypatch.setattr(checks, "page_with_token", production_reader.page_with_token)
    monkeypatch.setattr(checks, "tweets_by_id", production_reader.tweets_by_id)
    totals = _play(chunk)
    assert totals.figures["pages of the production code"] > 0
    assert totals.figures["builds of the production code"] > 0


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_model_and_production_do_the_same(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both give the same page, and leave the same lists and tweets in Redis and in the process.

    They are compared in states that servers reach during runs. States in which Redis is away, or
    the replica is at another history, are left out: the model then reads from the primary,
    production from the replica, and both are right because old pages are allowed.
    """
    monkeypatch.setattr(checks, "page", _page_of_both)
    totals = _play(chunk)
    assert totals.figures["pages of both"] > totals.figures["pages compared"] / 4


def test_model_and_production_find_the_same_tweets(monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds for tweets by id, in runs about them."""
    monkeypatch.setattr(checks, "tweets_by_id", _tweets_of_both)
    totals = _play_all((seed, "by id") for seed in range(HISTORIES))
    assert totals.figures["tweets of both"] > 0


def _play(chunk: int) -> Totals:
    return _play_all(islice(histories(chunk * HISTORIES), HISTORIES))


def _play_all(runs: Iterable[tuple[int, str]]) -> Totals:
    totals = Totals()
    for seed, focus in runs:
        result = play(seed, ALL_RULES, focus)
        totals.add(result)
        assert result.violation is None, f"seed {seed}, focus {focus}: {result.violation}"
    return totals


def _page_of_both(world: World, viewer: int, before: int, limit: int) -> Steps[list[Tweet]]:
    """Compare both readers, then read as the model does."""
    _compare(world, "pages of both", lambda by, seen: by.page(seen, viewer, before, limit))
    return (yield from reader.page(world, viewer, before, limit))


def _tweets_of_both(world: World, ids: Sequence[int]) -> Steps[dict[int, Tweet]]:
    """Compare both readers, then read as the model does."""
    _compare(world, "tweets of both", lambda by, seen: by.tweets_by_id(seen, ids))
    return (yield from reader.tweets_by_id(world, ids))


def _compare(world: World, figure: str, read: Callable[[ModuleType, World], Steps[object]]) -> None:
    """Compare the two readers on copies of the world."""
    known = world.known
    history = world.replica.history(world.rules)
    if world.redis.up and known is not None and known == history == world.postgres.valid_history():
        chance = world.figures[figure]
        first, second = _frozen(world, chance), _frozen(world, chance)
        expected = _finish(read(reader, first))
        found = _finish(read(production_reader, second))
        assert found == expected
        assert _contents(second.redis) == _contents(first.redis)
        assert _in_process(second) == _in_process(first)
        world.figures[figure] += 1


def _frozen(world: World, chance: int) -> World:
    """Return a copy of the world for one reader, in which some lists and tweets have expired.

    The number `chance` decides what has expired. If nothing had, most pages would be read from
    complete lists, and building and filling would not be compared.
    """
    frozen = copy.copy(world)
    frozen.redis, frozen.local_cache = copy.deepcopy((world.redis, world.local_cache))
    frozen.rng, frozen.figures, frozen.quiet = random.Random(chance), Counter(), True
    space = frozen.space(str(world.known))
    for key in list(space.lists):
        if frozen.rng.random() < 0.2:
            space.drop_list(key)
    for tweet_id in list(space.tweet_cache):
        if frozen.rng.random() < 0.4:
            space.put_tweet(tweet_id, None)
    return frozen


def _finish(steps: Steps[object]) -> object:
    """Run to the end while nobody else takes a step."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def _in_process(world: World) -> object:
    """Return what the process knows once it has parsed everything that Redis has sent."""
    world.local_cache.parse(world.local_cache.connect())
    return world.local_cache.entries


def _contents(redis: Redis) -> object:
    return {name: (space.lists, space.tweet_cache) for name, space in redis.spaces.items()}
