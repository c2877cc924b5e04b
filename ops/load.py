"""Loads a community into a running system: users, follows and posts, from files.

Users and follows are copied straight into Postgres, as an operator would migrate a community. The
load enqueues the same events for them as FollowUser does, so that cached timelines stay right.
Posts go through BatchCreateTweets, and so through the relay, Kafka and the workers. An account that
has an e-mail or a password belongs to somebody: it gets no follows and no tweets, even if its name
is that of an imported user. Loading the same files again adds nothing twice.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import grpc
import psycopg
from confluent_kafka import KafkaException
from fanfare.write.v1 import write_pb2 as w
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub
from google.rpc.error_details_pb2 import ErrorInfo
from redis.exceptions import RedisError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from core.settings import Settings
from ops.channel import service_channel
from ops.database import SQL, connect
from ops.errors import OpsError
from ops.failures import failures_as_ops_errors
from ops.feed_status import Feed
from ops.load_files import (
    Post,
    RejectedLines,
    match_authors,
    parse_follow,
    parse_post,
    read_lines,
)
from write_service import events
from write_service.outbox import copy_events

FOLLOWS_PER_TRANSACTION = 20_000
POSTS_PER_REQUEST = 1000
# gRPC accepts requests of up to 4 MiB; this leaves room for the ids.
TEXT_BYTES_PER_REQUEST = 3_000_000
CALL_SECONDS = 30.0
# How long to wait for a write service that is unavailable.
UNAVAILABLE_SECONDS = 120.0
DRAIN_SECONDS = 600.0

Edge = tuple[int, int]
_Item = TypeVar("_Item")


class Loader:
    """One run of `fanfare load`, which reports its progress on a console."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self._settings = settings
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[count]:,}"),
            TimeElapsedColumn(),
            console=console,
        )

    @failures_as_ops_errors()
    def run(self, follows: Path, posts: Path | None) -> None:
        """Load the files, wait until all events have taken effect, and report.

        Raises:
            OpsError: the load cannot go on. What is loaded stays; loading again continues.
        """
        try:
            with self._progress:
                followers = self._load_follows(follows)
                if posts is not None:
                    self._load_posts(posts, followers)
                self._wait_drained()
        except OSError as error:
            raise OpsError(f"cannot read a file: {error}") from error

    def _load_follows(self, path: Path) -> Counter[int]:
        """Load users and follows; return the number of followers by the user's id in the file."""
        rejected = RejectedLines()
        followers: Counter[int] = Counter()
        users = follows = 0
        started = time.monotonic()
        task = self._add_task("users and follows", path)
        with connect(self._settings.primary_dsn()) as connection:
            lines = read_lines(path, lambda size: self._progress.advance(task, size))
            parsed = (parse_follow(number, line, rejected) for number, line in lines)
            edges = (edge for edge in parsed if edge is not None)
            for chunk in _chunks(edges, FOLLOWS_PER_TRANSACTION):
                for follower, followed in chunk:
                    followers[followed] += 1
                    followers[follower] += 0
                new_users, new_follows = insert_follows(connection, chunk, rejected)
                users, follows = users + new_users, follows + new_follows
                self._progress.update(task, count=follows)
        self._finish_task(task)
        seconds = time.monotonic() - started
        self._print(
            f"{users:,} new users and {follows:,} new follows in {seconds:.1f} s "
            f"({(users + follows) / seconds:,.0f} rows/s)"
        )
        self._print_rejected(rejected)
        return followers

    def _load_posts(self, path: Path, followers: Counter[int]) -> None:
        """Create a tweet for each post, in the order of the file."""
        users = self._user_ids(match_authors(_count_posts(path), followers))
        self._print(
            "Authors of the posts are matched to users of the follows by rank: most posts to most "
            "followers, and so on. Tweets get the time of their loading."
        )
        rejected = RejectedLines()
        tweets = 0
        started = time.monotonic()
        task = self._add_task("posts", path)
        with service_channel(self._settings, self._settings.write_service_target()) as channel:
            stub = WriteServiceStub(channel)
            lines = read_lines(path, lambda size: self._progress.advance(task, size))
            parsed = (parse_post(number, line, rejected) for number, line in lines)
            for batch in batch_posts(post for post in parsed if post is not None):
                tweets += _create_tweets(stub, batch, users, rejected)
                self._progress.update(task, count=tweets)
        self._finish_task(task)
        seconds = time.monotonic() - started
        self._print(
            f"{tweets:,} tweets loaded in {seconds:.1f} s ({tweets / seconds:,.0f} tweets/s), "
            "counting those that an earlier run has loaded"
        )
        self._print_rejected(rejected)

    def _user_ids(self, authors: dict[int, int]) -> dict[int, int]:
        """Return the id in the database for each author; authors: the matched user of each."""
        names = {username(user): author for author, user in authors.items()}
        with connect(self._settings.primary_dsn()) as connection:
            rows = connection.execute(SQL["imported_user_ids"], {"usernames": list(names)})
            return {names[name]: user_id for name, user_id in rows}

    def _wait_drained(self) -> None:
        """Wait until all events have taken effect.

        Raises:
            OpsError: they have not within DRAIN_SECONDS.
        """
        started = time.monotonic()
        task = self._progress.add_task("events to take effect", total=None, count=0)
        with Feed(self._settings) as feed:
            while (remaining := self._remaining(feed)) != 0:
                if time.monotonic() - started > DRAIN_SECONDS:
                    raise OpsError(
                        "everything is loaded, but some events have not taken effect after "
                        f"{DRAIN_SECONDS:.0f} s; `fanfare status` shows where they wait"
                    )
                self._progress.update(task, count=remaining or 0)
                time.sleep(0.1)
        self._progress.update(task, total=1, completed=1, count=0)
        self._print(f"All events took effect {time.monotonic() - started:.1f} s after the load")

    def _remaining(self, feed: Feed) -> int | None:
        try:
            return feed.remaining()
        except (KafkaException, RedisError):
            return None  # the server may be restarting; the deadline bounds the wait

    def _add_task(self, description: str, path: Path) -> TaskID:
        return self._progress.add_task(description, total=path.stat().st_size, count=0)

    def _finish_task(self, task: TaskID) -> None:
        self._progress.update(task, completed=self._progress.tasks[task].total)

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _print_rejected(self, rejected: RejectedLines) -> None:
        for reason, count in rejected.counts.most_common():
            self._print(f"  {count:,} rejected: {reason}; {'; '.join(rejected.examples[reason])}")


