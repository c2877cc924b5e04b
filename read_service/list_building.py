"""List building: a timeline list that is absent from Redis is built from Postgres by a reader.

docs/timelines.md, "Building a list", says why the steps have this order.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence

from core.errors import UserNotFoundError
from core.feed.history import Moment
from core.feed.timeline_lists import ListKind, TimelineList, Window, WindowState
from core.runtime.metrics import METRICS, Metric
from read_service.freshness import ANY, AppliedFreshness
from read_service.protocols import (
    CacheUnavailableError,
    Leased,
    ListBase,
    TimelineCache,
    TimelineStore,
)

# Longer than any build takes. After this time another reader may take a list from its builder.
BUILD_SECONDS = 10.0
# How many lists one read builds at most. If more are absent, because a reader follows many pull
# authors, the page comes from Postgres until later reads have built the rest.
MAX_LISTS_PER_BUILD = 32
# How many reads of this process build at a time. The others get their pages from Postgres, which
# costs Postgres less than a build. So it is not overloaded when all lists are lost at once. Builds
# leave at least one of the connections for expensive queries to those pages.
MAX_BUILDERS = 2


class ListNotReadyError(CacheUnavailableError):
    """A list cannot be read or built now; Postgres must answer."""


class ListBuilder:
    """Builds lists, and removes those whose builder has died."""

    def __init__(
        self,
        cache: TimelineCache,
        store: TimelineStore,
        length: int,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Build lists of at most length ids; clock: seconds since the epoch."""
        self._cache = cache
        self._store = store
        self._length = length
        self._clock = clock
        self._builders = 0

    async def build(self, lists: Sequence[TimelineList]) -> dict[TimelineList, Window]:
        """Build absent lists, and return a window on the whole base of each.

        What was pushed to a list meanwhile is not in its window.

        Raises:
            ListNotReadyError: some could not be built, because another reader is building them, too
                many builds are under way, the fan-out dropped them, or a checkpoint is absent.
            UserNotFoundError: a list is the home timeline of a user who does not exist.
        """
        if self._builders >= MAX_BUILDERS:
            raise ListNotReadyError
        self._builders += 1
        try:
            built = await self._build(lists[:MAX_LISTS_PER_BUILD])
        finally:
            self._builders -= 1
        if len(built) < len(lists):
            raise ListNotReadyError
        return {list_: self._window(base) for list_, base in built.items()}

    async def clear_if_abandoned(self, list_: TimelineList, build_lease: str) -> None:
        """Remove a list whose build has taken too long.

        A list that is being built has a short TTL, but a touch by another reader may extend it.
        """
        begun = int(build_lease.partition("-")[0])
        if self._clock() - begun > BUILD_SECONDS:
            removed = await self._cache.abandon_builds([list_], build_lease)
            METRICS.add(Metric.BUILD_ABANDONED, removed)

    async def _build(self, lists: Sequence[TimelineList]) -> dict[TimelineList, ListBase]:
        """Return those of the lists that have been built, with their bases."""
        build_lease = f"{int(self._clock())}-{secrets.token_hex(8)}"
        leased = await self._cache.begin_builds(lists, build_lease)
        if not leased.taken:
            raise ListNotReadyError
        try:
            return await self._build_leased(leased, build_lease)
        except BaseException:
            # BaseException, so that a cancelled read gives the lists up too.
            await self._cache.abandon_builds(leased.taken, build_lease)
            raise

    async def _build_leased(
        self, leased: Leased[TimelineList], build_lease: str
    ) -> dict[TimelineList, ListBase]:
        if leased.applied is None:
            METRICS.add(Metric.CHECKPOINT_MISSING)
            raise ListNotReadyError
        bases = await self._read_bases(leased.taken, leased.applied)
        built = await self._cache.finish_builds(bases, build_lease, self._length)
        return {list_: bases[list_] for list_ in built}

    async def _read_bases(
        self, lists: Sequence[TimelineList], applied: Moment
    ) -> dict[TimelineList, ListBase]:
        freshness = AppliedFreshness(applied)
        bases = {}
        authors = []
        for list_ in lists:
            if list_.kind is ListKind.AUTHOR:
                authors.append(list_)
                continue
            base = await self._store.newest_ids(list_.user_id, self._length, freshness)
            if not base.ids and not await self._store.user_exists(list_.user_id, ANY):
                raise UserNotFoundError(list_.user_id)
            bases[list_] = base
        if authors:
            ids = [list_.user_id for list_ in authors]
            found = await self._store.newest_ids_of_authors(ids, self._length, freshness)
            bases |= {list_: found[list_.user_id] for list_ in authors}
        return bases

    def _window(self, base: ListBase) -> Window:
        is_complete = len(base.ids) < self._length
        return Window(
            WindowState.READABLE,
            base.ids,
            floor=0 if is_complete else base.ids[-1],
            pulled=tuple(base.pull_authors),
        )
