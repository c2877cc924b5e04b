"""`fanfare rebuild`: timelines removed from Redis, to be built anew by their next readers."""

from __future__ import annotations

import click
from redis import Redis
from redis.exceptions import RedisError

from core.scan import unlink_all
from core.settings import load_settings
from core.timeline import ALL_AUTHOR_LISTS, ALL_TIMELINES, author_list, home_list


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
        with Redis.from_url(load_settings().redis_address(), socket_timeout=10) as redis:
            if user is not None:
                removed = int(redis.unlink(home_list(user).key, author_list(user).key))
            else:
                removed = unlink_all(redis, ALL_TIMELINES, ALL_AUTHOR_LISTS)
    except RedisError as error:
        raise click.ClickException(f"Redis does not answer: {error}") from error
    click.echo(f"{removed:,} cached lists removed")
