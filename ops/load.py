"""`fanfare load`: a community's users, follows and posts, from files.

Users and follows go straight into Postgres by COPY, as an operator who migrates a community would
do it, and leave the same events in the outbox as FollowUser: timelines that are cached already stay
right. An account with an e-mail or a password is somebody's own, whatever its name: it is given no
follows and no tweets. Posts go through BatchCreateTweets, so that the relay, Kafka and the worker
carry them. Loading again adds nothing twice.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import click
import grpc
import psycopg
from confluent_kafka import KafkaException
from fanfare.write.v1 import write_pb2 as w
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub
from google.rpc.error_details_pb2 import ErrorInfo
from redis.exceptions import RedisError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from core.settings import Settings, load_settings
from ops.channel import service_channel
from ops.feed_status import Feed, connect
from ops.load_files import Post, Rejects, by_rank, parse_follow, parse_post, read_lines
from write_service import events

CHUNK = 20_000
BATCH = 1000
# gRPC takes requests of 4 MiB; this leaves room for the ids.
BATCH_BYTES = 3_000_000
CALL_SECONDS = 30.0
# How long an unavailable write service is waited for.
PATIENCE_SECONDS = 120.0
DRAIN_SECONDS = 600.0

Edge = tuple[int, int]
_Item = TypeVar("_Item")


class LoadError(click.ClickException):
    """The load cannot go on; what is loaded stays, and the same command goes on from there."""


@click.command()
@click.option(
    "--follows",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="Follow edges, one 'A B' a line: A follows B. May be gzipped.",
)
@click.option(
    "--posts",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Posts, one JSON object a line: author, created_ms, text. May be gzipped.",
)
def command(follows: Path, posts: Path | None) -> None:
    """Load users and follows, and posts if given; running it again adds nothing twice.

    Posts and follows may come from different sources: the author with the most posts becomes the
    user with the most followers, and so on. Tweets are dated by their loading.
    """
    console = Console()
    load = Load(load_settings(), console)
    try:
        load.run(follows, posts)
    except KeyboardInterrupt:
        raise LoadError("interrupted: the same command goes on from here.") from None
    except OSError as error:
        raise LoadError(f"a file cannot be read: {error}") from error
    except psycopg.Error as error:
        raise LoadError(f"Postgres does not answer, or refuses: {error}") from error


class Load:
    """One run of the load."""

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

    def run(self, follows: Path, posts: Path | None) -> None:
        """Load the files, wait until the feed has drained, and report."""
        with self._progress:
            followers = self._load_follows(follows)
            if posts is not None:
                self._load_posts(posts, followers)
            self._wait_drained()

    def _load_follows(self, path: Path) -> Counter[int]:
        """Load users and edges; return the number of followers of each user, by source id."""
        rejects = Rejects()
        followers: Counter[int] = Counter()
        users = edges = 0
        started = time.monotonic()
        task = self._task("users and follows", path)
        with connect(self._settings.primary_dsn()) as connection:
            lines = read_lines(path, lambda size: self._progress.advance(task, size))
            parsed = (parse_follow(number, line, rejects) for number, line in lines)
            for chunk in _chunks((edge for edge in parsed if edge is not None), CHUNK):
                for follower, followed in chunk:
                    followers[followed] += 1
                    followers[follower] += 0
                new_users, new_edges = copy_follows(connection, chunk, rejects)
                users, edges = users + new_users, edges + new_edges
                self._progress.update(task, count=edges)
        self._finish(task)
        seconds = time.monotonic() - started
        self._say(
            f"{users:,} users and {edges:,} follows are new, in {seconds:.1f} s "
            f"({(users + edges) / seconds:,.0f} rows/s)"
        )
        self._report(rejects)
        return followers

    def _load_posts(self, path: Path, followers: Counter[int]) -> None:
        rejects = Rejects()
        counts: Counter[int] = Counter()
        for number, line in read_lines(path, lambda _: None):
            if (post := parse_post(number, line, Rejects())) is not None:
                counts[post.author] += 1
        users = self._user_ids(by_rank(counts, followers))
        self._say(
            "Posts and follows come from different sources: the author with the most posts becomes "
            "the user with the most followers, and so on. Tweets are dated now."
        )
        created = 0
        started = time.monotonic()
        task = self._task("posts", path)
        with service_channel(self._settings, self._settings.write_service_target()) as channel:
            stub = WriteServiceStub(channel)
            lines = read_lines(path, lambda size: self._progress.advance(task, size))
            parsed = (parse_post(number, line, rejects) for number, line in lines)
            for batch in batches(post for post in parsed if post is not None):
                created += _create(stub, batch, users, rejects)
                self._progress.update(task, count=created)
        self._finish(task)
        seconds = time.monotonic() - started
        self._say(
            f"{created:,} tweets are in, in {seconds:.1f} s ({created / seconds:,.0f} tweets/s; "
            "those of an earlier run are among them)"
        )
        self._report(rejects)

    def _user_ids(self, mapping: dict[int, int]) -> dict[int, int]:
        """Return, for each author, the id here of the graph's user who stands for them."""
        names = {username(source): author for author, source in mapping.items()}
        with connect(self._settings.primary_dsn()) as connection:
            rows = connection.execute(
                "SELECT username, id FROM users"
                " WHERE username = ANY(%s) AND email IS NULL AND password_hash IS NULL",
                (list(names),),
            )
            return {names[name]: user_id for name, user_id in rows}

    def _wait_drained(self) -> None:
        started = time.monotonic()
        task = self._progress.add_task("events on their way", total=None, count=0)
        with Feed(self._settings) as feed:
            while (remaining := self._remaining(feed)) != 0:
                if time.monotonic() - started > DRAIN_SECONDS:
                    raise LoadError(
                        "the events have not drained: `fanfare status` shows where they wait."
                    )
                self._progress.update(task, count=remaining or 0)
                time.sleep(0.1)
        self._progress.update(task, total=1, completed=1, count=0)
        self._say(f"Drained {time.monotonic() - started:.1f} s after the last post")

    def _remaining(self, feed: Feed) -> int | None:
        try:
            return feed.remaining()
        except (KafkaException, RedisError):
            return None  # restarting, perhaps; the deadline tells

    def _task(self, what: str, path: Path) -> TaskID:
        return self._progress.add_task(what, total=path.stat().st_size, count=0)

    def _finish(self, task: TaskID) -> None:
        self._progress.update(task, completed=self._progress.tasks[task].total)

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _report(self, rejects: Rejects) -> None:
        for reason, count in rejects.counts.most_common():
            self._say(f"  {count:,} refused: {reason}; {'; '.join(rejects.examples[reason])}")


