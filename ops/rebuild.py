"""`fanfare rebuild`: timelines removed from Redis, to be built anew by their next readers."""

from __future__ import annotations

import click
import psycopg
from redis import Redis
from redis.exceptions import RedisError

from core.feed.history import OtherHistoryError
from core.feed.timeline_lists import author_list, home_list
from core.settings import load_settings
from core.storage.scan import unlink_all
from ops.feed_status import current_keys


@click.command()
@click.option("--user", type=click.IntRange(min=1), help="The timeline of this user.")
@click.option("--all", "everybody", is_flag=True, help="All timelines.")
def command(user: int | None, *, everybody: bool) -> None:
    """Remove a timeline, or all, from Redis; readers get theirs from Postgres until it is built.

    Always safe, and seldom needed: for whoever doubts a timeline. All at once makes work for
    Postgres, as each is built when it is next read.
    """
    if (user is None) is not everybody:
        raise click.UsageError("say which: --user ID or --all")
    try:
        settings = load_settings()
        with Redis.from_url(settings.redis_address(), socket_timeout=10) as redis:
            keys = current_keys(settings)
            if user is not None:
                lists = map(keys.for_list, (home_list(user), author_list(user)))
                removed = int(redis.unlink(*lists))
            else:
                removed = unlink_all(redis, keys.timelines, keys.authors)
    except RedisError as error:
        raise click.ClickException(f"Redis does not answer: {error}") from error
    except (psycopg.Error, OtherHistoryError) as error:
        raise click.ClickException(f"the database does not say its history: {error}") from error
    click.echo(f"{removed:,} cached lists removed")
