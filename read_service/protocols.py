"""What the logic of the read service needs of Redis and Postgres, and the values it exchanges.

The docstrings are the contract. tests/integration/read_service runs one suite of tests against the
real servers and against the fakes of the unit tests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from core.feed.history import Moment
from core.feed.sharding import Shard
from core.feed.timeline_lists import TimelineList
from core.rpc.json_answer import JsonAnswer
from read_service.freshness import Freshness

Leasable = TypeVar("Leasable")


class CacheUnavailableError(Exception):
    """Redis cannot answer this read now; Postgres must.

    It does not respond, has no memory left, or holds what must not be trusted.
    """


@dataclass(slots=True)
class TweetPage:
    """A page of tweets, newest first."""

    ids: Sequence[int]
    tweets: Sequence[bytes]
    """The tweets with these ids: serialised messages, each preceded by its length."""
    answer: JsonAnswer | None = field(default=None, compare=False)
    """What GetHomeTimeline answered with this page, for the next call that gets it."""
    batch_field: bytes | None = field(default=None, compare=False)
    """The same of BatchGetHomeTimelines: the field with this timeline."""
    pulled: Sequence[int] = ()
    """The pull authors whose lists were merged, if the page was read from lists."""


@dataclass(frozen=True, slots=True)
class StoredTweet:
    """A tweet from Postgres."""

    version: int
    """Grows with each update of the tweet."""
    message: bytes
    """The serialised message."""


@dataclass(frozen=True, slots=True)
class ListBase:
    """What the base of a timeline list is made of."""

    ids: Sequence[int]
    """The newest tweets, newest first; if they are fewer than were asked for, there are no more."""
    pull_authors: Sequence[int] = ()
    """The authors whose own lists are merged when the list is read."""


@dataclass(frozen=True, slots=True)
class Leased(Generic[Leasable]):
    """The answer to a request for leases."""

    taken: Sequence[Leasable]
    """The lists or tweets whose leases the caller holds now, in the order of the request."""
    applied: Moment | None
    """The moment up to which the fan-out had applied events to all shards of the request, read
    after the leases were taken. What the caller stores must come from a Postgres server that has
    reached this moment. None if a checkpoint is absent: then nothing may be stored."""


class TimelineCache(Protocol):
    """The timeline lists in Redis, of one history. core/feed/timeline_lists.py has their format.

    Other clients may change a list between any two calls. All methods may raise
    CacheUnavailableError.
    """

    async def heads(
        self,
        wanted: Collection[tuple[TimelineList, int | None]],
        *,
        tracked: Container[TimelineList] = (),
        parsed: Callable[[Sequence[Sequence[bytes]]], None] | None = None,
    ) -> Sequence[Sequence[bytes]]:
        """Return the first elements of lists: at most the number given with each, None for all.

        An absent list has no elements.

        Args:
            wanted: the lists.
            tracked: when one of these changes, the local timelines forget it before any later call
                returns an answer in which the change could be seen.
            parsed: called with the result before any such change is reported.
        """

    def barrier(self) -> Awaitable[None]:
        """Wait until all changes of tracked lists and tweets before this call were reported."""

    @property
    def touch_period(self) -> int:
        """A number that changes when lists are due to be touched again."""

    async def touch(self, lists: Iterable[TimelineList]) -> None:
        """Extend the TTL of lists, which counts as a change of them.

        The call may be ignored when the list was touched within the last hundredth of its TTL.
        """

    async def compact(self, list_: TimelineList, cap: int, length: int | None) -> Sequence[bytes]:
        """Sort the log of a list into its base, which then has at most cap ids.

        Return the first elements that the list has then, as heads() does.

        If there are older tweets below the base, ids in the log that are below its last id are
        dropped: the list would be incomplete there. A list without a base is deleted. A list being
        built stays as it is.
        """

    async def begin_builds(
        self, lists: Sequence[TimelineList], build_lease: str
    ) -> Leased[TimelineList]:
        """Take the build leases of those lists that are absent.

        From then on the fan-out pushes to these lists. Everything that it had applied before is
        covered by the moment that is returned.
        """

    async def finish_builds(
        self, bases: Mapping[TimelineList, ListBase], build_lease: str, cap: int
    ) -> list[TimelineList]:
        """Give lists their bases, and return the lists for which that was possible.

        A list that no longer has this build lease stays as it is: the fan-out has dropped it in
        the meantime, and the base may lack the change that made the fan-out do so. What was pushed
        since the lease was taken becomes part of the base. A base with fewer than cap ids is
        complete.
        """

    async def abandon_builds(self, lists: Iterable[TimelineList], build_lease: str) -> int:
        """Remove those of the lists that have this build lease; return how many there were."""

    async def applied(self, shard: Shard) -> Moment | None:
        """Return what the fan-out has applied to a shard; None if a checkpoint is absent."""


class TweetCache(Protocol):
    """The tweets in Redis, of one history. core/feed/tweet_cache.py has their format.

    All methods may raise CacheUnavailableError.
    """

    async def read(self, ids: Sequence[int]) -> Sequence[bytes | None]:
        """Return the values of tweets, in the order of the ids; None for each that is absent.

        The local tweet cache remembers them. When one of them changes, the local tweet cache
        forgets it before any later call returns an answer in which the change could be seen.
        """

    async def take_fill_leases(self, ids: Sequence[int], fill_lease: str) -> Leased[int]:
        """Take the fill leases of those tweets that are absent.

        A lease expires after some seconds, and is replaced by whatever the fan-out applies.
        """

    async def fill(self, values: Mapping[int, bytes], fill_lease: str) -> None:
        """Store the values of tweets whose fill leases are still held.

        An empty value gives the lease up, and stores nothing.
        """


class TimelineStore(Protocol):
    """What timelines and tweets need of Postgres, read with the freshness that is given.

    All methods may raise DatabaseUnavailableError and OverloadedError. With TokenFreshness they may
    also raise NotYetConsistentError and ConsistencyTokenLostError, with AppliedFreshness
    OtherHistoryError.
    """

    async def user_exists(self, user_id: int, freshness: Freshness) -> bool:
        """Return whether the user exists. The primary is asked before the answer is False."""

    async def tweets(self, ids: Sequence[int], freshness: Freshness) -> dict[int, StoredTweet]:
        """Return those of the tweets that exist, by id.

        The primary is asked for those that a replica does not have.
        """

    async def existing_tweets(self, ids: Sequence[int], freshness: Freshness) -> list[int]:
        """Return those of the ids that tweets have, in their order.

        The primary is asked for those that a replica does not have.
        """

    async def home_timeline(
        self, user_id: int, before: int, offset: int, limit: int, freshness: Freshness
    ) -> TweetPage:
        """Return the tweets of the users that a user follows, newest first.

        Args:
            user_id: whose home timeline.
            before: only tweets with ids below this one.
            offset: how many of these to skip.
            limit: at most this many.
            freshness: what the answer must contain.
        """

    async def newest_ids(
        self, user_ids: Sequence[int], limit: int, freshness: Freshness
    ) -> dict[int, ListBase]:
        """Return the bases of home timelines with at most limit ids each, from one snapshot."""

    async def newest_ids_of_authors(
        self, user_ids: Sequence[int], limit: int, freshness: Freshness
    ) -> dict[int, ListBase]:
        """Return the bases of the authors' own lists, with at most limit ids each."""
