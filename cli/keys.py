"""`fanfare keys`: make the keys that sign access tokens."""

from __future__ import annotations

import click

from core.auth.access_tokens import SETTLE_SECONDS, create_key
from ops.instance import load_instance_settings

# The backspace tells click not to wrap the lines.
EXAMPLES = """\b
Examples:
  FANFARE_AUTH_KEYS=/etc/fanfare/keys fanfare keys new
"""


@click.group(epilog=EXAMPLES)
def commands() -> None:
    """Make keys that sign access tokens."""


@commands.command(epilog=EXAMPLES)
def new() -> None:
    """Make a new key.

    Writes it into the folder FANFARE_AUTH_KEYS, which is created if it does not exist. The key
    begins to sign a minute later, when every process has seen it. To replace a key, make a new one,
    wait eleven minutes until all tokens of the old key have expired, and then remove the old key's
    two files.
    """
    folder = load_instance_settings().auth_keys
    if folder is None:
        raise click.ClickException("FANFARE_AUTH_KEYS is not set; set it to the folder of the keys")
    try:
        kid = create_key(folder)
    except OSError as error:
        raise click.ClickException(
            f"cannot write to {folder}: {error.strerror}; run this as a user who can, or change "
            "FANFARE_AUTH_KEYS"
        ) from error
    click.echo(f"{kid} was written to {folder}; it begins to sign in {SETTLE_SECONDS:.0f} seconds.")
