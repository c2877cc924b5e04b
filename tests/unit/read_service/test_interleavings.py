"""Reads that run beside commits, the fan-out and other reads, in any order of their steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

import pytest
from helpers.fakes.reading import Reading, content, message
from helpers.fakes.steps import Running
from hypothesis import given, settings
from hypothesis import strategies as st

from core.feed.timeline_lists import home_list
from read_service import home_timelines, lists
from read_service.freshness import ANY
from read_service.pages import FROM_THE_TOP

USERS = 3

COMMANDS = ("tweet", "tweet", "follow", "unfollow", "delete", "update", "pull")
# Many actions are steps, so that some reads come to their end.
OTHERS = (
    *["step"] * 9,
    *["apply"] * 4,
    *["read"] * 3,
    *["lose list"] * 3,
    "replicate",
    "lose tweet",
)
ACTIONS = st.lists(
    st.tuples(st.sampled_from(COMMANDS + OTHERS), st.integers(0, 7), st.integers(0, 7)),
    min_size=20,
    max_size=80,
)


@pytest.fixture(scope="module", autouse=True)
def _short_windows() -> Iterator[None]:
    """Make windows and refills as short as the lists here, so that they are often too short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "LOG_ROOM", 1)
        patch.setattr(home_timelines, "MIN_REFILL", 2)
        yield


class Play:
    """A read service, and the reads that are under way."""

    def __init__(self) -> None:
        """Begin with users who all follow each other and have two tweets each."""
        self.reading = Reading(length=3, slack=2, has_replica=True)
        self.users = self.reading.users(USERS)
        self._reads: list[Running] = []
        for user, other in permutations(self.users, 2):
            self.reading.follow(user, other)
        for user in self.users:
            self.reading.feed_of(user, 2)
        self.reading.drain()

    def act(self, action: str, one: int, two: int) -> None:
        """Commit, apply an event, lose something, or begin or continue a read."""
        user, other = self.users[one % USERS], self.users[two % USERS]
        tweets = sorted(self.reading.primary.state.tweets)
        tweet = tweets[-1 - one % len(tweets)] if tweets else None
        if action in COMMANDS:
            self._commit(action, user, other, tweet)
        elif action == "apply":
            self.reading.apply_next()
        elif action == "replicate":
            self.reading.replica.replay(self.reading.primary)
        elif action == "lose list":
            self.reading.redis.drop(home_list(user))
        elif action == "lose tweet" and tweet is not None:
            self.reading.redis.remove_tweet(tweet)
        elif action == "read" and len(self._reads) < 2:
            self._reads.append(Running(self._read(user, 1 + two % 4)))
        elif action == "step" and self._reads:
            read = self._reads[one % len(self._reads)]
            read.step()
            if read.is_done:
                self._reads.remove(read)

    def _commit(self, command: str, user: int, other: int, tweet: int | None) -> None:
        match command:
            case "tweet":
                self.reading.tweet(user)
            case "follow" if user != other:
                self.reading.follow(user, other)
            case "unfollow" if user != other:
                self.reading.unfollow(user, other)
            case "delete" if tweet is not None:
                self.reading.delete(tweet)
            case "update" if tweet is not None:
                self.reading.update(tweet, f"text by {other}")
            case "pull":
                self.reading.pull(user)

    async def _read(self, user: int, limit: int) -> None:
        """Read a page, and the page below it."""
        page = await self.reading.home.page(user, FROM_THE_TOP, 0, limit, ANY)
        if page.ids:
            await self.reading.home.page(user, page.ids[-1], 0, limit, ANY)

    def settle(self) -> None:
        """Let all reads end and the fan-out apply everything; the replica may lag for ever."""
        for read in self._reads:
            read.finish()
        self.reading.drain()

    def check(self, limit: int) -> None:
        """Compare all pages of all timelines with the join in Postgres."""
        for user in self.users:
            found, tweets = self._whole_timeline(user, limit)
            expected = self.reading.primary.state.timeline(user)
            assert found == [tweet.id for tweet in expected]
            assert tweets == [message(tweet) for tweet in expected]

    def _whole_timeline(self, user: int, limit: int) -> tuple[list[int], list[bytes]]:
        ids: list[int] = []
        tweets: list[bytes] = []
        before = FROM_THE_TOP
        while True:
            page = Running(self.reading.home.page(user, before, 0, limit, ANY)).finish()
            if not page.ids:
                return ids, tweets
            ids += page.ids
            tweets += content(page)
            before = page.ids[-1]


@settings(max_examples=300, derandomize=True)
@given(actions=ACTIONS, limit=st.integers(1, 5))
def test_every_page_is_the_oracles_once_all_is_applied(
    actions: Sequence[tuple[str, int, int]], limit: int
) -> None:
    """Whatever happened before, every page of every timeline equals the join in Postgres."""
    play = Play()
    for action in actions:
        play.act(*action)
    play.settle()
    play.check(limit)  # builds what is absent
    play.check(limit)  # from Redis