def username(source_id: int) -> str:
    """Return the name here of a user of the source."""
    return f"u{source_id}"


def copy_follows(
    connection: psycopg.Connection, edges: Sequence[Edge], rejects: Rejects
) -> tuple[int, int]:
    """Load edges and their users in one transaction; return how many users and edges are new.

    Refuses edges from or to an account that is somebody's own.
    """
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE incoming (follower text, followed text) ON COMMIT DROP"
        )
        with cursor.copy("COPY incoming FROM STDIN") as copy:
            for follower, followed in edges:
                copy.write_row((username(follower), username(followed)))
        users = cursor.execute(
            "INSERT INTO users (username)"
            " SELECT follower FROM incoming UNION SELECT followed FROM incoming ORDER BY 1"
            " ON CONFLICT DO NOTHING"
        ).rowcount
        # As FollowUser does: the users first, in one order, so that none is deleted meanwhile.
        cursor.execute(
            "CREATE TEMPORARY TABLE imported ON COMMIT DROP AS"
            " SELECT id, username FROM users WHERE username IN"
            " (SELECT follower FROM incoming UNION SELECT followed FROM incoming)"
            " AND email IS NULL AND password_hash IS NULL"
            " ORDER BY id FOR KEY SHARE"
        )
        cursor.execute(
            "SELECT follower, followed FROM incoming"
            " WHERE follower NOT IN (SELECT username FROM imported)"
            " OR followed NOT IN (SELECT username FROM imported)"
        )
        for follower, followed in cursor.fetchall():
            rejects.add("a name that is somebody's own account", f"{follower} follows {followed}")
        cursor.execute(
            "INSERT INTO follows (follower_id, followed_id)"
            " SELECT a.id, b.id FROM incoming"
            " JOIN imported a ON a.username = follower JOIN imported b ON b.username = followed"
            " ON CONFLICT DO NOTHING RETURNING follower_id, followed_id"
        )
        new = cursor.fetchall()
        # Else the events could have ids that a lost history gave out before.
        cursor.execute("SELECT begin_history(forced => false)")
        with cursor.copy("COPY outbox (key, type, payload) FROM STDIN") as copy:
            for follower_id, followed_id in new:
                event = events.user_followed(follower_id, followed_id)
                copy.write_row((event.key, event.type, event.payload))
        cursor.execute("SELECT pg_notify('fanfare_outbox', '')")
    return users, len(new)


