"""Reads timeline lists, which are built when absent and compacted when their log has grown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from core.feed.timeline_lists import TimelineList, Window, WindowState, read_window
from core.runtime.metrics import METRICS, Metric
from read_service.list_building import ListBuilder, ListNotReadyError
from read_service.protocols import TimelineCache

# Other processes may change the lists between two tries. After this many, Postgres answers.
MAX_TRIES = 8
# How many elements the first window has in addition to those of the page. They make room for the
# log, which holds the ids that were pushed since the last compaction.
LOG_ROOM = 64
_NOTHING: Mapping[TimelineList, WindowState] = MappingProxyType({})


def head_length(count: int) -> int:
    """Return how many first elements of a list usually have its newest ids, if count are wanted."""
    return count + LOG_ROOM


class ListReader:
    """Reads windows on lists: what their first elements say."""

    def __init__(self, cache: TimelineCache, builder: ListBuilder, length: int) -> None:
        """Read lists of at most length ids."""
        self._cache = cache
        self._builder = builder
        self.length = length
        """How many ids a list has at most."""

    async def windows(
        self,
        lists: Sequence[TimelineList],
        length: int | None,
        known: Mapping[TimelineList, WindowState] = _NOTHING,
    ) -> list[Window]:
        """Return a readable window on each list.

        Args:
            lists: which lists.
            length: how many elements a window has at least; None: all of them.
            known: in which state this call has found some of the lists already.

        Raises:
            ListNotReadyError: a list cannot be read now.
            UserNotFoundError: a list is the home timeline of a user who does not exist.
            CacheUnavailableError: Redis does not answer.
            OtherHistoryError: Redis is at another history than the database.
        """
        found: dict[TimelineList, Window] = {}
        lengths: dict[TimelineList, int | None] = dict.fromkeys(lists, length)
        to_build = [list_ for list_, state in known.items() if state is WindowState.ABSENT]
        to_compact = [list_ for list_, state in known.items() if state is WindowState.UNSORTED]
        for _ in range(MAX_TRIES):
            if not to_build and not to_compact:
                to_build, to_compact = await self._look(lengths, found)
            for list_ in to_compact:
                await self._compact(list_, lengths, found)
            if to_build:
                found |= await self._builder.build(to_build)
            lengths = {list_: n for list_, n in lengths.items() if list_ not in found}
            to_build, to_compact = [], []
            if not lengths:
                return [found[list_] for list_ in lists]
        raise ListNotReadyError

    async def _look(
        self, lengths: dict[TimelineList, int | None], found: dict[TimelineList, Window]
    ) -> tuple[list[TimelineList], list[TimelineList]]:
        """Add the lists that are readable to found; return those to build, and those to compact.

        Raises:
            ListNotReadyError: another reader builds a list.
        """
        absent, unsorted = [], []
        for list_, window in (await self._heads(lengths)).items():
            match window.state:
                case WindowState.READABLE:
                    _add_readable(found, list_, window)
                case WindowState.SHORT:
                    lengths[list_] = None
                case WindowState.ABSENT:
                    absent.append(list_)
                case WindowState.UNSORTED:
                    unsorted.append(list_)
                case WindowState.BUILDING:
                    await self._builder.clear_if_abandoned(list_, window.build_lease)
                    raise ListNotReadyError
        return absent, unsorted

    async def _compact(
        self,
        list_: TimelineList,
        lengths: Mapping[TimelineList, int | None],
        found: dict[TimelineList, Window],
    ) -> None:
        """Compact a list, and add it to found if it is readable then."""
        length = lengths[list_]
        elements = await self._cache.compact(list_, self.length, length)
        window = _window_of(elements, length)
        if window.state is WindowState.READABLE:
            _add_readable(found, list_, window)

    async def _heads(
        self, lengths: Mapping[TimelineList, int | None]
    ) -> dict[TimelineList, Window]:
        heads = await self._cache.heads(list(lengths.items()))
        return {
            list_: _window_of(elements, length)
            for (list_, length), elements in zip(lengths.items(), heads, strict=True)
        }


def _window_of(elements: Sequence[bytes], length: int | None) -> Window:
    """Return what elements of a list say; length: how many were asked for, None for all."""
    return read_window(elements, is_whole=length is None or len(elements) < length)


def _add_readable(found: dict[TimelineList, Window], list_: TimelineList, window: Window) -> None:
    METRICS.add(Metric.DUPLICATE_DROPPED, window.duplicates)
    found[list_] = window
