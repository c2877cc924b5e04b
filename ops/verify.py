"""Compares home timelines, as the read service serves them, with the SQL that defines them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from fanfare.read.v1.read_pb2 import GetHomeTimelineRequest
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from rich.console import Console
from rich.progress import track

from core.feed.comparison import Row, describe_difference
from core.feed.timeline_lists import home_list
from core.settings import Settings
from core.storage.postgres import ORACLE_TIMELINE
from ops.channel import service_channel
from ops.database import SQL, connect
from ops.errors import OpsError
from ops.failures import failures_as_ops_errors
from ops.feed_status import Feed, current_keys
from ops.redis import open_redis
from ops.same_database import check_read_service

PAGE_LIMIT = 100
THREADS = 4
DRAIN_SECONDS = 120.0
CALL_SECONDS = 30.0
EXAMPLES = 5


@dataclass
class Comparison:
    """What one pass over the timelines found."""

    name: str
    timelines: int = 0
    pages: int = 0
    tweets: int = 0
    differing: int = 0
    """How many timelines differ."""
    examples: list[str] = field(default_factory=list)
    """How the first few of them differ."""

    def add(self, reader: int, pages: int, tweets: int, difference: str | None) -> None:
        """Count a timeline; difference: as describe_difference() returns it."""
        self.timelines += 1
        self.pages += pages
        self.tweets += tweets
        if difference is not None:
            self.differing += 1
            if len(self.examples) < EXAMPLES:
                self.examples.append(f"user {reader}: {difference}")


@dataclass(frozen=True)
class Verification:
    """What a whole run found."""

    seed: int
    """Chooses the same readers again."""
    comparisons: list[Comparison]
    """One for each pass: as found, cold and warm."""


@failures_as_ops_errors()
def verify(settings: Settings, sample: int, seed: int | None, console: Console) -> Verification:
    """Compare the timelines of randomly chosen readers with SQL, and print what is found.

    Args:
        settings: where the system is.
        sample: how many readers to choose.
        seed: chooses the same readers again; None for a random one, which is printed.
        console: gets the progress and the results.

    Raises:
        OpsError: a server does not answer, or there is nothing to compare.
    """
    seed = seed if seed is not None else random.randrange(2**32)  # noqa: S311 - no secret
    check_read_service(settings)
    _wait_drained(settings, console)
    with connect(settings.session_dsn()) as connection:
        everybody = [reader for (reader,) in connection.execute(SQL["readers"])]
    if not everybody:
        raise OpsError("nothing to compare: no user follows anybody yet")
    readers = random.Random(seed).sample(everybody, min(sample, len(everybody)))  # noqa: S311
    console.print(f"{len(readers)} of {len(everybody):,} readers, seed {seed}", highlight=False)
    comparisons = []
    for name in ("as found", "cold", "warm"):
        if name == "cold":
            _remove_cached_timelines(settings, readers)
        comparison = compare_timelines(settings, readers, name, console)
        comparisons.append(comparison)
        console.print(
            f"{name}: {comparison.timelines:,} timelines, {comparison.pages:,} pages, "
            f"{comparison.tweets:,} tweets: {comparison.differing} differ",
            highlight=False,
        )
        for example in comparison.examples:
            console.print(f"  {example}", highlight=False, markup=False)
    return Verification(seed, comparisons)


def _wait_drained(settings: Settings, console: Console) -> None:
    """Wait until every event has taken effect.

    Raises:
        OpsError: some have not within DRAIN_SECONDS.
    """
    deadline = time.monotonic() + DRAIN_SECONDS
    with Feed(settings) as feed, console.status("waiting for all events to take effect"):
        while (remaining := feed.remaining()) != 0:
            if time.monotonic() > deadline:
                count = "some" if remaining is None else f"{remaining:,}"
                raise OpsError(
                    f"{count} events have not taken effect after {DRAIN_SECONDS:.0f} s; "
                    "`fanfare status` shows where they wait"
                )
            time.sleep(0.1)


def _remove_cached_timelines(settings: Settings, readers: Sequence[int]) -> None:
    keys = current_keys(settings)
    with open_redis(settings) as redis:
        for reader in readers:
            redis.unlink(keys.for_list(home_list(reader)))


def compare_timelines(
    settings: Settings, readers: Sequence[int], name: str, console: Console
) -> Comparison:
    """Read the readers' timelines to their ends and compare them with SQL.

    Args:
        settings: where the system is.
        readers: user ids.
        name: the name of the pass, shown beside its progress.
        console: where the progress is shown.
    """
    comparison = Comparison(name)
    with (
        service_channel(settings, settings.read_service_target()) as channel,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        stub = ReadServiceStub(channel)

        def compare_one(reader: int) -> tuple[int, int, int, str | None]:
            pages = list(_read_pages(stub, reader))
            read = [row for page in pages for row in page]
            with connect(settings.session_dsn()) as connection:
                whole = {"reader": reader, "floor": 0, "limit": None}
                rows = connection.execute(ORACLE_TIMELINE, whole)
                expected = [Row(id_, author, content) for id_, author, content, *_ in rows]
            return reader, len(pages), len(read), describe_difference(read, expected)

        results = pool.map(compare_one, readers)
        for result in track(results, f"{name} ...", len(readers), console=console, transient=True):
            comparison.add(*result)
    return comparison


def _read_pages(stub: ReadServiceStub, reader: int) -> Iterator[list[Row]]:
    """Yield the pages of a home timeline, to its end."""
    page_token = ""
    while True:
        request = GetHomeTimelineRequest(user_id=reader, limit=PAGE_LIMIT, page_token=page_token)
        page = stub.GetHomeTimeline(request, timeout=CALL_SECONDS)
        yield [Row(tweet.id, tweet.user_id, tweet.content) for tweet in page.tweets]
        page_token = page.next_page_token
        if not page_token:
            return