def _create(
    stub: WriteServiceStub, posts: Sequence[Post], users: dict[int, int], rejects: Rejects
) -> int:
    """Create a batch of tweets; return how many there are now."""
    items = []
    for post in posts:
        if post.author not in users:
            rejects.add("an author who stands for no imported user", f"line {post.line}")
            continue
        request = w.CreateTweetRequest(
            user_id=users[post.author], content=post.text, request_id=post.request_id
        )
        items.append((post, request))
    batch = w.BatchCreateTweetsRequest(requests=[item for _, item in items])
    created = 0
    for (post, _), result in zip(items, _patiently(stub, batch).results, strict=True):
        if result.HasField("error"):
            info = ErrorInfo()
            for detail in result.error.details:
                detail.Unpack(info)
            reason = f"{info.reason}, {result.error.message}"
            rejects.add(reason, f"line {post.line}: {post.text[:40]}")
        else:
            created += 1
    return created


def _patiently(
    stub: WriteServiceStub, request: w.BatchCreateTweetsRequest
) -> w.BatchCreateTweetsResponse:
    """Send a batch until the write service takes all of it, or has been away too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = 0.1
    while True:
        try:
            answer = stub.BatchCreateTweets(request, timeout=CALL_SECONDS)
            if not any(_retryable(result.error.code) for result in answer.results):
                return answer
            said = "the database does not answer"
        except grpc.RpcError as error:
            code = error.code()
            said = f"{code.name}, {error.details()}"
            if not _retryable(code.value[0]):
                raise LoadError(f"the write service refuses: {said}") from error
        if time.monotonic() > deadline:
            raise LoadError(
                f"the write service is away ({said}): the same command goes on from here."
            )
        time.sleep(pause)
        pause = min(2 * pause, 2.0)


def _retryable(code: int) -> bool:
    # The request_ids make repeating safe, whatever became of the first try.
    return code in {
        grpc.StatusCode.UNAVAILABLE.value[0],
        grpc.StatusCode.RESOURCE_EXHAUSTED.value[0],
        grpc.StatusCode.DEADLINE_EXCEEDED.value[0],
    }


def batches(posts: Iterable[Post]) -> Iterator[list[Post]]:
    """Yield the posts, in their order, in batches that one request can hold."""
    batch: list[Post] = []
    size = 0
    for post in posts:
        weight = len(post.text.encode())
        if len(batch) == BATCH or (batch and size + weight > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(post)
        size += weight
    if batch:
        yield batch


def _chunks(items: Iterator[_Item], size: int) -> Iterator[list[_Item]]:
    while chunk := list(islice(items, size)):
        yield chunk
