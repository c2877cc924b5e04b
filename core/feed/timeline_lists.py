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
from enum import Enum, StrEnum, auto

from core.feed.sharding import shard_of


class ListKind(StrEnum):
    """The kinds of lists, as they are called in the keys of Redis."""

    HOME = "timeline"
    """The home timeline of a user."""
    AUTHOR = "author"
    """The own tweets of an author."""


SEPARATOR = b"="
COMPLETE = b"0"
_BUILDING = b"B"

# The log may outgrow the cap by so much before the fan-out trims the list.
TRIM_SLACK = 200

# Sorting ids as strings: they exceed the 53 bits that Lua's numbers hold.
_MERGE = """
local function merge(ids, cap, complete)
    table.sort(ids, function(a, b) return #a > #b or (#a == #b and a > b) end)
    local merged, last = {}, nil
    for _, id in ipairs(ids) do
        if id ~= last then
            if #merged == cap then complete = false break end
            merged[#merged + 1] = id
            last = id
        end
    end
    if complete then merged[#merged + 1] = '0' end
    return merged
end
local function replace(key, separator, elements)
    redis.call('DEL', key)
    redis.call('RPUSH', key, separator)
    for i = 1, #elements, 1000 do
        redis.call('RPUSH', key, unpack(elements, i, math.min(i + 999, #elements)))
    end
end
"""

# ARGV: token, TTL in milliseconds. Returns 1 when the caller is the builder now.
BEGIN_BUILD = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('RPUSH', KEYS[1], '=', 'B' .. ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""

# ARGV: token, cap, TTL in seconds, 1 if the ids are all there are, the separator, then the ids,
# newest first, once each and no more than the cap. What was pushed while the builder read is in the
# log, and joins what it read; where nothing was, as mostly, there is nothing to sort.
FINISH_BUILD = (
    _MERGE
    + """
if redis.call('LINDEX', KEYS[1], -1) ~= 'B' .. ARGV[1] then return 0 end
local ids = {}
for i = 6, #ARGV do ids[#ids + 1] = ARGV[i] end
for _, element in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
    if string.sub(element, 1, 1) == '=' then break end
    ids[#ids + 1] = element
end
if #ids > #ARGV - 5 then
    ids = merge(ids, tonumber(ARGV[2]), ARGV[4] == '1')
elseif ARGV[4] == '1' then
    ids[#ids + 1] = '0'
end
replace(KEYS[1], ARGV[5], ids)
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""
)

# ARGV: token. For a builder that gives up, and for a reader who finds one that died.
ABANDON_BUILD = """
if redis.call('LINDEX', KEYS[1], -1) ~= 'B' .. ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

# ARGV: cap. Sorts the log into the base. Ids older than a base that is cut off are dropped: it is
# not complete down there, and Postgres is. A list that lost its base (unread, it outgrew its cap)
# is deleted, to be built anew. Returns 1 for a list that was compacted, 2 for one deleted.
COMPACT = (
    _MERGE
    + """
local elements = redis.call('LRANGE', KEYS[1], 0, -1)
local tail = elements[#elements]
if not tail or string.sub(tail, 1, 1) == 'B' then return 0 end
local separator, ids, floor = nil, {}, nil
for _, element in ipairs(elements) do
    if string.sub(element, 1, 1) == '=' then separator = element
    elseif element ~= '0' then ids[#ids + 1] = element end
end
if not separator or tail == separator then redis.call('DEL', KEYS[1]) return 2 end
if tail ~= '0' then
    local kept = {}
    for _, id in ipairs(ids) do
        if #id > #tail or (#id == #tail and id >= tail) then kept[#kept + 1] = id end
    end
    ids = kept
end
local ttl = redis.call('PTTL', KEYS[1])
replace(KEYS[1], separator, merge(ids, tonumber(ARGV[1]), tail == '0'))
if ttl > 0 then redis.call('PEXPIRE', KEYS[1], ttl) end
return 1
"""
)


# What FINISH_BUILD and COMPACT answer.
REPLACED = 1
DELETED = 2


@dataclass(frozen=True)
class TimelineList:
    """Which list: a user's home timeline, or an author's own tweets."""

    user_id: int
    kind: ListKind

    @property
    def shard(self) -> int:
        """The shard that the list is in."""
        return shard_of(self.user_id)


def home_list(user_id: int) -> TimelineList:
    """Return the list of a user's home timeline."""
    return TimelineList(user_id, ListKind.HOME)


def author_list(user_id: int) -> TimelineList:
    """Return the list of a user's own tweets."""
    return TimelineList(user_id, ListKind.AUTHOR)


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
    build_lease: str = ""
    """The builder's lease, while the list is being built."""
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
        return Window(WindowState.BUILDING, build_lease=last[1:].decode())
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
