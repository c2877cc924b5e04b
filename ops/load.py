"""Loads a community into a running system: users, follows and posts, from files.

Users and follows are copied straight into Postgres, as an operator would migrate a community. The
load enqueues the same events for them as FollowUser does, so that cached timelines stay right.
Posts go through BatchCreateTweets, and so through the relay, Kafka and the workers. An account that
has an e-mail or a password belongs to somebody: it gets no follows and no tweets, even if its name
is that of an imported user. Loading the same lines again adds nothing twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import psycopg
from confluent_kafka import KafkaException
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub
from redis.exceptions import RedisError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from core.settings import Settings
from ops.channel import service_channel
from ops.database import SQL, connect
from ops.errors import OpsError
from ops.failures import failures_as_ops_errors
from ops.feed_status import Feed
from ops.input_files import input_name, input_size, read_lines
from ops.load_files import PostParser, RejectedLines, parse_follow
from ops.load_posts import batch_posts, create_tweets
from ops.same_database import check_write_service
from write_service import events
from write_service.outbox import copy_events

FOLLOWS_PER_TRANSACTION = 20_000
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
    def run(self, follows: Path | None, posts: Path | None) -> None:
        """Load the inputs, wait until all events have taken effect, and report.

        Raises:
            OpsError: the load cannot go on, or an input has nothing that can be loaded. What is
                loaded stays; loading again continues.
        """
        try:
            with self._progress:
                if posts is not None:
                    check_write_service(self._settings)
                if follows is not None:
                    self._load_follows(follows)
                if posts is not None:
                    self._load_posts(posts)
                self._wait_drained()
        except OSError as error:
            raise OpsError(f"cannot read the input: {error}") from error

    def _load_follows(self, path: Path) -> None:
        """Load users and follows."""
        rejected = RejectedLines()
        used = users = follows = 0
        started = time.monotonic()
        task = self._add_task("users and follows", path)
        with connect(self._settings.session_dsn()) as connection:
            lines = read_lines(path, lambda size: self._progress.advance(task, size))
            parsed = (parse_follow(number, line, rejected) for number, line in lines)
            edges = (edge for edge in parsed if edge is not None)
            for chunk in _chunks(edges, FOLLOWS_PER_TRANSACTION):
                new_users, new_follows, owned = insert_follows(connection, chunk, rejected)
                users, follows = users + new_users, follows + new_follows
                used += len(chunk) - owned
                self._progress.update(task, count=follows)
        self._finish_task(task)
        seconds = time.monotonic() - started
        self._print(
            f"{users:,} new users and {follows:,} new follows in {seconds:.1f} s "
            f"({(users + follows) / seconds:,.0f} rows/s)"
        )
        self._report_rejected(rejected, used, path)

    def _load_posts(self, path: Path) -> None:
        """Create a tweet for each post, in the order of the input."""
        rejected = RejectedLines()
        users: dict[int, int] = {}
        tweets = 0
        started = time.monotonic()
        task = self._add_task("posts", path)
        with service_channel(self._settings, self._settings.write_service_target()) as channel:
            stub = WriteServiceStub(channel)
            parser = PostParser(rejected)
            lines = read_lines(path, lambda size: self._progress.advance(task, size))
            parsed = (parser.parse(number, line) for number, line in lines)
            for batch in batch_posts(post for post in parsed if post is not None):
                users |= self._user_ids({post.author for post in batch} - users.keys())
                tweets += create_tweets(stub, batch, users, rejected)
                self._progress.update(task, count=tweets)
        self._finish_task(task)
        seconds = time.monotonic() - started
        self._print(
            f"{tweets:,} tweets loaded in {seconds:.1f} s ({tweets / seconds:,.0f} tweets/s), "
            "counting those that an earlier run has loaded; they get the time of their loading"
        )
        self._report_rejected(rejected, tweets, path)

    def _user_ids(self, authors: set[int]) -> dict[int, int]:
        """Return the user id for each author who is an imported user, after adding new users."""
        if not authors:
            return {}
        names = {username(author): author for author in authors}
        with connect(self._settings.session_dsn()) as connection:
            connection.execute(SQL["insert_authors"], {"usernames": list(names)})
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
        return self._progress.add_task(description, total=input_size(path), count=0)

    def _finish_task(self, task: TaskID) -> None:
        self._progress.update(task, total=1, completed=1)

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _report_rejected(self, rejected: RejectedLines, used: int, path: Path) -> None:
        """Print the rejected lines.

        Raises:
            OpsError: no line of the input was used.
        """
        for reason, count in rejected.counts.most_common():
            self._print(f"  {count:,} rejected: {reason}; {'; '.join(rejected.examples[reason])}")
        if used:
            return
        name = input_name(path)
        if not rejected.counts:
            raise OpsError(f"{name} is empty, so nothing was loaded; check what writes it")
        (reason, count), *_ = rejected.counts.most_common(1)
        raise OpsError(
            f"no line of {name} could be loaded ({count:,} rejected: {reason}); see "
            "`fanfare load -h` for the formats"
        )


def username(source_id: int) -> str:
    """Return the username of an imported user, by the id in the file."""
    return f"u{source_id}"


def insert_follows(
    connection: psycopg.Connection, edges: Sequence[Edge], rejected: RejectedLines
) -> tuple[int, int, int]:
    """Insert follows and their users in one transaction.

    Args:
        connection: a connection to the primary.
        edges: pairs of follower and followed, as their ids in the file.
        rejected: gets the follows from or to an account that belongs to somebody.

    Returns:
        How many users and how many follows were not there before, and how many were rejected.
    """
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(SQL["create_incoming"])
        with cursor.copy(SQL["copy_incoming"]) as copy:
            for follower, followed in edges:
                copy.write_row((username(follower), username(followed)))
        users = cursor.execute(SQL["insert_users"]).rowcount
        cursor.execute(SQL["lock_imported_users"])
        owned = cursor.execute(SQL["follows_of_owned_accounts"]).fetchall()
        for follower, followed in owned:
            rejected.add("account belongs to somebody", f"{follower} follows {followed}")
        follows = cursor.execute(SQL["insert_follows"]).fetchall()
        copy_events(connection, (events.user_followed(*follow) for follow in follows))
    return users, len(follows), len(owned)


def _chunks(items: Iterator[_Item], size: int) -> Iterator[list[_Item]]:
    while chunk := list(islice(items, size)):
        yield chunk
