"""`fanfare tweet`, `fanfare follow` and `fanfare timeline`: a small client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

import click
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1.read_pb2 import GetHomeTimelineRequest
from rich.console import Console
from rich.text import Text

from cli.arguments import USER_ID, UTF8
from cli.json_output import json_option, message_json, print_json
from cli.texts import lines, one_line
from ops.client import Client
from ops.instance import load_instance_settings

MAX_LIMIT = 100

# The backspaces tell click not to wrap the lines.
TWEET_EXAMPLES = """\b
Examples:
  fanfare tweet 2 'Hello from Bob!'
  fanfare tweet 2 "$(cat draft.txt)"
  fanfare tweet 2 'Hello' --json | jq -r .consistency_token
"""
FOLLOW_EXAMPLES = """\b
Examples:
  fanfare follow 1 2
  fanfare follow 1 2 --json
"""
TIMELINE_EXAMPLES = """\b
Examples:
  fanfare timeline 1
  fanfare timeline 1 --limit 100 --json | jq -r '.tweets[].content'
  fanfare timeline 1 --consistency-token "$TOKEN"
"""


def token_file_option() -> Callable[[Any], Any]:
    """Return the decorator that adds `--token-file`."""
    return click.option(
        "--token-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="A file with an access token. Without it, a token is signed with the keys in "
        "FANFARE_AUTH_KEYS, if authentication is on.",
    )


def limit_option(text: str) -> Callable[[Any], Any]:
    """Return the decorator that adds `--limit`."""
    return click.option(
        "--limit",
        type=click.IntRange(min=1, max=MAX_LIMIT),
        default=20,
        show_default=True,
        help=text,
    )


@click.command(epilog=TWEET_EXAMPLES)
@click.argument("user_id", type=USER_ID)
@click.argument("text", type=UTF8)
@token_file_option()
@json_option()
def tweet(user_id: int, text: str, token_file: Path | None, *, as_json: bool) -> None:
    """Create a tweet of a user.

    Prints the tweet as it was stored: in Unicode normalisation form C, without white space around
    it. With --json, also the consistency token, for queries that must show the tweet.
    """
    with Client(load_instance_settings(), token_file) as client:
        response = client.tweet(user_id, text)
        if as_json:
            print_json(message_json(response))
        else:
            print_tweets([response.tweet], client.usernames([response.tweet]))


@click.command(epilog=FOLLOW_EXAMPLES)
@click.argument("follower", type=USER_ID)
@click.argument("followed", type=USER_ID)
@token_file_option()
@json_option()
def follow(follower: int, followed: int, token_file: Path | None, *, as_json: bool) -> None:
    """Make one user follow another.

    FOLLOWER and FOLLOWED are user ids. Following a user again changes nothing, and is no failure.
    """
    with Client(load_instance_settings(), token_file) as client:
        response = client.follow(follower, followed)
    if as_json:
        print_json(message_json(response))
    else:
        click.echo(f"user {follower} follows user {followed}")


@click.command(epilog=TIMELINE_EXAMPLES)
@click.argument("user_id", type=USER_ID)
@limit_option("How many tweets to show.")
@click.option("--page-token", type=UTF8, default="", help="Show the page that this token names.")
@click.option(
    "--consistency-token",
    type=UTF8,
    default="",
    help="Show the effect of the command that returned this token.",
)
@token_file_option()
@json_option()
def timeline(  # noqa: PLR0913 - click passes each option by itself
    user_id: int,
    limit: int,
    page_token: str,
    consistency_token: str,
    token_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Show a page of the home timeline of a user.

    Shows the tweets of everybody whom the user follows, newest first. If there are more, the
    command for the next page is on stderr.
    """
    request = GetHomeTimelineRequest(
        user_id=user_id, limit=limit, page_token=page_token, consistency_token=consistency_token
    )
    with Client(load_instance_settings(), token_file) as client:
        response = client.timeline(request)
        if as_json:
            print_json(message_json(response))
            return
        print_tweets(response.tweets, client.usernames(response.tweets))
    if response.next_page_token:
        click.echo(
            f"There are more: fanfare timeline {user_id} --limit {limit} "
            f"--page-token {response.next_page_token}",
            err=True,
        )


def print_tweets(tweets: Iterable[Tweet], usernames: Mapping[int, str]) -> None:
    """Print tweets; usernames: those of the authors that are known, by id."""
    console = Console(highlight=False)
    for shown in tweets:
        # A line as long as the text is: a terminal wraps it, and a file keeps it.
        console.print(tweet_text(shown, usernames), soft_wrap=True)


def tweet_text(tweet: Tweet, usernames: Mapping[int, str], mark: str = "") -> Text:
    """Return a tweet as it is shown.

    The content has lines of its own, so that letters that are written from right to left cannot
    change the order of anything else.

    Args:
        tweet: the tweet.
        usernames: the usernames of the authors that are known, by id.
        mark: what to print before it.
    """
    name = usernames.get(tweet.user_id)
    author = f"@{one_line(name)}" if name else f"user {tweet.user_id}"
    created = tweet.created_at.ToDatetime(UTC)
    where = f"  {created:%F %T} UTC  {tweet.id}"
    if tweet.updated_at != tweet.created_at:
        where += f"  edited {tweet.updated_at.ToDatetime(UTC):%F %T}"
    text = Text.assemble((mark, "green"), (author, "bold"), (where, "dim"))
    for line in lines(tweet.content):
        text.append(f"\n    {line}")
    return text
