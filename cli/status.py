"""`fanfare status`: what there is, what waits, who answers, and whether all of it is right."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import click
import psycopg
from confluent_kafka import KafkaException
from redis import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.feed.history import OtherHistoryError
from core.rpc.health_probe import probe, rest_serves
from core.settings import Settings, load_settings
from ops.feed_status import Feed, Partition, connect, current_keys
from ops.replication import look, verdict

# The relay sends an event within milliseconds, and after a restart of Kafka within some 15 s.
MAX_OUTBOX_SECONDS = 30.0
# The worker moves each partition that waits well within this time, its pauses after a failure
# included.
STILL_SECONDS = 10.0
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    label: str
    text: str
    wrong: bool = False


Rows = Iterable[Row]


@click.command()
def command() -> None:
    """Show what there is, what waits and who serves; exit with 1 when any of it is not right."""
    settings = load_settings()
    with Feed(settings) as feed:
        parts: list[tuple[str, Callable[[], Rows]]] = [
            ("Postgres", lambda: _counts(settings)),
            ("Postgres", lambda: _outbox(feed)),
            ("replica", lambda: _replica(settings)),
            ("Kafka or Redis", lambda: _partitions(feed)),
            ("Redis", lambda: _cached(settings)),
            ("processes", lambda: _processes(settings)),
        ]
        rows = [row for name, part in parts for row in _answers(name, part)]
    table = Table(show_header=False, box=None)
    for row in rows:
        text = escape(row.text)
        table.add_row(row.label, f"[red]{text}[/red]" if row.wrong else text)
    Console().print(table)
    wrong = dict.fromkeys(row.label for row in rows if row.wrong)
    if wrong:
        # In words too: there is no red in a file.
        click.echo(f"Not right: {', '.join(wrong)}.", err=True)
        sys.exit(1)


def outbox_row(count: int, age: float) -> Row:
    """Return the row for so many events that wait, the oldest for so many seconds."""
    text = f"{count:,}" + (f", the oldest for {age:.1f} s" if count else "")
    return Row("outbox waiting", text, wrong=age > MAX_OUTBOX_SECONDS)


def partition_row(partition: Partition, *, still: bool) -> Row:
    """Return the row for a partition; still: it had to move in STILL_SECONDS and has not."""
    lag = "no checkpoint yet" if partition.lag is None else f"lag {partition.lag:,}"
    committed = "none" if partition.committed is None else f"{partition.committed:,}"
    text = f"{lag} (end {partition.end:,}, committed {committed})"
    if still:
        text += f", and has not moved for {STILL_SECONDS:.0f} s"
    return Row(f"partition {partition.number}", text, wrong=still)


def watch_partitions(
    partitions: Callable[[], list[Partition]],
    pause: Callable[[float], None] = time.sleep,
) -> Rows:
    """Yield the rows of all partitions, after looking whether those that wait move.

    Lag is what load makes, and is right as long as it is being worked off.

    Args:
        partitions: looks at them.
        pause: lets so many seconds pass.
    """
    found = partitions()
    # Those with lag, and those of which nobody knows: none may stay as it is.
    waiting = {partition.number: partition.applied for partition in found if partition.lag != 0}
    left = STILL_SECONDS
    while waiting and left > 0:
        pause(POLL_SECONDS)
        left -= POLL_SECONDS
        found = partitions()
        for partition in found:
            before = waiting.get(partition.number)
            if partition.lag == 0 or partition.applied != before:
                waiting.pop(partition.number, None)
    for partition in found:
        yield partition_row(partition, still=partition.number in waiting)


def _answers(name: str, part: Callable[[], Rows]) -> list[Row]:
    """Return a part's rows, and a wrong one where it cannot be asked."""
    rows = []
    try:
        for row in part():
            rows.append(row)  # noqa: PERF402 - those before a failure are shown too
    except (psycopg.Error, KafkaException, RedisError, OtherHistoryError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        rows.append(Row(name, f"does not answer: {said[0]}", wrong=True))
    return rows


def _counts(settings: Settings) -> Rows:
    with connect(settings.primary_dsn()) as connection:
        for table in ("users", "tweets", "follows"):
            row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()  # noqa: S608 - our own names
            yield Row(table, f"{row[0]:,}" if row else "?")


def _outbox(feed: Feed) -> Rows:
    yield outbox_row(*feed.waiting())


def _replica(settings: Settings) -> Rows:
    primary, replica = settings.primary_dsn(), settings.replica_dsn()
    if primary != replica:
        text, wrong = verdict(look(primary, replica), settings.max_replica_lag)
        yield Row("replica", text, wrong=wrong)


def _partitions(feed: Feed) -> Rows:
    return watch_partitions(feed.partitions)


def _cached(settings: Settings) -> Rows:
    with Redis.from_url(settings.redis_address(), socket_timeout=5) as redis:
        # A scan of all keys, in steps that keep nobody waiting.
        timelines = current_keys(settings).timelines
        count = sum(1 for _ in redis.scan_iter(timelines, count=10_000))
        yield Row("cached timelines", f"{count:,}")


def _processes(settings: Settings) -> Rows:
    targets = {
        "write service": settings.write_service_target(),
        "read service": settings.read_service_target(),
        "fan-out worker": f"127.0.0.1:{settings.worker_port}",
    }
    for name, target in targets.items():
        yield _verdict(name, target, serving=probe(target, tls_dir=settings.tls_dir) is None)
    for name, port in (
        ("REST commands", settings.rest_write_port),
        ("REST queries", settings.rest_read_port),
    ):
        if port:  # 0 turns REST off
            serving = rest_serves(port, settings.tls_dir)
            yield _verdict(name, f"127.0.0.1:{port}", serving=serving)


def _verdict(name: str, target: str, *, serving: bool) -> Row:
    return Row(name, "serving" if serving else f"not serving {target}", wrong=not serving)
