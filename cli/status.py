"""`fanfare status`: what there is, what waits, and who answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
import psycopg
from confluent_kafka import KafkaException
from redis import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.feed import Feed, connect, current_keys
from core.health_probe import gateway_serves, probe
from core.history import OtherHistoryError
from core.settings import Settings, load_settings

Rows = Iterable[tuple[str, str]]


@click.command()
def command() -> None:
    """Show users, tweets, follows, the outbox, the lag of each partition, cached timelines."""
    settings = load_settings()
    table = Table(show_header=False, box=None)
    with Feed(settings) as feed:
        parts: list[tuple[str, Callable[[], Rows]]] = [
            ("Postgres", lambda: _counts(settings)),
            ("Postgres", lambda: _outbox(feed)),
            ("Kafka or Redis", lambda: _partitions(feed)),
            ("Redis", lambda: _cached(settings)),
            ("processes", lambda: _processes(settings)),
        ]
        for name, rows in parts:
            try:
                for label, value in rows():
                    table.add_row(label, value)
            except (psycopg.Error, KafkaException, RedisError, OtherHistoryError) as error:
                said = escape(str(error).splitlines()[0])
                table.add_row(name, f"[red]does not answer: {said}[/red]")
    Console().print(table)


def _counts(settings: Settings) -> Rows:
    with connect(settings.primary_dsn()) as connection:
        for table in ("users", "tweets", "follows"):
            row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()  # noqa: S608 - our own names
            yield table, f"{row[0]:,}" if row else "?"


def _outbox(feed: Feed) -> Rows:
    count, age = feed.waiting()
    yield "outbox waiting", f"{count:,}" + (f", the oldest for {age:.1f} s" if count else "")


def _partitions(feed: Feed) -> Rows:
    for partition in feed.partitions():
        lag = "no fence yet" if partition.lag is None else f"lag {partition.lag:,}"
        committed = "none" if partition.committed is None else f"{partition.committed:,}"
        yield (
            f"partition {partition.number}",
            f"{lag} (end {partition.end:,}, committed {committed})",
        )


def _cached(settings: Settings) -> Rows:
    with Redis.from_url(settings.redis_address(), socket_timeout=5) as redis:
        # A scan of all keys, in steps that keep nobody waiting.
        timelines = current_keys(settings).timelines
        count = sum(1 for _ in redis.scan_iter(timelines, count=10_000))
        yield "cached timelines", f"{count:,}"


def _processes(settings: Settings) -> Rows:
    targets = {
        "write service": settings.write_service_target(),
        "read service": settings.read_service_target(),
        "fan-out worker": f"127.0.0.1:{settings.worker_port}",
    }
    for name, target in targets.items():
        yield name, _verdict(target, serving=probe(target, tls_dir=settings.tls_dir) is None)
    for name, port in (
        ("gateway, commands", settings.rest_write_port),
        ("gateway, queries", settings.rest_read_port),
    ):
        yield name, _verdict(f"127.0.0.1:{port}", serving=gateway_serves(port, settings.tls_dir))


def _verdict(target: str, *, serving: bool) -> str:
    return "[green]serving[/green]" if serving else f"[red]not serving[/red] {target}"
