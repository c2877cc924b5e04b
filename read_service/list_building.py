"""List building: a timeline list that is absent from Redis is built from Postgres by a reader.

docs/timelines.md, "Building a list", says why the steps have this order.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from core.errors import FanfareError, UserNotFoundError
from core.feed.history import Moment, OtherHistoryError
from core.feed.sharding import Shard
from core.feed.timeline_lists import (
    ListKind,
    TimelineList,
    Window,
    WindowState,
    author_list,
    home_list,
)
from core.runtime.callers import CALLER
from core.runtime.fair_queue import FairQueue
from core.runtime.metrics import METRICS, Metric
from core.runtime.tasks import start
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
# How many builds of this process are under way at a time. Other reads wait until their lists are
# built together, so that Postgres is not overloaded when all lists are lost at once.
MAX_BUILDERS = 2
MAX_LISTS_TOGETHER = 16
# How many reads wait at most, and for how long. The others get their pages from Postgres.
MAX_WAITING = 500
WAIT_SECONDS = 1.0
# For how long no list of a shard is built after one of the shard's checkpoints was absent.
PAUSE_SECONDS = 0.05


class ListNotReadyError(CacheUnavailableError):
    """A list cannot be read or built now; Postgres must answer."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """A read that waits until its list is built."""

    list_: TimelineList
    window: asyncio.Future[Window | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    """The window, or None if the list could not be built."""
    is_taken: bool = False
    """Whether the build has begun."""


class ListBuilder:
    """Builds lists, and removes those whose builder has died.

    Reads that wait for a build take turns. What one of them needs is built for all at once: with
    one statement for all bases, after their leases were taken. So each gets what its own build
    would have given it.
    """

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
        self._waiting: FairQueue[_Waiting] = FairQueue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._paused_until: dict[Shard, float] = {}

    async def build(self, lists: Sequence[TimelineList]) -> dict[TimelineList, Window]:
        """Build absent lists, and return a window on the whole base of each.

        What was pushed to a list meanwhile is not in its window.

        Raises:
            ListNotReadyError: some could not be built, because another reader is building them, too
                many builds are under way, the fan-out dropped them, or a checkpoint is absent.
            UserNotFoundError: a list is the home timeline of a user who does not exist.
        """
        if any(self._is_paused(list_.shard) for list_ in lists):
            raise ListNotReadyError
        if self._builders >= MAX_BUILDERS:
            if len(lists) > 1:
                raise ListNotReadyError
            return {list_: await self._built_with_others(list_) for list_ in lists}
        self._builders += 1
        try:
            built = await self._build(lists[:MAX_LISTS_PER_BUILD])
        finally:
            if self._waiting.count:
                start(self._build_waiting(), self._tasks)  # in the place of this builder
            else:
                self._builders -= 1
        for list_, window in built.items():
            if window is None:
                raise UserNotFoundError(list_.user_id)
        windows = {list_: window for list_, window in built.items() if window is not None}
        if len(windows) < len(lists):
            raise ListNotReadyError
        return windows

    async def clear_if_abandoned(self, list_: TimelineList, build_lease: str) -> None:
        """Remove a list whose build has taken too long.

        A list that is being built has a short TTL, but a touch by another reader may extend it.
        """
        begun = int(build_lease.partition("-")[0])
        if self._clock() - begun > BUILD_SECONDS:
            removed = await self._cache.abandon_builds([list_], build_lease)
            METRICS.add(Metric.BUILD_ABANDONED, removed)

    def _is_paused(self, shard: Shard) -> bool:
        # If much more is left than a pause has, it was made before the clock was set back.
        left = self._paused_until.get(shard, 0) - self._clock()
        return 0 < left < 2 * PAUSE_SECONDS

    async def _built_with_others(self, list_: TimelineList) -> Window:
        """Wait until the list was built together with those of other reads.

        Raises:
            ListNotReadyError: it could not be built, or not in time.
        """
        if self._waiting.count >= MAX_WAITING:
            raise ListNotReadyError
        caller, waiting = CALLER.get(), _Waiting(list_)
        self._waiting.add(caller, waiting)
        try:
            await asyncio.wait({waiting.window}, timeout=WAIT_SECONDS)
        finally:
            if not waiting.is_taken:
                self._waiting.remove(caller, waiting)
            waiting.window.cancel()  # unless it is done
        window = None if waiting.window.cancelled() else waiting.window.result()
        if window is None:
            raise ListNotReadyError
        return window

    async def _build_waiting(self) -> None:
        """Build what reads wait for, until none waits."""
        CALLER.set(())  # it is the work of the process, which has given each caller its turn
        try:
            while self._waiting.count:
                await self._build_together()
        finally:
            self._builders -= 1

    async def _build_together(self) -> None:
        together: list[_Waiting] = []
        while self._waiting.count and len(together) < MAX_LISTS_TOGETHER:
            together.append(self._waiting.remove_next())
            together[-1].is_taken = True
        built: dict[TimelineList, Window | None] = {}
        try:
            built = await self._build(list({waiting.list_: None for waiting in together}))
        except (CacheUnavailableError, OtherHistoryError, FanfareError):
            pass  # The reads get their pages from Postgres, or the same error from there.
        finally:
            for waiting in together:
                if not waiting.window.done():  # else the read has ended
                    waiting.window.set_result(built.get(waiting.list_))

    async def _build(self, lists: Sequence[TimelineList]) -> dict[TimelineList, Window | None]:
        """Return windows on those of the lists that have been built.

        None stands for the home timeline of a user who does not exist.
        """
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
    ) -> dict[TimelineList, Window | None]:
        if leased.applied is None:
            METRICS.add(Metric.CHECKPOINT_MISSING)
            until = self._clock() + PAUSE_SECONDS
            self._paused_until |= {list_.shard: until for list_ in leased.taken}
            raise ListNotReadyError
        bases = await self._read_bases(leased.taken, leased.applied)
        windows: dict[TimelineList, Window | None] = {}
        nobodys = [list_ for list_ in leased.taken if list_ not in bases]
        if nobodys:
            await self._cache.abandon_builds(nobodys, build_lease)
            windows |= dict.fromkeys(nobodys)
        if bases:
            built = await self._cache.finish_builds(bases, build_lease, self._length)
            windows |= {list_: self._window(bases[list_]) for list_ in built}
        return windows

    async def _read_bases(
        self, lists: Sequence[TimelineList], applied: Moment
    ) -> dict[TimelineList, ListBase]:
        """Return the bases of lists, without home timelines of users who do not exist."""
        freshness = AppliedFreshness(applied)
        bases = {}
        of_kind = {
            kind: [list_.user_id for list_ in lists if list_.kind is kind] for kind in ListKind
        }
        if users := of_kind[ListKind.HOME]:
            found = await self._store.newest_ids(users, self._length, freshness)
            for user_id, base in found.items():
                if base.ids or await self._store.user_exists(user_id, ANY):
                    bases[home_list(user_id)] = base
        if users := of_kind[ListKind.AUTHOR]:
            found = await self._store.newest_ids_of_authors(users, self._length, freshness)
            bases |= {author_list(user_id): base for user_id, base in found.items()}
        return bases

    def _window(self, base: ListBase) -> Window:
        is_complete = len(base.ids) < self._length
        return Window(
            WindowState.READABLE,
            base.ids,
            floor=0 if is_complete else base.ids[-1],
            pulled=tuple(base.pull_authors),
            is_built=True,
        )
