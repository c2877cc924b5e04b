"""Reads of home timelines, for the tests of the read service."""

from __future__ import annotations

from helpers.fakes.reading import Reading, content, message

from core.feed.timeline_lists import home_list
from read_service.freshness import ANY, Freshness
from read_service.pages import FROM_THE_TOP

LENGTH = 10
AUTHOR, READER = 1, 2
LIST = home_list(READER)


async def read_page(
    reading: Reading,
    limit: int,
    *,
    before: int = FROM_THE_TOP,
    offset: int = 0,
    freshness: Freshness = ANY,
) -> list[int]:
    """Read a page of the reader's timeline, check its tweets, and return their ids."""
    page = await reading.home.page(READER, before, offset, limit, freshness)
    tweets = reading.primary.state.tweets
    assert content(page) == [message(tweets[id_]) for id_ in page.ids if id_ in tweets]
    return list(page.ids)


async def warm(reading: Reading) -> None:
    """Read a page, so that the list is built and the tweets are in the local tweet cache."""
    await read_page(reading, LENGTH)
    await read_page(reading, LENGTH)
    reading.steps.taken.clear()


async def settle(reading: Reading, limit: int = 3) -> None:
    """Read pages until the timeline is kept in the process."""
    await warm(reading)
    for _ in range(2):
        await read_page(reading, limit)
    assert reading.timelines.has(READER, limit)
    reading.steps.taken.clear()
