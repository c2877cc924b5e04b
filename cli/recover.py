"""`fanfare recover`: a new history by hand, after what Fanfare cannot notice by itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import click
import psycopg
from redis import Redis
from redis.exceptions import RedisError

from cli.feed import connect
from core.scan import unlink_all
from core.settings import Settings, load_settings

STEP = 10_000


@dataclass(frozen=True)
class Found:
    """What Postgres and Redis say of histories."""

    history: str | None
    """The current one of the database."""
    is_valid: bool
    """Whether it began on the server as it runs now."""
    heartbeat_seconds: float
    """How long ago a relay was last at work."""
    ended: int
    """How many histories the database has left behind."""
    keys: Counter[str]
    """How many keys each history has in Redis."""


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what is found, and change nothing.")
def command(*, dry_run: bool) -> None:
    """Begin a new history: all timelines in Redis are built anew from what Postgres has now.

    A restart, restore or failover of Postgres is noticed without it. It is for what nothing shows:
    rows put back in a running server, Kafka restored from a copy so that offsets stand for other
    records, or doubt. Safe at any time and as often as you like; until timelines are built again,
    Postgres answers. Consistency tokens of the last second before it may be refused afterwards.
    """
    settings = load_settings()
    try:
        with Redis.from_url(settings.redis_address(), socket_timeout=10) as redis:
            found = look(settings, redis)
            for line in _report(found):
                click.echo(line)
            if dry_run:
                click.echo("Nothing was changed (--dry-run).")
                return
            history = begin(settings)
            click.echo(f"Began history {history}; workers and readers follow within two seconds.")
            removed = _remove_others(redis, settings.redis_prefix, history)
            click.echo(f"Removed {removed:,} keys of other histories from Redis.")
    except psycopg.Error as error:
        raise click.ClickException(f"Postgres does not answer: {error}") from error
    except RedisError as error:
        raise click.ClickException(f"Redis does not answer: {error}") from error


def look(settings: Settings, redis: Redis) -> Found:
    """Return what there is; raises psycopg.Error and RedisError when a server does not answer."""
    with connect(settings.primary_dsn()) as connection:
        row = connection.execute(
            "SELECT history, valid_history() IS NOT NULL,"
            " extract(epoch FROM clock_timestamp() - seen_at),"
            " (SELECT count(*) FROM ended_histories) FROM relay_state"
        ).fetchone()
    if row is None:
        raise psycopg.OperationalError("relay_state is empty: run `fanfare migrate`")
    kept = _histories(settings.redis_prefix)
    everything = redis.scan_iter(f"{settings.redis_prefix}*", count=STEP)
    matches = filter(None, map(kept.match, everything))
    keys = Counter(match.group(1).decode() for match in matches)
    return Found(row[0], row[1], float(row[2]), row[3], keys)


def begin(settings: Settings) -> str:
    """Begin a new history and wake the relay; return the history. Raises psycopg.Error."""
    with connect(settings.primary_dsn()) as connection:
        row = connection.execute("SELECT begin_history(forced => true)").fetchone()
        connection.execute("SELECT pg_notify('fanfare_outbox', '')")
    return str(row[0]) if row is not None else ""


def _report(found: Found) -> Iterator[str]:
    if found.history is None:
        yield "Postgres: no history has begun yet"
    else:
        state = "valid" if found.is_valid else "ended by a restart, restore or failover"
        yield (
            f"Postgres: history {found.history} ({state}), {found.ended} before it; "
            f"last heartbeat of a relay {found.heartbeat_seconds:.0f} s ago"
        )
    for history, count in found.keys.most_common():
        which = "this history" if history == found.history else "another history"
        yield f"Redis: {count:,} keys of {which}, {history}"
    if not found.keys:
        yield "Redis: no keys of any history"


def _histories(prefix: str) -> re.Pattern[bytes]:
    """Return what matches the beginning of a history's key, with the history as its group."""
    return re.compile(re.escape(prefix.encode()) + rb"([0-9a-f]{10}):")


def _remove_others(redis: Redis, prefix: str, history: str) -> int:
    kept = _histories(prefix)

    def is_other(key: bytes) -> bool:
        match = kept.match(key)
        return match is not None and match.group(1) != history.encode()

    return unlink_all(redis, f"{prefix}*", only=is_other)
