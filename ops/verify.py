"""Comparing timelines, as readers get them, with the SQL that defines them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import zip_longest

from fanfare.read.v1.read_pb2 import GetHomeTimelineRequest
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from redis import Redis
from rich.console import Console
from rich.progress import track

from core.feed.timeline_lists import home_list
from core.settings import Settings
from ops.channel import service_channel
from ops.feed_status import Feed, connect, current_keys

LIMIT = 100
READERS = 4
DRAIN_SECONDS = 120.0
CALL_SECONDS = 30.0
EXAMPLES = 5

# (id, author, content): what must agree.
Row = tuple[int, int, str]

ORACLE = """
SELECT tweets.id, tweets.user_id, tweets.content
FROM follows JOIN tweets ON tweets.user_id = follows.followed_id
WHERE follows.follower_id = %s
ORDER BY tweets.id DESC
"""


class VerifyError(Exception):
    """The timelines could not be compared, or differ."""


@dataclass
class Outcome:
    """What a comparison of timelines came to."""

    timelines: int = 0
    pages: int = 0
    tweets: int = 0
    differing: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, reader: int, pages: int, tweets: int, difference: str | None) -> None:
        """Count a timeline."""
        self.timelines += 1
        self.pages += pages
        self.tweets += tweets
        if difference is not None:
            self.differing += 1
            if len(self.examples) < EXAMPLES:
                self.examples.append(f"user {reader}: {difference}")


def verify(settings: Settings, sample: int, seed: int | None, console: Console) -> list[Outcome]:
    """Compare, print, and return what came of each pass."""
    seed = seed if seed is not None else random.randrange(2**32)  # noqa: S311 - no secret
    wait_drained(settings, console)
    with connect(settings.primary_dsn()) as connection:
        everybody = [
            row[0]
            for row in connection.execute("SELECT DISTINCT follower_id FROM follows ORDER BY 1")
        ]
    if not everybody:
        raise VerifyError("nobody follows anybody yet: there is nothing to compare.")
    chosen = random.Random(seed).sample(everybody, min(sample, len(everybody)))  # noqa: S311
    console.print(f"{len(chosen)} of {len(everybody):,} readers, seed {seed}", highlight=False)
    outcomes = []
    for name in ("as found", "cold", "warm"):
        if name == "cold":
            with Redis.from_url(settings.redis_address()) as redis:
                keys = current_keys(settings)
                for reader in chosen:
                    redis.unlink(keys.for_list(home_list(reader)))
        outcome = compare(settings, chosen, name, console)
        outcomes.append(outcome)
        console.print(
            f"{name}: {outcome.timelines:,} timelines, {outcome.pages:,} pages, "
            f"{outcome.tweets:,} tweets: {outcome.differing} differ",
            highlight=False,
        )
        for example in outcome.examples:
            console.print(f"  {example}", highlight=False, markup=False)
    return outcomes


def wait_drained(settings: Settings, console: Console) -> None:
    """Wait until every event has taken effect; raises VerifyError if they do not come to it."""
    deadline = time.monotonic() + DRAIN_SECONDS
    with Feed(settings) as feed, console.status("waiting until the feed has drained"):
        while (remaining := feed.remaining()) != 0:
            if time.monotonic() > deadline:
                left = "some" if remaining is None else f"{remaining:,}"
                raise VerifyError(
                    f"{left} events have not taken effect after {DRAIN_SECONDS:.0f} s: "
                    "`fanfare status` shows where they wait."
                )
            time.sleep(0.1)


def compare(settings: Settings, readers: Sequence[int], name: str, console: Console) -> Outcome:
    """Compare the timelines of the readers with the oracle."""
    outcome = Outcome()
    with (
        service_channel(settings, settings.read_service_target()) as channel,
        ThreadPoolExecutor(READERS) as pool,
    ):
        stub = ReadServiceStub(channel)

        def one(reader: int) -> tuple[int, int, int, str | None]:
            pages = list(read_pages(stub, reader))
            read = [row for page in pages for row in page]
            with connect(settings.primary_dsn()) as connection:
                expected: list[Row] = connection.execute(ORACLE, (reader,)).fetchall()
            return reader, len(pages), len(read), difference(read, expected)

        results = pool.map(one, readers)
        for result in track(results, f"{name} ...", len(readers), console=console, transient=True):
            outcome.add(*result)
    return outcome


def read_pages(stub: ReadServiceStub, reader: int) -> Iterator[list[Row]]:
    """Yield the pages of a timeline to its end."""
    token = ""
    while True:
        request = GetHomeTimelineRequest(user_id=reader, limit=LIMIT, page_token=token)
        page = stub.GetHomeTimeline(request, timeout=CALL_SECONDS)
        yield [(tweet.id, tweet.user_id, tweet.content) for tweet in page.tweets]
        token = page.next_page_token
        if not token:
            return


def difference(read: Sequence[Row], expected: Sequence[Row]) -> str | None:
    """Return how a timeline differs from the oracle, None if it does not."""
    if list(read) == list(expected):
        return None
    ids, wanted = [row[0] for row in read], [row[0] for row in expected]
    if missing := sorted(set(wanted) - set(ids), reverse=True):
        return f"{len(missing)} tweets are missing, such as {missing[0]}"
    if extra := sorted(set(ids) - set(wanted), reverse=True):
        return f"{len(extra)} tweets should not be there, such as {extra[0]}"
    if len(ids) != len(set(ids)):
        return f"{len(ids) - len(set(ids))} tweets are there twice"
    place, (got, right) = next(
        (n, pair) for n, pair in enumerate(zip_longest(read, expected)) if pair[0] != pair[1]
    )
    if got is not None and right is not None and got[0] == right[0]:
        return f"tweet {got[0]} has another author or text"
    return f"the order is wrong from place {place} on"
