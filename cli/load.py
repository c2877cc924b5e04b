"""`fanfare load`: import users, follows and posts from files."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from ops.instance import load_instance_settings
from ops.load import Loader

_INPUT = click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)

# The backspace tells click not to wrap the lines.
EXAMPLES = """\b
Examples:
  fanfare load --follows follows.txt.gz --posts posts.jsonl.gz
  zcat follows.txt.gz | head -1000 | fanfare load --follows -
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--follows", type=_INPUT, help="One follow per line, 'A B' or 'A,B': user A follows user B."
)
@click.option(
    "--posts", type=_INPUT, help="One JSON object per line, with author, created_ms and text."
)
def command(follows: Path | None, posts: Path | None) -> None:
    """Import users, follows and posts from files.

    Each is a file, a pipe, or - for standard input: text in UTF-8, or in UTF-16 with a byte order
    mark, with any line ends, and compressed with gzip or not. Lines that cannot be used are counted
    and skipped; the exit status is 1 if no line of an input could be used.

    User N of the follows and author N of the posts are the same user, named uN. Tweets get the time
    of their loading. A follow is identified by its two users, and a post by its author, created_ms
    and text (and a repeated one by how many were before it). So loading the same lines again, in
    any order and beside any others, adds nothing twice, and after a failure the same command
    continues.
    """
    if follows is None and posts is None:
        raise click.UsageError("give --follows, --posts, or both")
    if follows == posts:
        raise click.UsageError("give --follows and --posts different inputs")
    try:
        Loader(load_instance_settings(), Console()).run(follows, posts)
    except KeyboardInterrupt:
        click.echo("Nothing is lost; run the same command again to continue.", err=True)
        raise