def username(source_id: int) -> str:
    """Return the username of an imported user, by the id in the file."""
    return f"u{source_id}"


def insert_follows(
    connection: psycopg.Connection, edges: Sequence[Edge], rejected: RejectedLines
) -> tuple[int, int]:
    """Insert follows and their users in one transaction.

    Args:
        connection: a connection to the primary.
        edges: pairs of follower and followed, as their ids in the file.
        rejected: gets the follows from or to an account that belongs to somebody.

    Returns:
        How many users and how many follows were not there before.
    """
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(SQL["create_incoming"])
        with cursor.copy(SQL["copy_incoming"]) as copy:
            for follower, followed in edges:
                copy.write_row((username(follower), username(followed)))
        users = cursor.execute(SQL["insert_users"]).rowcount
        cursor.execute(SQL["lock_imported_users"])
        for follower, followed in cursor.execute(SQL["follows_of_owned_accounts"]).fetchall():
            rejected.add("account belongs to somebody", f"{follower} follows {followed}")
        follows = cursor.execute(SQL["insert_follows"]).fetchall()
        copy_events(connection, (events.user_followed(*follow) for follow in follows))
    return users, len(follows)


def _count_posts(path: Path) -> Counter[int]:
    """Return the number of posts of each author, ignoring the lines that will be rejected."""
    counts: Counter[int] = Counter()
    for number, line in read_lines(path, lambda _: None):
        if (post := parse_post(number, line, RejectedLines())) is not None:
            counts[post.author] += 1
    return counts


def _create_tweets(
    stub: WriteServiceStub, posts: Sequence[Post], users: dict[int, int], rejected: RejectedLines
) -> int:
    """Create the tweets of a batch; return how many of them exist afterwards."""
    items = []
    for post in posts:
        if post.author not in users:
            rejected.add("author matches no imported user", f"line {post.line}")
            continue
        request = w.CreateTweetRequest(
            user_id=users[post.author], content=post.text, request_id=post.request_id
        )
        items.append((post, request))
    batch = w.BatchCreateTweetsRequest(requests=[item for _, item in items])
    created = 0
    for (post, _), result in zip(items, _create_batch(stub, batch).results, strict=True):
        if result.HasField("error"):
            info = ErrorInfo()
            for detail in result.error.details:
                detail.Unpack(info)
            reason = f"{info.reason}, {result.error.message}"
            rejected.add(reason, f"line {post.line}: {post.text[:40]}")
        else:
            created += 1
    return created


def _create_batch(
    stub: WriteServiceStub, request: w.BatchCreateTweetsRequest
) -> w.BatchCreateTweetsResponse:
    """Call BatchCreateTweets until no tweet fails with a temporary error.

    Raises:
        OpsError: the call was refused, or temporary errors lasted for UNAVAILABLE_SECONDS.
    """
    deadline = time.monotonic() + UNAVAILABLE_SECONDS
    pause = 0.1
    while True:
        try:
            response = stub.BatchCreateTweets(request, timeout=CALL_SECONDS)
            if not any(_is_retryable(result.error.code) for result in response.results):
                return response
            reason = "its database does not answer"
        except grpc.RpcError as error:
            code = error.code()
            reason = f"{code.name}, {error.details()}"
            if not _is_retryable(code.value[0]):
                raise OpsError(f"the write service refuses BatchCreateTweets: {reason}") from error
        if time.monotonic() > deadline:
            raise OpsError(
                f"the write service is unavailable ({reason}); repair it, then run the same "
                "command again to continue"
            )
        time.sleep(pause)
        pause = min(2 * pause, 2.0)


def _is_retryable(code: int) -> bool:
    # A retry is safe even if the first call took effect, because of the request_ids.
    return code in {
        grpc.StatusCode.UNAVAILABLE.value[0],
        grpc.StatusCode.RESOURCE_EXHAUSTED.value[0],
        grpc.StatusCode.DEADLINE_EXCEEDED.value[0],
    }


def batch_posts(posts: Iterable[Post]) -> Iterator[list[Post]]:
    """Yield the posts, in order, in batches that each fit into one request."""
    batch: list[Post] = []
    size = 0
    for post in posts:
        weight = len(post.text.encode())
        if len(batch) == POSTS_PER_REQUEST or (batch and size + weight > TEXT_BYTES_PER_REQUEST):
            yield batch
            batch, size = [], 0
        batch.append(post)
        size += weight
    if batch:
        yield batch


def _chunks(items: Iterator[_Item], size: int) -> Iterator[list[_Item]]:
    while chunk := list(islice(items, size)):
        yield chunk
