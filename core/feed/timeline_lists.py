"""The timeline lists in Redis: their shape, and what one window of one says.

A list is `[log…, separator, base…, tail]`. The fan-out pushes ids into the log, in any order and
perhaps twice. The base is sorted, newest first, and complete down to its last id. The tail says
what is below: `0` nothing, no tail what Postgres has; `B<token>` means that a reader is building
the list and nobody may read it. The separator is `=`, or `=7,12`: the pulled authors, whose own
lists the reader merges with this one. A list that is not there is built by its next reader;
pushes touch existing lists only, so viewers who do not read cost nothing.

There are two kinds: a user's home timeline, and an author's own tweets, which is the same
structure with the author as the only follower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from core.feed.scripts import load_script
from core.feed.sharding import shard_of

# The kinds of lists.
HOME = "timeline"
AUTHOR = "author"

SEPARATOR = b"="
COMPLETE = b"0"
_BUILDING = b"B"

# The log may outgrow the cap by so much before the fan-out trims the list.
TRIM_SLACK = 200

# The scripts that change lists. Their arguments and results are described in the .lua files.
BEGIN_BUILD = load_script("begin_build")
FINISH_BUILD = load_script("merge", "finish_build")
ABANDON_BUILD = load_script("abandon_build")
COMPACT = load_script("merge", "compact_list")

# What FINISH_BUILD and COMPACT answer.
REPLACED = 1
DELETED = 2


@dataclass(frozen=True)
class TimelineList:
    """Which list: a user's home timeline, or an author's own tweets."""

    user_id: int
    kind: str

    @property
    def shard(self) -> int:
        """The shard that the list is in."""
        return shard_of(self.user_id)


def home_list(user_id: int) -> TimelineList:
    """Return the list of a user's home timeline."""
    return TimelineList(user_id, HOME)


def author_list(user_id: int) -> TimelineList:
    """Return the list of a user's own tweets."""
    return TimelineList(user_id, AUTHOR)


def separator(pulled: Sequence[int]) -> bytes:
    """Return the separator of a list with which those of the pulled authors are merged."""
    return SEPARATOR + b",".join(b"%d" % author for author in pulled)


class WindowState(Enum):
    """What a reader can do with a window."""

    READABLE = auto()
    ABSENT = auto()
    BUILDING = auto()
    UNSORTED = auto()  # the log fills the window, or the list has no base: compact it
    SHORT = auto()  # the window ends at the separator: read a longer one


@dataclass(frozen=True)
class Window:
    """What the head of a list says."""

    state: WindowState
    ids: Sequence[int] = ()
    """Newest first, without duplicates, none below the floor; exact down to it."""
    floor: int = 0
    """How far down the ids are complete; 0: to the very first tweet."""
    token: str = ""
    """Of the builder, when building."""
    pulled: Sequence[int] = ()
    """The authors whose lists are merged with this one."""
    duplicates: int = 0
    """How many ids the list holds a second time."""


def read_window(elements: Sequence[bytes], *, whole: bool) -> Window:
    """Return what the first elements of a list say; whole: there are no more."""
    if not elements:
        return Window(WindowState.ABSENT)
    at = next((i for i, element in enumerate(elements) if element.startswith(SEPARATOR)), None)
    if at is None:
        return Window(WindowState.UNSORTED)
    base = elements[at + 1 :]
    if not base:
        return Window(WindowState.UNSORTED if whole else WindowState.SHORT)
    last = base[-1]
    if last.startswith(_BUILDING):
        return Window(WindowState.BUILDING, token=last[1:].decode())
    complete = last == COMPLETE
    floor = 0 if complete else int(last)
    ids = [int(id_) for id_ in (base[:-1] if complete else base)]
    duplicates = 0
    if at:
        log = [id_ for element in elements[:at] if (id_ := int(element)) >= floor]
        distinct = set(log).union(ids)
        duplicates = len(log) + len(ids) - len(distinct)
        ids = sorted(distinct, reverse=True)
    pulled = tuple(int(author) for author in elements[at][1:].split(b",") if author)
    return Window(WindowState.READABLE, ids, floor, pulled=pulled, duplicates=duplicates)


def newest(elements: Sequence[bytes], count: int) -> tuple[list[int], int] | None:
    """Return the newest ids of a list from its first elements, and how many were there twice.

    At most count ids, fewer only if the list has no more. For the common case alone, in which the
    base reaches so far and no author is pulled; None in every other, for which read_window is.
    """
    try:
        at = elements.index(SEPARATOR)
    except ValueError:
        return None
    base = list(elements[at + 1 : at + 1 + count])
    if base and base[-1] == COMPLETE:
        base.pop()
    elif len(base) < count or base[-1].startswith(_BUILDING):
        return None
    ids = list(map(int, base))
    if not at:
        return ids, 0
    distinct = {*ids, *map(int, elements[:at])}
    return sorted(distinct, reverse=True)[:count], at + len(ids) - len(distinct)


def merged(windows: Sequence[Window]) -> Window:
    """Return what readable windows say together: exact down to the highest of their floors."""
    floor = max(window.floor for window in windows)
    ids = {id_ for window in windows for id_ in window.ids if id_ >= floor}
    return Window(WindowState.READABLE, sorted(ids, reverse=True), floor)
