"""What a window of a timeline list says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.feed.timeline_lists import Window, WindowState, merged, newest, read_window, separator

IDS = st.lists(st.integers(1, 60), unique=True, max_size=30)


def _elements(log: list[int], base: list[int], tail: bytes | None) -> list[bytes]:
    middle = [b"=", *(b"%d" % id_ for id_ in sorted(base, reverse=True))]
    return [*(b"%d" % id_ for id_ in log), *middle, *([tail] if tail else [])]


def test_the_states_of_a_window() -> None:
    """Each shape of a head is told from the others."""
    assert read_window([], whole=True).state is WindowState.ABSENT
    assert read_window([b"=", b"0"], whole=True) == Window(WindowState.READABLE, [], 0)
    assert read_window([b"5", b"4"], whole=False).state is WindowState.UNSORTED
    assert read_window([b"5", b"="], whole=False).state is WindowState.SHORT
    assert read_window([b"5", b"="], whole=True).state is WindowState.UNSORTED
    building = read_window([b"5", b"=", b"Btoken"], whole=True)
    assert (building.state, building.build_lease) == (WindowState.BUILDING, "token")


@given(log=st.lists(st.integers(1, 60), max_size=20), base=IDS.filter(bool), complete=st.booleans())
def test_a_whole_list_is_exact_down_to_its_floor(
    log: list[int], base: list[int], complete: bool
) -> None:
    """Log and base merge sorted, without duplicates, and nothing below the floor shows."""
    elements = _elements(log, base, b"0" if complete else None)
    window = read_window(elements, whole=True)
    floor = 0 if complete else min(base)
    expected = sorted({id_ for id_ in [*log, *base] if id_ >= floor}, reverse=True)
    assert (window.floor, list(window.ids)) == (floor, expected)


@given(log=IDS, base=IDS.filter(bool), cut=st.integers(1, 70))
def test_every_window_agrees_with_the_whole_list(log: list[int], base: list[int], cut: int) -> None:
    """Whatever a shorter window shows, the whole list shows too, down to the window's floor."""
    elements = _elements(log, base, b"0")
    window = read_window(elements[:cut], whole=cut > len(elements))
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
def test_the_newest_ids_are_those_of_the_window(
    log: list[int], base: list[int], tail: bytes | None, count: int, room: int
) -> None:
    """Where the common case has an answer, it is the general one's."""
    # A list that is being built has no base yet.
    elements = _elements(log, [] if tail == b"Btoken" else base, tail)[: count + room]
    found = newest(elements, count)
    if found is not None:
        ids, twice = found
        window = read_window(elements, whole=len(elements) < count + room)
        assert window.state is WindowState.READABLE
        assert ids == list(window.ids)[:count]
        assert len(ids) == count or window.floor == 0
        assert twice <= len(log) + len(base) - len({*log, *base})
    elif tail == b"0" and len(log) <= room and len(log) + len(base) + 1 < count + room:
        raise AssertionError("a whole and complete list has its newest ids")


def test_a_list_with_pulled_authors_is_no_common_case() -> None:
    """Its separator says that other lists are to be merged."""
    assert newest([separator([7]), b"5", b"4", b"0"], 2) is None


@given(lists=st.lists(st.tuples(IDS, IDS.filter(bool), st.booleans()), min_size=1, max_size=4))
def test_merged_windows_are_exact_down_to_the_highest_floor(
    lists: list[tuple[list[int], list[int], bool]],
) -> None:
    """What any list shows is there down to where the first of them ends, and nothing below."""
    windows = [
        read_window(_elements(log, base, b"0" if complete else None), whole=True)
        for log, base, complete in lists
    ]
    together = merged(windows)
    assert together.floor == max(window.floor for window in windows)
    shown = {id_ for window in windows for id_ in window.ids}
    assert list(together.ids) == sorted(
        (id_ for id_ in shown if id_ >= together.floor), reverse=True
    )


def test_the_separator_names_the_pulled_authors() -> None:
    """What is written is what is read."""
    assert read_window([b"9", separator([7, 12]), b"5", b"0"], whole=True).pulled == (7, 12)
    assert read_window([separator([]), b"0"], whole=True).pulled == ()
