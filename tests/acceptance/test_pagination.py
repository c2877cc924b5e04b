"""Page tokens stay right while tweets are created and deleted and authors are unfollowed."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from fanfare.common.v1.common_pb2 import User
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.grpc_client import ids
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from core.feed.timeline_lists import home_list
from ops.system import System

# Short, so that the first pages come from the list in Redis and the others from Postgres.
LENGTH = 25
AUTHORS = 4
TWEETS_EACH = 55
CHANGES = ("create", "delete above", "delete below", "drop the list", "drain")


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system with short lists in Redis."""
    with Fanfare(start_system(FANFARE_TIMELINE_LENGTH=str(LENGTH))) as clients:
        yield clients


@dataclass
class Scene:
    """A reader, the authors whom the reader follows, and what the pages must show."""

    clients: Fanfare
    reader: User
    authors: Sequence[User]
    tweets: dict[int, int] = field(default_factory=dict)
    """The author's id of each tweet that has existed since the first page, by tweet id."""
    shown: list[int] = field(default_factory=list)

    def change(self, what: str, which: int) -> None:
        """Change something between two pages."""
        at = self.shown[-1] if self.shown else 0
        above = [tweet for tweet in self.tweets if tweet >= at]
        below = [tweet for tweet in self.tweets if tweet < at]
        match what:
            case "create":
                self.clients.tweets(self.authors[which % AUTHORS], 1 + which % 5)
            case "delete above" if above:
                self._delete(above[which % len(above)])
            case "delete below" if below:
                self._delete(below[which % len(below)])
            case "drop the list":
                self.clients.redis.unlink(self.clients.keys.for_list(home_list(self.reader.id)))
            case "drain":
                self.clients.wait_drained()

    def unfollow(self, author: User) -> None:
        """Unfollow an author, whose tweets the remaining pages may or may not show."""
        self.clients.unfollow(self.reader, author)
        self.tweets = {tweet: by for tweet, by in self.tweets.items() if by != author.id}

    def _delete(self, tweet: int) -> None:
        self.clients.write.DeleteTweet(w.DeleteTweetRequest(tweet_id=tweet))
        del self.tweets[tweet]


def _scene(clients: Fanfare) -> Scene:
    names = [f"p_{uuid.uuid4().hex[:20]}" for _ in range(AUTHORS + 1)]
    rows = clients.sql(
        "INSERT INTO users (username) SELECT unnest(%s::text[]) RETURNING id, username", names
    )
    reader, *authors = (User(id=row[0], username=row[1]) for row in rows)
    for author in authors:
        clients.follow(reader, author)
    scene = Scene(clients, reader, authors)
    for _ in range(TWEETS_EACH // 5):
        for author in authors:
            scene.tweets |= {tweet.id: author.id for tweet in clients.tweets(author, 5)}
    clients.wait_drained()
    return scene


# Without shrinking, which would take minutes; the examples are small enough to read.
@settings(
    max_examples=7,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),
)
@given(
    limit=st.sampled_from((3, 7)),
    unfollowed=st.integers(0, 25),
    changes=st.dictionaries(
        st.integers(0, 40),
        st.lists(st.tuples(st.sampled_from(CHANGES), st.integers(0, 99)), min_size=1, max_size=4),
        min_size=8,
    ),
)
def test_pages_show_each_lasting_tweet_once(
    own: Fanfare,
    limit: int,
    unfollowed: int,
    changes: Mapping[int, Sequence[tuple[str, int]]],
) -> None:
    """A tweet that exists and is followed all the time appears exactly once, in order."""
    scene, token = _scene(own), ""
    before = len(scene.tweets)
    assert before > 200
    for number in itertools.count():
        page = own.timeline(scene.reader, limit, page_token=token)
        scene.shown += ids(page.tweets)
        token = page.next_page_token
        if not token:
            break
        assert len(page.tweets) == limit, "a page in the middle is not full"
        if number == unfollowed:
            scene.unfollow(scene.authors[0])
        for what, which in changes.get(number, ()):
            scene.change(what, which)
    assert scene.shown == sorted(set(scene.shown), reverse=True)
    assert set(scene.tweets) - set(scene.shown) == set()
    assert len(scene.shown) > before / 2
    own.wait_drained()
    own.wait_exact(scene.reader)
