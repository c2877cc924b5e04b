"""Compare every answer of the read service about some users and tweets with SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import psycopg
from fanfare.read.v1 import read_pb2 as r
from helpers.fanfare import Fanfare

CALL_SECONDS = 60.0
GONE = "NOT_FOUND"
BATCH = 20

_TIMELINE = (
    "SELECT t.id, t.user_id, t.content FROM follows JOIN tweets t ON t.user_id = followed_id"
    " WHERE follower_id = %s ORDER BY t.id DESC"
)
_TWEETS = "SELECT id, user_id, content FROM tweets WHERE user_id = %s ORDER BY id DESC"
_FOLLOWERS = (
    "SELECT id, username, bio FROM follows JOIN users ON id = follower_id"
    " WHERE followed_id = %s AND deleted_at IS NULL ORDER BY seq DESC"
)
_FOLLOWING = (
    "SELECT id, username, bio FROM follows JOIN users ON id = followed_id"
    " WHERE follower_id = %s AND deleted_at IS NULL ORDER BY seq DESC"
)
_FOLLOWS = (
    "SELECT 1 FROM follows WHERE follower_id = %s AND followed_id = %s AND NOT EXISTS"
    " (SELECT FROM users WHERE id IN (follower_id, followed_id) AND deleted_at IS NOT NULL)"
)


@dataclass(frozen=True, eq=False)
class Question:
    """A call, and the answer that it must have according to SQL."""

    name: str
    ask: Callable[[], object]
    right: object

    def difference(self) -> str | None:
        """Make the call; return how its answer differs, None if it is right."""
        try:
            answer = self.ask()
        except grpc.RpcError as error:
            gone = error.code() == grpc.StatusCode.NOT_FOUND
            answer = GONE if gone else f"{error.code()}: {error.details()}"
        if answer == self.right:
            return None
        return f"{self.name}: {_told(answer, self.right)}"


class Questions:
    """All questions about the users, tweets and edges that a test has created, lost ones too.

    The answers are read from SQL when this is created, so no command may run afterwards.
    """

    def __init__(
        self,
        clients: Fanfare,
        users: Iterable[int],
        names: Iterable[str],
        tweets: Iterable[int],
        edges: Iterable[tuple[int, int]],
    ) -> None:
        self._read = clients.read
        self.all: list[Question] = []
        dsn = clients.settings.session_dsn()
        with psycopg.connect(dsn, autocommit=True) as self._database:
            self._pose(sorted(set(users)), names, sorted(set(tweets)), edges)

    def _pose(
        self,
        users: list[int],
        names: Iterable[str],
        tweets: list[int],
        edges: Iterable[tuple[int, int]],
    ) -> None:
        rows = self._sql("SELECT id, username, bio FROM users WHERE deleted_at IS NULL ORDER BY id")
        self._users = {row[0]: row for row in rows}
        self.all.append(Question("ListUsers", partial(self._pages, "ListUsers", _user), rows))
        for user in users:
            self._about_user(user)
        for name in names:
            right = next((row for row in rows if row[1] == name), GONE)
            request = r.GetUserByUsernameRequest(username=name)
            self._add(name, request, lambda answer: _user(answer.user), right)
        self._about_tweets(tweets)
        for edge in edges:
            right = "follows" if self._sql(_FOLLOWS, *edge) else GONE
            request_of_edge = r.GetFollowRequest(follower_id=edge[0], followed_id=edge[1])
            self._add(edge, request_of_edge, lambda _: "follows", right)
        self._in_batches(users, tweets)

    def differences(self, questions: Sequence[Question] | None = None) -> dict[Question, str]:
        """Ask all questions, or only these; return how the wrong answers differ."""
        asked = self.all if questions is None else questions
        return {q: told for q in asked if (told := q.difference()) is not None}

    def _about_user(self, user: int) -> None:
        there = user in self._users
        request = r.GetUserRequest(user_id=user)
        right = self._users.get(user, GONE)
        self._add(user, request, lambda answer: _user(answer.user), right)
        for method, of_row, query in (
            ("GetHomeTimeline", _tweet, _TIMELINE),
            ("ListUserTweets", _tweet, _TWEETS),
            ("ListFollowers", _user, _FOLLOWERS),
            ("ListFollowing", _user, _FOLLOWING),
        ):
            rows = self._sql(query, user)
            for limit in (100, 7):
                ask = partial(self._pages, method, of_row, limit=limit, user_id=user)
                self.all.append(
                    Question(f"{method} {user} by {limit}", ask, rows if there else GONE)
                )

    def _about_tweets(self, tweets: list[int]) -> None:
        query = "SELECT id, user_id, content FROM tweets WHERE id = ANY(%s)"
        self._tweets = {row[0]: row for row in self._sql(query, tweets)}
        for tweet in tweets:
            request = r.GetTweetRequest(tweet_id=tweet)
            right = self._tweets.get(tweet, GONE)
            self._add(tweet, request, lambda answer: _tweet(answer.tweet), right)

    def _in_batches(self, users: list[int], tweets: list[int]) -> None:
        for start in range(0, len(tweets), 1000):
            chunk = tweets[start : start + 1000]
            request = r.BatchGetTweetsRequest(tweet_ids=chunk)
            right = [self._tweets[id_] for id_ in chunk if id_ in self._tweets]
            self._add(len(chunk), request, lambda answer: [*map(_tweet, answer.tweets)], right)
        for start in range(0, len(users), BATCH):
            chunk = users[start : start + BATCH]
            request_users = r.BatchGetUsersRequest(user_ids=chunk)
            there = [self._users[id_] for id_ in chunk if id_ in self._users]
            self._add(chunk[0], request_users, lambda answer: [*map(_user, answer.users)], there)
            request_lines = r.BatchGetHomeTimelinesRequest(user_ids=chunk, limit=BATCH)
            lines = [
                (user, self._sql(_TIMELINE, user)[:BATCH] if user in self._users else GONE)
                for user in chunk
            ]
            self._add(
                chunk[0], request_lines, lambda answer: [*map(_line, answer.timelines)], lines
            )

    def _sql(self, query: str, *parameters: object) -> list[Any]:
        return self._database.execute(query.encode(), parameters).fetchall()

    def _add(
        self, about: object, request: Any, simplify: Callable[[Any], object], right: object
    ) -> None:
        """Add a question with one call; simplify: reduces the answer to what is compared."""
        method = type(request).__name__.removesuffix("Request")
        call = getattr(self._read, method)

        def ask() -> object:
            return simplify(call(request, timeout=CALL_SECONDS))

        self.all.append(Question(f"{method} {about}", ask, right))

    def _pages(
        self, method: str, of_row: Callable[[Any], object], limit: int = 100, **about: int
    ) -> list[object]:
        """Return the rows of all pages of a list."""
        request = getattr(r, f"{method}Request")
        rows: list[object] = []
        token = ""
        while True:
            asked = request(limit=limit, page_token=token, **about)
            page = getattr(self._read, method)(asked, timeout=CALL_SECONDS)
            rows += [of_row(row) for row in (page.users if of_row is _user else page.tweets)]
            token = page.next_page_token
            if not token:
                return rows


def _user(user: Any) -> tuple[object, ...]:
    return user.id, user.username, user.bio


def _tweet(tweet: Any) -> tuple[object, ...]:
    return tweet.id, tweet.user_id, tweet.content


def _line(line: Any) -> tuple[int, object]:
    failed = line.HasField("error")
    return line.user_id, GONE if failed else [_tweet(tweet) for tweet in line.tweets]


def _told(answer: object, right: object) -> str:
    """Return the difference of two answers, shortened."""
    if not isinstance(answer, list) or not isinstance(right, list):
        return f"{_short(answer)} instead of {_short(right)}"
    missing = [row for row in right if row not in answer]
    extra = [row for row in answer if row not in right]
    if not missing and not extra:
        return f"{len(answer)} rows in another order or twice"
    return f"{len(missing)} missing {_short(missing)}, {len(extra)} too many {_short(extra)}"


def _short(what: object) -> str:
    text = str(what)
    return text if len(text) < 160 else f"{text[:160]}..."
