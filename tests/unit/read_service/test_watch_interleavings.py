"""Watched pages that are read beside commits, the fan-out and losses, in any order of their steps.

A page whose changes are reported, and of which none was, must show what the oracle says once all
events have been applied. Nothing may depend on another read that happens to come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import permutations
from typing import Any

import pytest
from helpers.fakes.reading import Reading
from helpers.fakes.steps import Running, others_run
from helpers.fakes.timeline_redis import FakeTimelineCache, FakeTweetCache
from helpers.fakes.watching import Watching
from hypothesis import given, settings
from hypothesis import strategies as st

from core.feed.timeline_lists import home_list
from read_service import home_timelines, lists
from read_service.freshness import ANY
from read_service.pages import FROM_THE_TOP

USERS = 3
COMMANDS = ("tweet", "tweet", "follow", "unfollow", "delete", "update", "pull")
OTHERS = (
    *["step"] * 20,
    *["apply"] * 16,
    *["read"] * 3,
    "lose list",
    "lose tweet",
    "lose connection",
    "lose all",
    "forget tweets",
    "touch",
)
ACTIONS = st.lists(
    st.tuples(st.sampled_from(COMMANDS + OTHERS), st.integers(0, 7), st.integers(0, 7)),
    min_size=20,
    max_size=100,
)


@pytest.fixture(scope="module", autouse=True)
def _short_windows() -> Iterator[None]:
    """Make windows and refills as short as the lists here, so that they are often too short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "LOG_ROOM", 1)
        patch.setattr(home_timelines, "MIN_REFILL", 2)
        # Notices may be parsed after a reply, and before its reader goes on.
        patch.setattr(FakeTweetCache, "read", _late(FakeTweetCache.read))
        patch.setattr(FakeTimelineCache, "heads", _late(FakeTimelineCache.heads))
        yield


def _late(ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def asked(*args: Any, **kwargs: Any) -> Any:
        reply = await ask(*args, **kwargs)
        await others_run()
        return reply

    return asked


class Play:
    """A read service with a watched page for each user, and the reads that are under way."""

    def __init__(self, limit: int) -> None:
        """Begin with users who all follow each other and have two tweets each."""
        self.reading = Reading(length=3, slack=2, has_replica=True)
        self.users = self.reading.users(USERS)
        for user, other in permutations(self.users, 2):
            self.reading.follow(user, other)
        for user in self.users:
            self.reading.feed_of(user, 2)
        self.reading.drain()
        self.watching = Watching(self.reading)
        self.pages = [self.watching.page(user, limit) for user in self.users]
        self.reads: dict[int, Running] = {}
        for page in self.pages:
            Running(self.watching.follow(page)).finish()

    def act(self, action: str, one: int, two: int) -> None:  # noqa: C901, PLR0912 - a case each
        """Commit, apply an event, lose something, or begin or continue a read."""
        reading = self.reading
        user, other = self.users[one % USERS], self.users[two % USERS]
        tweets = sorted(reading.primary.state.tweets)
        tweet = tweets[-1 - one % len(tweets)] if tweets else None
        match action:
            case "tweet":
                reading.tweet(user)
            case "follow" if user != other:
                reading.follow(user, other)
            case "unfollow" if user != other:
                reading.unfollow(user, other)
            case "delete" if tweet is not None:
                reading.delete(tweet)
            case "update" if tweet is not None:
                reading.update(tweet, f"text by {other}")
            case "pull":
                reading.pull(user)
            case "apply":
                reading.apply_next()
            case "lose list":
                reading.redis.drop(home_list(user))
            case "lose tweet" if tweet is not None:
                reading.redis.remove_tweet(tweet)
            case "lose connection":
                reading.redis.disconnect()
            case "lose all":
                reading.redis.flush()
                for shard in range(16):
                    reading.redis.set_applied(shard, reading.primary.state.lsn)
                reading.forget_pending()
            case "forget tweets":
                reading.local.forget(None)
            case "touch":
                reading.redis.touched.clear()
                reading.redis.touch_period += 1
            case "read" if not self.reads:
                Running(reading.home.page(user, FROM_THE_TOP, 0, 2, ANY)).finish()
            case "step":
                self._step(one % USERS, two + 1)

    def check(self) -> None:
        """Once all is applied, a page of which no change is to be reported must be right."""
        if self.reading.is_drained:
            for page in self.pages:
                assert not page.is_followed or page.newest == self.watching.expected(page)

    def _step(self, place: int, steps: int) -> None:
        read = self.reads.get(place)
        if read is None:
            # A third read could wait for ever for lists that the others build.
            if self.pages[place].is_followed or len(self.reads) == 2:
                return
            read = self.reads[place] = Running(self.watching.read(self.pages[place]))
        for _ in range(steps):
            read.step()
        if read.is_done:
            del self.reads[place]

    def settle(self) -> None:
        """Let all reads end and the fan-out apply everything, and read what is to be read."""
        for read in self.reads.values():
            read.finish()
        self.reading.drain()
        for page in self.pages:
            for _ in range(10):
                if not page.is_followed:
                    Running(self.watching.read(page)).finish()


@settings(max_examples=150, derandomize=True)
@given(actions=ACTIONS, limit=st.integers(1, 3))
def test_a_page_of_which_no_change_is_reported_is_the_oracles(
    actions: Sequence[tuple[str, int, int]], limit: int
) -> None:
    """Whatever happened before and while it was read."""
    play = Play(limit)
    for action in actions:
        play.act(*action)
        play.check()
    play.settle()
    for page in play.pages:
        assert page.newest == play.watching.expected(page)
