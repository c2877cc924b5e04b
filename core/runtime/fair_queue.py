"""A queue in which callers take turns, so that nobody waits behind all the work of another.

Each item has a path of groups, such as an address and then a user of that address. The groups take
turns, and within a group the groups below it do. So an item waits for one turn of each other group,
however many items that group has.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

Item = TypeVar("Item")
Path = tuple[object, ...]


class FairQueue(Generic[Item]):
    """Items, and groups of items in the order of their turns."""

    __slots__ = ("_groups", "_items", "count")

    def __init__(self) -> None:
        self.count = 0
        """How many items there are, with those of all groups."""
        self._items: deque[Item] = deque()
        self._groups: OrderedDict[object, FairQueue[Item]] = OrderedDict()

    @property
    def largest(self) -> int:
        """How many items the largest group has; without groups, how many items there are."""
        return max((group.count for group in self._groups.values()), default=self.count)

    def add(self, path: Path, item: Item) -> None:
        """Add an item behind the others of the group at this path."""
        self.count += 1
        if path:
            self._groups.setdefault(path[0], FairQueue()).add(path[1:], item)
        else:
            self._items.append(item)

    def remove(self, path: Path, item: Item) -> None:
        """Remove an item that was added at this path."""
        self.count -= 1
        if path:
            self._groups[path[0]].remove(path[1:], item)
            self._drop_if_empty(path[0])
        else:
            self._items.remove(item)

    def remove_next(self) -> Item:
        """Remove and return the item whose turn it is.

        Items that were added right here, with an empty path, come before those of groups.
        """
        self.count -= 1
        if self._items:
            return self._items.popleft()
        key, group = next(iter(self._groups.items()))
        self._groups.move_to_end(key)
        item = group.remove_next()
        self._drop_if_empty(key)
        return item

    def remove_newest_of_largest(self, path: Path) -> Item:
        """Remove and return the newest item of the group that has the most.

        Among groups of the same size it is the one on the path, so that earlier items may stay.
        """
        self.count -= 1
        if not self._groups:
            return self._items.pop()
        key = max(self._groups, key=lambda key: (self._groups[key].count, key in path[:1]))
        item = self._groups[key].remove_newest_of_largest(path[1:] if key in path[:1] else ())
        self._drop_if_empty(key)
        return item

    def _drop_if_empty(self, key: object) -> None:
        if not self._groups[key].count:
            del self._groups[key]
