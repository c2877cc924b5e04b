"""`fanfare keys` and `fanfare admin`: what signs access tokens, and who may do more."""

from __future__ import annotations

import click
import psycopg

from core.auth.access_tokens import SETTLE_SECONDS, create_key
from core.settings import load_settings
from ops.feed_status import connect


@click.group()
def keys() -> None:
    """Make the keys that access tokens are signed with."""


@keys.command()
def new() -> None:
    """Write a new key into FANFARE_AUTH_KEYS, which is made if it is not there.

    It signs once it has been there for a minute. To replace a key: make a new one, and eleven
    minutes later, when no token of the old one is valid, remove the old one's two files.
    """
    folder = load_settings().auth_keys
    if folder is None:
        raise click.ClickException("FANFARE_AUTH_KEYS is not set: set it to the folder of keys.")
    try:
        kid = create_key(folder)
    except OSError as error:
        raise click.ClickException(f"{folder} cannot be written to: {error.strerror}.") from error
    click.echo(f"{kid} is in {folder}; it signs in {SETTLE_SECONDS:.0f} seconds.")


@click.command()
@click.argument("username")
@click.option("--revoke", is_flag=True, help="Take it back.")
def admin(username: str, *, revoke: bool) -> None:
    """Make a user an administrator; it shows in their next access token, in ten minutes at most."""
    try:
        with connect(load_settings().primary_dsn()) as connection:
            cursor = connection.execute(
                "UPDATE users SET admin = %s WHERE lower(username) = lower(%s)",
                (not revoke, username),
            )
    except psycopg.OperationalError as error:
        raise click.ClickException(f"Postgres does not answer: {error}") from error
    if not cursor.rowcount:
        raise click.ClickException(f"There is no user {username}.")
    click.echo(f"{username} is {'no longer' if revoke else 'now'} an administrator.")
