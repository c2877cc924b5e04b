"""The scripts that change timelines and bodies, on a real Valkey."""

from __future__ import annotations

import uuid
from typing import cast

import pytest
from helpers.fanfare import Fanfare
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.feed import timeline_lists as timeline
from core.feed import tweet_cache as bodies
from core.feed.timeline_lists import WindowState, read_window

# Above 2^53, where a script that took ids for numbers would confuse neighbours.
BASE = 2**62
IDS = st.lists(st.integers(BASE, BASE + 40), max_size=25)
FIXTURE = [HealthCheck.function_scoped_fixture]


@pytest.fixture
def key(fanfare: Fanfare) -> str:
    """Return a key that nobody else uses."""
    name = f"test:{uuid.uuid4()}"
    fanfare.redis.delete(name)
    return name


def _elements(fanfare: Fanfare, key: str) -> list[bytes]:
    return cast("list[bytes]", fanfare.redis.lrange(key, 0, -1))


def _ids(fanfare: Fanfare, key: str) -> tuple[list[int], int]:
    window = read_window(_elements(fanfare, key), whole=True)
    assert window.state is WindowState.READABLE
    return list(window.ids), window.floor


def _eval(fanfare: Fanfare, script: str, key: str, *arguments: object) -> object:
    return fanfare.redis.eval(script, 1, key, *(str(argument) for argument in arguments))


@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURE)
@given(before=IDS, read=IDS, cap=st.integers(1, 30))
def test_a_build_joins_what_was_read_and_what_was_pushed(
    fanfare: Fanfare, key: str, before: list[int], read: list[int], cap: int
) -> None:
    """The base is the newest of both, sorted, once each, and says when there is more below."""
    fanfare.redis.delete(key)
    assert _eval(fanfare, timeline.BEGIN_BUILD, key, "t", 10_000) == 1
    assert _eval(fanfare, timeline.BEGIN_BUILD, key, "u", 10_000) == 0
    for id_ in before:
        fanfare.redis.lpushx(key, id_)
    newest = sorted(set(read), reverse=True)[:cap]
    complete = int(len(newest) < cap)
    assert _eval(fanfare, timeline.FINISH_BUILD, key, "t", cap, 60, complete, "=", *newest) == 1
    everything = sorted({*before, *newest}, reverse=True)
    got, floor = _ids(fanfare, key)
    assert got == everything[:cap]
    assert floor == (0 if complete and len(everything) <= cap else got[-1])
    assert 0 < fanfare.redis.ttl(key) <= 60


def test_a_build_that_was_overtaken_changes_nothing(fanfare: Fanfare, key: str) -> None:
    """Without its token in place a builder neither finishes nor removes anything."""
    assert _eval(fanfare, timeline.FINISH_BUILD, key, "t", 10, 60, 1, "=", BASE) == 0
    assert not fanfare.redis.exists(key)
    _eval(fanfare, timeline.BEGIN_BUILD, key, "second", 10_000)
    assert _eval(fanfare, timeline.FINISH_BUILD, key, "first", 10, 60, 1, "=", BASE) == 0
    assert _eval(fanfare, timeline.ABANDON_BUILD, key, "first") == 0
    assert _elements(fanfare, key) == [b"=", b"Bsecond"]
    assert _eval(fanfare, timeline.COMPACT, key, 10) == 0
    assert _eval(fanfare, timeline.ABANDON_BUILD, key, "second") == 1


@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURE)
@given(log=IDS, base=IDS.filter(bool), complete=st.booleans(), cap=st.integers(1, 60))
def test_compaction_loses_nothing_that_the_list_is_complete_for(
    fanfare: Fanfare, key: str, log: list[int], base: list[int], complete: bool, cap: int
) -> None:
    """Above the floor all stays; below a base that is cut off nothing pretends to be complete."""
    fanfare.redis.delete(key)
    sorted_base = sorted(set(base), reverse=True)
    fanfare.redis.rpush(key, *log, "=7,12", *sorted_base, *(["0"] if complete else []))
    fanfare.redis.expire(key, 100)
    before, floor = _ids(fanfare, key)
    assert _eval(fanfare, timeline.COMPACT, key, cap) == 1
    elements = _elements(fanfare, key)
    assert elements[0] == b"=7,12"
    after, new_floor = _ids(fanfare, key)
    assert after == before[:cap]
    assert new_floor == (floor if len(before) <= cap else after[-1])
    assert 0 < fanfare.redis.ttl(key) <= 100


@pytest.mark.parametrize("elements", [["5", "4"], ["5", "="]])
def test_a_list_that_lost_its_base_is_deleted(
    fanfare: Fanfare, key: str, elements: list[str]
) -> None:
    """What was trimmed away cannot be guessed: the next reader builds it."""
    fanfare.redis.rpush(key, *elements)
    assert _eval(fanfare, timeline.COMPACT, key, 10) == timeline.DELETED
    assert not fanfare.redis.exists(key)


@settings(max_examples=40, deadline=None, suppress_health_check=FIXTURE)
@given(st.lists(st.one_of(st.integers(1, 12), st.just(0)), min_size=1, max_size=12))
def test_a_body_never_goes_backwards(fanfare: Fanfare, key: str, versions: list[int]) -> None:
    """Whatever the order of events, the newest version stays; a deletion (0) beats all."""
    fanfare.redis.set(key, bodies.lease("x"))
    for version in versions:
        value = bodies.body(version, b"text %d" % version) if version else bodies.DELETED
        fanfare.redis.eval(bodies.SET_IF_NEWER, 1, key, value, 60)
    newest = max(versions)
    expected = bodies.DELETED if 0 in versions else bodies.body(newest, b"text %d" % newest)
    assert fanfare.redis.get(key) == expected


def test_only_the_leases_holder_fills(fanfare: Fanfare, key: str) -> None:
    """A lease that an event replaced, or that another holds, fills nothing."""
    fanfare.redis.set(key, bodies.lease("mine"))
    assert fanfare.redis.eval(bodies.FILL, 1, key, bodies.lease("other"), b"1:x", 60) == 0
    assert fanfare.redis.eval(bodies.FILL, 1, key, bodies.lease("mine"), b"1:x", 60) == 1
    assert fanfare.redis.eval(bodies.FILL, 1, key, bodies.lease("mine"), b"1:y", 60) == 0
    assert fanfare.redis.get(key) == b"1:x"
    fanfare.redis.set(key, bodies.lease("again"))
    assert fanfare.redis.eval(bodies.FILL, 1, key, bodies.lease("again"), b"", 60) == 1
    assert not fanfare.redis.exists(key)
