"""Timeline lists: the cached timelines in Redis, their format, and how to read one.

A timeline list holds the ids of the newest tweets of one timeline. There are two kinds: a user's
home timeline, and an author list, which has one author's own tweets. Each is a Redis list of this
form:

    [log..., separator, base..., tail]

log: ids that the fan-out has pushed since the base was written, in any order, perhaps with
    duplicates.
separator: `=`, or `=7,12` with the ids of pulled authors. Tweets of pulled authors are not pushed
    to this list: its reader merges it with the lists of those authors.
base: ids, newest first. When it was written, it had every tweet of the timeline down to its last
    id.
tail: `0` if the timeline has no tweets older than the base. There is no tail if the timeline may
    have older tweets, which are in Postgres only. The tail is `B<build lease>` while a reader
    builds the list from Postgres; the list has no base then and cannot be read.

A reader takes a window, which is the first elements of the list, and merges the log with the part
of the base that it sees. The result is exact down to the last id of the base in the window: the
floor.

The fan-out pushes only to lists that exist, so users who do not read their timeline cost it
nothing. The next reader of an absent list builds it, and holds its build lease meanwhile. When the
log fills the window, the list is compacted: its log is sorted into its base. docs/timelines.md says
why timelines stay exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from core.feed.scripts import load_script
from core.feed.sharding import Shard, shard_of

SEPARATOR = b"="
COMPLETE = b"0"
"""The tail of a list whose base reaches down to the oldest tweet of the timeline."""
_LEASE = b"B"

TRIM_SLACK = 200
"""How far a list may exceed the cap, in elements, before the fan-out trims it. The cap is the
maximum number of ids in a base."""

# The scripts that change lists. The .lua files describe their arguments and results.
BEGIN_BUILD = load_script("begin_build")
FINISH_BUILD = load_script("finish_build")
ABANDON_BUILD = load_script("abandon_build")
COMPACT = load_script("compact_list")

# What the scripts return when they have changed a list. Only COMPACT returns DELETED.
REPLACED = 1
DELETED = 2


class ListKind(StrEnum):
    """Which tweets a list holds. The values are parts of the lists' keys."""

    HOME = "timeline"
    """The tweets of the users whom a user follows."""
    AUTHOR = "author"
    """The tweets of one author."""


@dataclass(frozen=True)
class TimelineList:
    """Identifies a timeline list by its user and its kind."""

    user_id: int
    kind: ListKind

    @property
    def shard(self) -> Shard:
        """The shard of the list's key."""
        return shard_of(self.user_id)


def home_list(user_id: int) -> TimelineList:
    """Return the list of a user's home timeline."""
    return TimelineList(user_id, ListKind.HOME)


def author_list(user_id: int) -> TimelineList:
    """Return the list of a user's own tweets."""
    return TimelineList(user_id, ListKind.AUTHOR)


def encode_separator(pulled: Sequence[int]) -> bytes:
    """Return the separator of a list that must be merged with the lists of the pulled authors."""
    return SEPARATOR + b",".join(b"%d" % author for author in pulled)


class WindowState(Enum):
    """What a reader can do with a window."""

    READABLE = auto()
    """Use its ids."""
    ABSENT = auto()
    """Build the list."""
    BUILDING = auto()
    """Read Postgres instead: another reader builds the list."""
    UNSORTED = auto()
    """Compact the list: its log fills the window, or its base was trimmed away."""
    SHORT = auto()
    """Take a longer window: this one ends at the separator."""


@dataclass(frozen=True)
class Window:
    """What the first elements of a list say about its timeline."""

    state: WindowState
    ids: Sequence[int] = ()
    """The ids of all tweets down to the floor, newest first, without duplicates."""
    floor: int = 0
    """The id down to which the ids are complete; 0 if the timeline has no older tweets."""
    build_lease: str = ""
    """The build lease, in the state BUILDING."""
    pulled: Sequence[int] = ()
    """The authors whose lists must be merged with this one, or were merged into it."""
    duplicates: int = 0
    """How many duplicates were dropped."""
    is_built: bool = field(default=False, compare=False)
    """Whether the list was absent, and the caller has built it."""


def read_window(elements: Sequence[bytes], *, is_whole: bool) -> Window:
    """Return what the first elements of a list say.

    Args:
        elements: the first elements.
        is_whole: whether they are all elements of the list.
    """
    if not elements:
        return Window(WindowState.ABSENT)
    at = next((i for i, element in enumerate(elements) if element.startswith(SEPARATOR)), None)
    if at is None:
        return Window(WindowState.UNSORTED)
    base = elements[at + 1 :]
    if not base:
        return Window(WindowState.UNSORTED if is_whole else WindowState.SHORT)
    last = base[-1]
    if last.startswith(_LEASE):
        return Window(WindowState.BUILDING, build_lease=last[len(_LEASE) :].decode())
    is_complete = last == COMPLETE
    floor = 0 if is_complete else int(last)
    ids = [int(id_) for id_ in (base[:-1] if is_complete else base)]
    duplicates = 0
    if at:
        log = [id_ for element in elements[:at] if (id_ := int(element)) >= floor]
        distinct = set(log).union(ids)
        duplicates = len(log) + len(ids) - len(distinct)
        ids = sorted(distinct, reverse=True)
    pulled = tuple(int(author) for author in elements[at][1:].split(b",") if author)
    return Window(WindowState.READABLE, ids, floor, pulled=pulled, duplicates=duplicates)


def newest_ids(elements: Sequence[bytes], count: int) -> tuple[list[int], int] | None:
    """Return the newest ids of a list and how many duplicates were dropped, or None.

    This is a faster read_window() for the usual case: no author is pulled, and the elements include
    either count ids of the base, or the whole base and the tail `0`. In every other case the result
    is None, and the caller has to use read_window().

    Args:
        elements: the first elements of the list.
        count: how many ids to return; fewer are returned only if the timeline has no more.
    """
    try:
        at = elements.index(SEPARATOR)
    except ValueError:
        return None
    base = list(elements[at + 1 : at + 1 + count])
    if base and base[-1] == COMPLETE:
        base.pop()
    elif len(base) < count or base[-1].startswith(_LEASE):
        return None
    ids = list(map(int, base))
    if not at:
        return ids, 0
    distinct = {*ids, *map(int, elements[:at])}
    return sorted(distinct, reverse=True)[:count], at + len(ids) - len(distinct)


def merge_windows(windows: Sequence[Window]) -> Window:
    """Merge readable windows into one window that is exact down to the highest of their floors.

    Args:
        windows: the window of a home timeline, and those of the pulled authors that it names.
    """
    floor = max(window.floor for window in windows)
    ids = {id_ for window in windows for id_ in window.ids if id_ >= floor}
    is_built = any(window.is_built for window in windows)
    return Window(
        WindowState.READABLE,
        sorted(ids, reverse=True),
        floor,
        pulled=windows[0].pulled,
        is_built=is_built,
    )
