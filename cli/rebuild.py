"""`fanfare rebuild`: have cached timelines built again."""

from __future__ import annotations

import click

from cli.arguments import USER_ID
from ops.instance import load_instance_settings
from ops.rebuild import remove_cached_timelines

# The backspace tells click not to wrap the lines.
EXAMPLES = """\b
Examples:
  fanfare rebuild --user 7
  fanfare rebuild --all
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--user",
    type=USER_ID,
    metavar="ID",
    help="Only this user's timeline.",
)
@click.option("--all", "everybody", is_flag=True, help="The timelines of all users.")
def command(user: int | None, *, everybody: bool) -> None:
    """Have cached timelines built again.

    Removes them from Redis; each is built from Postgres when it is next read. For when a timeline
    looks wrong. Safe at any time: until then, readers are served from Postgres. With --all,
    Postgres has the work of building every timeline that is read.
    """
    if (user is None) is not everybody:
        raise click.UsageError("give either --user ID or --all")
    removed = remove_cached_timelines(load_instance_settings(), user)
    click.echo(f"{removed:,} cached lists removed")
