"""`fanfare admin`: make users administrators."""

from __future__ import annotations

import click

from cli.arguments import UTF8
from ops.administrators import set_administrator
from ops.instance import load_instance_settings

# The backspace tells click not to wrap the lines.
EXAMPLES = """\b
Examples:
  fanfare admin alice
  fanfare admin alice --revoke
"""


@click.command(epilog=EXAMPLES)
@click.argument("username", type=UTF8)
@click.option("--revoke", is_flag=True, help="Make the user an ordinary user again.")
def command(username: str, *, revoke: bool) -> None:
    """Make a user an administrator.

    Administrators may delete any tweet and any user. Takes effect with the user's next access
    token, within ten minutes; revoking takes effect at once.
    """
    set_administrator(load_instance_settings(), username, is_administrator=not revoke)
    click.echo(f"{username} is {'no longer' if revoke else 'now'} an administrator.")
