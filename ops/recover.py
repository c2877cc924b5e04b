"""`fanfare recover`: a new history by hand, after what Fanfare cannot notice by itself."""

from __future__ import annotations

import re
from collections import Counter

import click
import psycopg
from redis import Redis
from redis.exceptions import RedisError

from core.settings import load_settings
from core.storage.scan import unlink_all
from ops.feed_status import connect

STEP = 10_000


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what is found, and change nothing.")
def command(*, dry_run: bool) -> None:
    """Begin a new history: all timelines in Redis are built anew from what Postgres has now.

    A restart, restore or failover of Postgres is noticed without it. It is for what nothing shows,
    such as rows put back in a running server or records missing from a restored Kafka, and for
    doubt. Safe at any time and as often as you like; until timelines are built again, Postgres
    answers. Consistency tokens given out before it are refused afterwards.
    """
    settings = load_settings()
    try:
        with connect(settings.primary_dsn()) as connection:
            history = _report_postgres(connection)
            if not dry_run:
                history = _begin(connection)
                click.echo(f"Began history {history}; workers and readers follow in two seconds.")
    except psycopg.Error as error:
        raise click.ClickException(f"Postgres does not answer: {error}") from error
    try:
        with Redis.from_url(settings.redis_address(), socket_timeout=10) as redis:
            _report_redis(redis, settings.redis_prefix, history)
            if dry_run:
                click.echo("Nothing was changed (--dry-run).")
            else:
                removed = _remove_others(redis, settings.redis_prefix, history)
                click.echo(f"Removed {removed:,} keys of other histories from Redis.")
    except RedisError as error:
        # Nobody reads those keys: they only take memory.
        click.echo(
            f"Redis does not answer, so keys of other histories stay in it: {error}; to remove "
            "them, run this command again.",
            err=True,
        )


def _report_postgres(connection: psycopg.Connection) -> str:
    """Say what the database knows of histories; return the current one."""
    row = connection.execute(
        "SELECT coalesce(history, ''), valid_history() IS NOT NULL,"
        " extract(epoch FROM clock_timestamp() - seen_at),"
        " (SELECT count(*) FROM ended_histories) FROM relay_state"
    ).fetchone()
    if row is None:
        raise psycopg.OperationalError("relay_state is empty: run `fanfare migrate`")
    history, is_valid, heartbeat_seconds, ended = row
    state = "valid" if is_valid else "ended by a restart, restore or failover"
    click.echo(
        f"Postgres: history {history or 'none'} ({state}), {ended} before it; last heartbeat of a "
        f"relay {heartbeat_seconds:.0f} s ago"
    )
    return str(history)


def _begin(connection: psycopg.Connection) -> str:
    """Begin a new history and wake the relay; return the history."""
    row = connection.execute("SELECT begin_history(forced => true)").fetchone()
    connection.execute("SELECT pg_notify('fanfare_outbox', '')")
    return str(row[0]) if row is not None else ""


def _report_redis(redis: Redis, prefix: str, current: str) -> None:
    """Say how many keys each history has in Redis."""
    everything = redis.scan_iter(f"{prefix}*", count=STEP)
    matches = filter(None, map(_histories(prefix).match, everything))
    keys = Counter(match.group(1).decode() for match in matches)
    for history, count in keys.most_common():
        which = "the current history" if history == current else "another history"
        click.echo(f"Redis: {count:,} keys of {which}, {history}")
    if not keys:
        click.echo("Redis: no keys of any history")


def _histories(prefix: str) -> re.Pattern[bytes]:
    """Return what matches the beginning of a history's key, with the history as its group."""
    return re.compile(re.escape(prefix.encode()) + rb"([0-9a-f]{10}):")


def _remove_others(redis: Redis, prefix: str, history: str) -> int:
    kept = _histories(prefix)

    def is_other(key: bytes) -> bool:
        match = kept.match(key)
        return match is not None and match.group(1) != history.encode()

    return unlink_all(redis, f"{prefix}*", only=is_other)
