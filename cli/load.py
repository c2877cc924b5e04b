"""`fanfare load`: import users, follows and posts from files."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from core.settings import load_settings
from ops.load import Loader


@click.command()
@click.option(
    "--follows",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="One follow per line, 'A B': user A follows user B. May be gzipped (.gz).",
)
@click.option(
    "--posts",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="One JSON object per line, with author, created_ms and text. May be gzipped (.gz).",
)
def command(follows: Path, posts: Path | None) -> None:
    """Import users, follows and posts from files.

    User N of the follows file becomes the user named uN. The authors of the posts file need not be
    users of the follows file: the author with the most posts becomes the user with the most
    followers, and so on. Tweets get the time of their loading. Loading the same files again adds
    nothing twice, so after a failure the same command continues.
    """
    try:
        Loader(load_settings(), Console()).run(follows, posts)
    except KeyboardInterrupt:
        raise click.ClickException("interrupted; run the same command again to continue") from None
