"""Lists in Redis, made readable: built when absent, compacted when their log has grown.

The protocol is DESIGN's; why each step is where it is stands in docs/timelines.md.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence

from core.errors import UserNotFoundError
from core.feed.history import Moment
from core.feed.timeline_lists import TimelineList, Window, WindowState, home_list, read_window
from core.runtime.metrics import METRICS, Metric
from read_service.cache import Base, Cache
from read_service.store import Store

# A read that meets more obstacles than this (others compact, drop and build the lists meanwhile)
# is better served by Postgres.
TRIES = 8
# A read builds at most so many lists. Who follows more pulled authors whose lists are absent is
# served by Postgres meanwhile.
MAX_BUILDS = 32
# So many reads build at a time; others have their page from Postgres meanwhile, which costs it less
# than a list does. With all lists gone at once it is not drowned, and has connections left.
MAX_BUILDERS = 8


class Lists:
    """Reads windows of lists, and does what they need to be readable."""

    def __init__(self, cache: Cache, store: Store, length: int, build_seconds: float) -> None:
        self._cache = cache
        self._store = store
        self._length = length
        self._build_seconds = build_seconds
        self._builders = 0

    async def windows(
        self, lists: Sequence[TimelineList], length: int | None
    ) -> list[Window] | None:
        """Return readable windows on the first elements, at least so many (None: on all).

        None when a list cannot be read, at least not now. Raises UserNotFoundError for the home
        timeline of nobody, CacheUnavailableError and OtherHistoryError.
        """
        found: dict[TimelineList, Window] = {}
        lengths: dict[TimelineList, int | None] = dict.fromkeys(lists, length)
        for _ in range(TRIES):
            absent = []
            for list_, window in (await self._heads(lengths)).items():
                if window.state is WindowState.READABLE:
                    METRICS.add(Metric.DUPLICATE_DROPPED, window.duplicates)
                    found[list_] = window
                    del lengths[list_]
                elif window.state is WindowState.SHORT:
                    lengths[list_] = None
                elif window.state is WindowState.ABSENT:
                    absent.append(list_)
                elif window.state is WindowState.UNSORTED:
                    await self._cache.compact(list_, self._length)
                else:
                    await self._clear_if_abandoned(list_, window.lease)
                    return None
            if absent and not await self._built(absent):
                return None
            if not lengths:
                return [found[list_] for list_ in lists]
        return None

    async def _heads(
        self, lengths: Mapping[TimelineList, int | None]
    ) -> dict[TimelineList, Window]:
        heads = await self._cache.heads(list(lengths.items()))
        return {
            list_: read_window(elements, is_whole=length is None or len(elements) < length)
            for (list_, length), elements in zip(lengths.items(), heads, strict=True)
        }

    async def _built(self, lists: Sequence[TimelineList]) -> bool:
        """Build the lists; return False when one could not be, or others are at it."""
        if self._builders >= MAX_BUILDERS:
            return False
        self._builders += 1
        try:
            return await self._build(lists)
        finally:
            self._builders -= 1

    async def _build(self, lists: Sequence[TimelineList]) -> bool:
        token = f"{int(time.time())}-{secrets.token_hex(8)}"
        now = lists[:MAX_BUILDS]
        begun, moment = await self._cache.begin_builds(now, token)
        mine = [list_ for list_, is_mine in zip(now, begun, strict=True) if is_mine]
        if not mine:
            return False
        built: list[bool] = []
        try:
            if moment is None:
                METRICS.add(Metric.CHECKPOINT_MISSING)
                return False
            bases = await self._bases(mine, moment)
            built = await self._cache.finish_builds(bases, token, self._length)
            return len(built) == len(lists) and all(built)
        finally:
            if not built:
                await self._cache.abandon_builds(mine, token)

    async def _bases(
        self, lists: Sequence[TimelineList], moment: Moment
    ) -> dict[TimelineList, Base]:
        bases = {}
        authors = []
        for list_ in lists:
            if list_ != home_list(list_.user_id):
                authors.append(list_)
                continue
            ids, pulled = await self._store.newest_ids(list_.user_id, self._length, moment)
            if not ids and not await self._store.user_exists(list_.user_id):
                raise UserNotFoundError(list_.user_id)
            bases[list_] = Base(ids, pulled)
        if authors:
            written = await self._store.newest_ids_of_authors(
                [list_.user_id for list_ in authors], self._length, moment
            )
            bases |= {list_: Base(written[list_.user_id]) for list_ in authors}
        return bases

    async def _clear_if_abandoned(self, list_: TimelineList, token: str) -> None:
        # The short TTL of a list being built does this too, unless a reader's refresh of the
        # list before it made it long.
        begun = int(token.partition("-")[0])
        if time.time() - begun > self._build_seconds:
            removed = await self._cache.abandon_builds([list_], token)
            METRICS.add(Metric.BUILD_ABANDONED, removed)
