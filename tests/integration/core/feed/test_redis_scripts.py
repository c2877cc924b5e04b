"""The Lua scripts, with a real Valkey."""

from __future__ import annotations

import uuid
from typing import cast

import pytest
from helpers.fanfare import Fanfare
from hypothesis import given, settings
from hypothesis import strategies as st

from core.feed import timeline_lists as timeline
from core.feed.timeline_lists import WindowState, read_window
from core.feed.tweet_cache import DELETED, FILL, SET_IF_NEWER, encode_entry, encode_lease

# Above 2^53, neighbouring ids are the same number in Lua, so scripts must compare ids as strings.
BASE = 2**62
IDS = st.lists(st.integers(BASE, BASE + 40), max_size=25)


@pytest.fixture
def key(fanfare: Fanfare) -> str:
    """Return a key that no other test uses."""
    name = f"test:{uuid.uuid4()}"
    fanfare.redis.delete(name)
    return name


def _elements(fanfare: Fanfare, key: str) -> list[bytes]:
    return cast("list[bytes]", fanfare.redis.lrange(key, 0, -1))


def _ids(fanfare: Fanfare, key: str) -> tuple[list[int], int]:
    window = read_window(_elements(fanfare, key), is_whole=True)
    assert window.state is WindowState.READABLE
    return list(window.ids), window.floor


def _eval(fanfare: Fanfare, script: str, key: str, *arguments: object) -> object:
    return fanfare.redis.eval(script, 1, key, *(str(argument) for argument in arguments))


@settings(max_examples=60)
@given(before=IDS, read=IDS, cap=st.integers(1, 30))
def test_a_build_has_the_ids_that_were_read_and_those_that_were_pushed(
    fanfare: Fanfare, key: str, before: list[int], read: list[int], cap: int
) -> None:
    """The base has the newest of these ids, sorted, once each; it ends with 0 if it is complete."""
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


def test_a_builder_that_lost_its_lease_changes_nothing(fanfare: Fanfare, key: str) -> None:
    """It neither writes a base nor deletes the list of another builder."""
    assert _eval(fanfare, timeline.FINISH_BUILD, key, "t", 10, 60, 1, "=", BASE) == 0
    assert not fanfare.redis.exists(key)
    _eval(fanfare, timeline.BEGIN_BUILD, key, "second", 10_000)
    assert _eval(fanfare, timeline.FINISH_BUILD, key, "first", 10, 60, 1, "=", BASE) == 0
    assert _eval(fanfare, timeline.ABANDON_BUILD, key, "first") == 0
    assert _elements(fanfare, key) == [b"=", b"Bsecond"]
    assert _eval(fanfare, timeline.COMPACT, key, 10) == 0
    assert _eval(fanfare, timeline.ABANDON_BUILD, key, "second") == 1


@settings(max_examples=60)
@given(log=IDS, base=IDS.filter(bool), complete=st.booleans(), cap=st.integers(1, 60))
def test_compaction_keeps_the_timeline(
    fanfare: Fanfare, key: str, log: list[int], base: list[int], complete: bool, cap: int
) -> None:
    """The newest ids stay, up to the cap, and no id below the old floor gets into the base."""
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


@pytest.mark.parametrize("tail", [["0"], []])
@pytest.mark.parametrize("oldest", [0, 45, 250])
def test_a_long_log_that_overlaps_the_base_is_sorted_into_it(
    fanfare: Fanfare, key: str, oldest: int, tail: list[str]
) -> None:
    """The log and its overlap with the base may be longer than what the script reads at once."""
    base = range(BASE + 400, BASE + 100, -2)
    log = [BASE + oldest + number * 7 % 600 for number in range(600)]
    fanfare.redis.rpush(key, *log, "=", *base, *tail)
    before, floor = _ids(fanfare, key)
    assert _eval(fanfare, timeline.COMPACT, key, 1000) == 1
    assert _elements(fanfare, key)[0] == b"="
    assert _ids(fanfare, key) == (before, floor)


@pytest.mark.parametrize("elements", [["5", "4"], ["5", "="]])
def test_a_list_that_lost_its_base_is_deleted(
    fanfare: Fanfare, key: str, elements: list[str]
) -> None:
    """Compacting a list whose base was trimmed away deletes it, so that it is built again."""
    fanfare.redis.rpush(key, *elements)
    assert _eval(fanfare, timeline.COMPACT, key, 10) == timeline.DELETED
    assert not fanfare.redis.exists(key)


@settings(max_examples=40)
@given(st.lists(st.one_of(st.integers(1, 12), st.just(0)), min_size=1, max_size=12))
def test_an_older_version_never_replaces_a_newer(
    fanfare: Fanfare, key: str, versions: list[int]
) -> None:
    """The newest version stays, whatever the order of writes; a deletion (here 0) is the newest."""
    entries = {0: DELETED} | {n: encode_entry(n, b"text %d" % n) for n in range(1, 13)}
    fanfare.redis.set(key, encode_lease("x"))
    for version in versions:
        fanfare.redis.eval(SET_IF_NEWER, 1, key, entries[version], 60)
    newest = 0 if 0 in versions else max(versions)
    assert fanfare.redis.get(key) == entries[newest]


def test_only_the_holder_of_the_lease_fills_an_entry(fanfare: Fanfare, key: str) -> None:
    """Without the lease, or with that of another reader, the entry stays as it is."""
    mine = encode_lease("mine")
    fanfare.redis.set(key, mine)
    assert fanfare.redis.eval(FILL, 1, key, encode_lease("other"), 60, b"1:x") == 0
    assert fanfare.redis.eval(FILL, 1, key, mine, 60, b"1:x") == 1
    assert fanfare.redis.eval(FILL, 1, key, mine, 60, b"1:y") == 0
    assert fanfare.redis.get(key) == b"1:x"


def test_an_empty_entry_gives_the_lease_up(fanfare: Fanfare, key: str) -> None:
    """The key is deleted, so another reader can take the lease without waiting for its TTL."""
    mine = encode_lease("mine")
    fanfare.redis.set(key, mine)
    assert fanfare.redis.eval(FILL, 1, key, mine, 60, b"") == 1
    assert not fanfare.redis.exists(key)
