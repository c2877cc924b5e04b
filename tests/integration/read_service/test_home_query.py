"""The queries behind home timelines give what the plain join gives, and read few rows for it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from helpers.fanfare import Fanfare
from hypothesis import given, settings
from hypothesis import strategies as st

from core.storage.postgres_pool import Database
from read_service.databases import SQL, Databases
from read_service.freshness import ANY
from read_service.pages import FROM_THE_TOP
from read_service.store import PostgresStore

# Ids below those of all other tests.
_IDS = itertools.count(1)
_NAMES = itertools.count(1)


@pytest.fixture(scope="module")
async def database(fanfare: Fanfare) -> AsyncIterator[Database]:
    """Return the primary."""
    database = Database(fanfare.settings.primary_dsn(), "home-query", max_size=2)
    await database.open()
    yield database
    await database.close()


@pytest.fixture(scope="module")
def store(database: Database) -> PostgresStore:
    """Return a store on the primary."""
    return PostgresStore(Databases(database, database))


@dataclass
class Home:
    """A reader, and the ids of the home timeline, newest first."""

    reader: int
    ids: list[int]


def _home(fanfare: Fanfare, authors: Sequence[int]) -> Home:
    """Create a reader who follows the authors of tweets.

    Args:
        fanfare: the system.
        authors: the number of the author of each tweet, oldest tweet first.
    """
    count = max(authors, default=-1) + 1
    names = [f"home_{next(_NAMES)}" for _ in range(count + 2)]
    query = "INSERT INTO users (username) SELECT unnest(%s::text[]) RETURNING id"
    reader, stranger, *users = [row[0] for row in fanfare.sql(query, names)]
    fanfare.sql(
        "INSERT INTO follows (follower_id, followed_id) SELECT %s, unnest(%s::bigint[])"
        " UNION ALL SELECT %s, %s",
        *(reader, users, stranger, reader),
    )
    ids = [next(_IDS) for _ in authors]
    fanfare.sql(
        "INSERT INTO tweets (id, user_id, content, created_at, updated_at)"
        " SELECT id, author, id::text, now(), now()"
        " FROM unnest(%s::bigint[], %s::bigint[]) AS given (id, author)",
        *([*ids, next(_IDS)], [*(users[author] for author in authors), stranger]),
    )
    return Home(reader, ids[::-1])


AUTHORS = st.one_of(
    # Authors who take turns, and authors who each post all their tweets at a time.
    st.builds(
        lambda authors, each: [*range(authors)] * each, st.integers(1, 130), st.integers(1, 4)
    ),
    st.builds(
        lambda counts: [author for author, count in enumerate(counts) for _ in range(count)],
        st.lists(st.integers(0, 9), max_size=60),
    ),
    st.lists(st.integers(0, 70), max_size=200),
)


@settings(max_examples=40, derandomize=True)
@given(authors=AUTHORS, is_reversed=st.booleans(), data=st.data())
async def test_a_page_is_the_joins(
    fanfare: Fanfare,
    store: PostgresStore,
    authors: list[int],
    is_reversed: bool,
    data: st.DataObject,
) -> None:
    """Any page at any offset has the ids of the join, for any authors and times of the tweets."""
    home = _home(fanfare, authors[::-1] if is_reversed else authors)
    for _ in range(5):
        before = data.draw(st.sampled_from([FROM_THE_TOP, *home.ids]), "before")
        offset = data.draw(st.integers(0, 60), "offset")
        limit = data.draw(st.integers(1, 60), "limit")
        below = [id_ for id_ in home.ids if id_ < before]
        page = await store.home_timeline(home.reader, before, offset, limit, ANY)
        assert page.ids == below[offset:][:limit]
        bases = await store.newest_ids([home.reader], limit, ANY)
        assert bases[home.reader].ids == home.ids[:limit]


async def _rows_read(database: Database, reader: int, count: int) -> int:
    """Return how many rows and index entries of tweets the page query reads."""
    parameters = {"user_id": reader, "before": FROM_THE_TOP, "offset": 0, "count": count}
    async with database.connection() as connection:
        cursor = await connection.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {SQL['home_timeline']}", parameters
        )
        ((plans,),) = await cursor.fetchall()
    return _sum_rows(plans[0]["Plan"])


def _sum_rows(node: dict[str, Any]) -> int:
    own = node["Actual Rows"] * node["Actual Loops"] if node.get("Relation Name") == "tweets" else 0
    return int(own) + sum(_sum_rows(child) for child in node.get("Plans", ()))


@pytest.mark.parametrize("kind", ["in turns", "one after another"])
async def test_a_page_reads_little_of_what_was_posted(
    fanfare: Fanfare, database: Database, kind: str
) -> None:
    """The work grows with the number of authors and the page, not with what they have posted."""
    authors = [*range(200)] * 100
    home = _home(fanfare, authors if kind == "in turns" else sorted(authors))
    assert await _rows_read(database, home.reader, 20) < 2000 < len(home.ids)
