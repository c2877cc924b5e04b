"""Reading windows of timeline lists."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.feed.timeline_lists import (
    Window,
    WindowState,
    encode_separator,
    merge_windows,
    newest_ids,
    read_window,
)

IDS = st.lists(st.integers(1, 60), unique=True, max_size=30)


def _elements(log: list[int], base: list[int], tail: bytes | None) -> list[bytes]:
    middle = [b"=", *(b"%d" % id_ for id_ in sorted(base, reverse=True))]
    return [*(b"%d" % id_ for id_ in log), *middle, *([tail] if tail else [])]


def test_the_states_of_a_window() -> None:
    """The state follows from the first elements and from whether they are the whole list."""
    assert read_window([], is_whole=True).state is WindowState.ABSENT
    assert read_window([b"=", b"0"], is_whole=True) == Window(WindowState.READABLE, [], 0)
    assert read_window([b"5", b"4"], is_whole=False).state is WindowState.UNSORTED
    assert read_window([b"5", b"="], is_whole=False).state is WindowState.SHORT
    assert read_window([b"5", b"="], is_whole=True).state is WindowState.UNSORTED
    building = read_window([b"5", b"=", b"Btoken"], is_whole=True)
    assert (building.state, building.build_lease) == (WindowState.BUILDING, "token")


@given(log=st.lists(st.integers(1, 60), max_size=20), base=IDS.filter(bool), complete=st.booleans())
def test_a_whole_list_is_exact_down_to_its_floor(
    log: list[int], base: list[int], complete: bool
) -> None:
    """The window has all ids of log and base down to the floor, sorted and without duplicates."""
    elements = _elements(log, base, b"0" if complete else None)
    window = read_window(elements, is_whole=True)
    floor = 0 if complete else min(base)
    expected = sorted({id_ for id_ in [*log, *base] if id_ >= floor}, reverse=True)
    assert (window.floor, list(window.ids)) == (floor, expected)


@given(log=IDS, base=IDS.filter(bool), cut=st.integers(1, 70))
def test_every_window_agrees_with_the_whole_list(log: list[int], base: list[int], cut: int) -> None:
    """A shorter window has the same ids as the whole list, down to the floor of the window."""
    elements = _elements(log, base, b"0")
    window = read_window(elements[:cut], is_whole=cut > len(elements))
    if window.state is WindowState.READABLE:
        everything = {*log, *base}
        expected = {id_ for id_ in everything if id_ >= window.floor and id_ in base}
        expected |= {id_ for id_ in log if id_ >= window.floor}
        assert list(window.ids) == sorted(expected, reverse=True)


@given(
    log=st.lists(st.integers(1, 60), max_size=8),
    base=IDS,
    tail=st.sampled_from((b"0", None, b"Btoken")),
    count=st.integers(1, 25),
    room=st.integers(0, 8),
)
def test_newest_ids_agrees_with_read_window(
    log: list[int], base: list[int], tail: bytes | None, count: int, room: int
) -> None:
    """Where newest_ids() has a result, read_window() has the same ids."""
    # A list has no base while it is being built.
    elements = _elements(log, [] if tail == b"Btoken" else base, tail)[: count + room]
    found = newest_ids(elements, count)
    if found is not None:
        ids, duplicates = found
        window = read_window(elements, is_whole=len(elements) < count + room)
        assert window.state is WindowState.READABLE
        assert ids == list(window.ids)[:count]
        assert len(ids) == count or window.floor == 0
        assert duplicates <= len(log) + len(base) - len({*log, *base})
    elif tail == b"0" and len(log) <= room and len(log) + len(base) + 1 < count + room:
        raise AssertionError("newest_ids() has no result for a whole and complete list")


def test_newest_ids_leaves_pulled_authors_to_read_window() -> None:
    """There is no result for a list that must be merged with others."""
    assert newest_ids([encode_separator([7]), b"5", b"4", b"0"], 2) is None


@given(lists=st.lists(st.tuples(IDS, IDS.filter(bool), st.booleans()), min_size=1, max_size=4))
def test_merged_windows_are_exact_down_to_the_highest_floor(
    lists: list[tuple[list[int], list[int], bool]],
) -> None:
    """The result has the ids of all lists down to the highest floor, and none below it."""
    windows = [
        read_window(_elements(log, base, b"0" if complete else None), is_whole=True)
        for log, base, complete in lists
    ]
    merged = merge_windows(windows)
    assert merged.floor == max(window.floor for window in windows)
    ids = {id_ for window in windows for id_ in window.ids}
    assert list(merged.ids) == sorted((id_ for id_ in ids if id_ >= merged.floor), reverse=True)


def test_the_separator_names_the_pulled_authors() -> None:
    """A window has the pulled authors that were encoded in the separator."""
    assert read_window([b"9", encode_separator([7, 12]), b"5", b"0"], is_whole=True).pulled == (
        7,
        12,
    )
    assert read_window([encode_separator([]), b"0"], is_whole=True).pulled == ()
