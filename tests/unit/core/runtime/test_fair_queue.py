"""A queue whose groups take turns, and of which the largest group loses its newest item."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from core.runtime.fair_queue import FairQueue, Path

PATHS = st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"))
ITEMS = st.lists(PATHS, max_size=40)


def _filled(paths: Sequence[Path]) -> FairQueue[int]:
    """Return a queue with an item for each path; an item is the number of its path."""
    queue = FairQueue[int]()
    for item, path in enumerate(paths):
        queue.add(path, item)
    return queue


@given(ITEMS)
def test_groups_take_turns_at_each_level(paths: list[Path]) -> None:
    """Between two turns of a group, each other group has one, and in a group the first is first."""
    queue = _filled(paths)
    order = [queue.remove_next() for _ in paths]
    assert sorted(order) == list(range(len(paths)))
    assert queue.count == 0
    _assert_turns([paths[item] for item in order])
    by_path = defaultdict(list)
    for item in order:
        by_path[paths[item]].append(item)
    assert all(items == sorted(items) for items in by_path.values())


def _assert_turns(order: list[Path]) -> None:
    """Check that no group has two turns while another one waits."""
    left = Counter(path[0] for path in order if path)
    waiting = set(left)
    for path in order:
        if path:
            assert path[0] in waiting
            waiting.remove(path[0])
            left[path[0]] -= 1
            waiting = waiting or {key for key in left if left[key]}
    for key in left:
        _assert_turns([path[1:] for path in order if path and path[0] == key])


@given(ITEMS, st.data())
def test_any_item_can_be_removed(paths: list[Path], data: st.DataObject) -> None:
    """The others keep their turns, and an empty group leaves nothing behind."""
    queue = _filled(paths)
    gone = data.draw(st.sets(st.sampled_from(range(len(paths)))) if paths else st.just(set()))
    for item in gone:
        queue.remove(paths[item], item)
    left = [item for item in range(len(paths)) if item not in gone]
    assert queue.count == len(left)
    order = [queue.remove_next() for _ in left]
    assert sorted(order) == left
    assert not queue._groups


@given(ITEMS.filter(bool))
def test_the_largest_group_loses_its_newest_item(paths: list[Path]) -> None:
    """This holds at each level; among groups of the same size it is the newcomer's."""
    queue = _filled(paths)
    newcomer = paths[-1]
    first = Counter(path[0] for path in paths)
    assert queue.largest == max(first.values())
    item = queue.remove_newest_of_largest(newcomer)
    loser = paths[item]
    second = Counter(path for path in paths if path[0] == loser[0])
    assert first[loser[0]] == max(first.values())
    assert second[loser] == max(second.values())
    assert item == max(each for each, path in enumerate(paths) if path == loser)
    if first[newcomer[0]] == first[loser[0]]:
        assert loser[0] == newcomer[0]
        if second[newcomer] == second[loser]:
            assert item == len(paths) - 1


def test_items_without_a_group_come_first_and_go_last() -> None:
    """They are served before all groups, and are removed only if nothing else is left."""
    paths: list[Path] = [("a", "x"), (), ("b", "x"), ()]
    queue = _filled(paths)
    assert [queue.remove_next() for _ in paths] == [1, 3, 0, 2]
    queue = _filled(paths)
    assert [queue.remove_newest_of_largest(()) for _ in paths] == [0, 2, 3, 1]
