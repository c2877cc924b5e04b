"""`fanfare watch`: a home timeline that changes while it is looked at."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1.read_pb2 import WatchHomeTimelineResponse
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from cli.arguments import USER_ID
from cli.client import limit_option, token_file_option, tweet_text
from cli.json_output import json_option, message_json, print_json_line
from cli.output import output_has_ended
from cli.signals import interrupt_on_signals
from cli.terminal import single_keys
from cli.texts import one_line
from ops.client import Client
from ops.instance import load_instance_settings
from ops.watched_timeline import Disconnected, WatchedTimeline

# How often keys are looked at, and the screen is drawn if something has changed.
REFRESH_SECONDS = 0.2
CONNECTING = "connecting"

# The backspace tells click not to wrap the lines.
EXAMPLES = """\b
Examples:
  fanfare watch 1
  fanfare watch 1 | tee timeline.log
  fanfare watch 1 --json | jq --unbuffered -r '.tweet.content // empty'
"""

Events = Iterator[WatchHomeTimelineResponse | Disconnected]


@click.command(epilog=EXAMPLES)
@click.argument("user_id", type=USER_ID)
@limit_option("How many tweets to hold.")
@token_file_option()
@json_option("Print each event as one line of JSON, heartbeats too.")
def command(user_id: int, limit: int, token_file: Path | None, *, as_json: bool) -> None:
    """Show the home timeline of a user, and what changes in it.

    In a terminal, shows the newest tweets until q or Ctrl-C. Elsewhere, prints what happens: "+"
    with each tweet that is new or was edited, "-" with the id of each that is gone or no longer
    among the newest, and "reset" when all that was printed before does not count any more.

    Connects again when the connection is lost, and then shows only the difference. Exits with
    status 0 when it is ended by q or Ctrl-C, or when nobody reads the output any more.
    """
    interrupt_on_signals()
    console = Console(highlight=False)
    try:
        with Client(load_instance_settings(), token_file) as client:
            events = client.watch(user_id, limit)
            if as_json:
                _print_json(events)
            elif sys.stdout is not None and sys.stdout.isatty() and not console.is_dumb_terminal:
                _show(events, client, console, user_id)
            else:
                _print(events, client, console)
    except KeyboardInterrupt:
        pass


@dataclass
class Watched:
    """What a thread has received, for the screen of another."""

    timeline: WatchedTimeline = field(default_factory=WatchedTimeline)
    usernames: Mapping[int, str] = field(default_factory=dict)
    state: str = CONNECTING
    failure: Exception | None = None
    """Why there will be no further events."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    changed: bool = True

    def receive(self, events: Events, client: Client) -> None:
        """Apply all events."""
        try:
            for event in events:
                usernames = dict(client.usernames(_tweets(event)))
                with self.lock:
                    self.usernames = usernames
                    self.apply(event)
        except Exception as error:  # noqa: BLE001 - it is raised again by the thread of the screen
            self.failure = error

    def apply(self, event: WatchHomeTimelineResponse | Disconnected) -> None:
        """Apply one event."""
        self.changed = True
        if isinstance(event, Disconnected):
            self.state = f"reconnecting: {one_line(event.problem)}"
        else:
            self.timeline.apply(event)
            self.state = "live"


def screen(watched: Watched, user_id: int) -> RenderableType:
    """Return what the terminal shows."""
    is_live = watched.state == "live"
    title = Text.assemble(
        ("Home timeline of user ", "dim"),
        (f"{user_id}", "dim"),
        ("; q quits; ", "dim"),
        (watched.state, "green" if is_live else "bold yellow"),
    )
    tweets = watched.timeline.newest()
    if not tweets and is_live:
        return Group(title, "", Text("No tweets yet.", "dim"))
    return Group(title, "", *(tweet_text(tweet, watched.usernames) for tweet in tweets))


def _tweets(event: WatchHomeTimelineResponse | Disconnected) -> list[Tweet]:
    """Return the tweet that an event brings, if it brings one."""
    if isinstance(event, Disconnected) or event.WhichOneof("event") != "tweet":
        return []
    return [event.tweet]


def _show(events: Events, client: Client, console: Console, user_id: int) -> None:
    logging.disable(logging.CRITICAL)  # a line of a log would stay on the screen
    watched = Watched()
    threading.Thread(target=watched.receive, args=(events, client), daemon=True).start()
    with (
        single_keys() as wait_for_key,
        Live(
            console=console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as live,
    ):
        size = console.size
        while not output_has_ended() and watched.failure is None:
            if watched.changed or console.size != size:
                size = console.size
                with watched.lock:
                    shown = screen(watched, user_id)
                    watched.changed = False
                live.update(shown, refresh=True)
            if wait_for_key(REFRESH_SECONDS) in {"q", "Q"}:
                return
    if watched.failure is not None:
        raise watched.failure


def _print(events: Events, client: Client, console: Console) -> None:
    for event in events:
        if isinstance(event, Disconnected):
            _tell(event)
            continue
        match event.WhichOneof("event"):
            case "tweet":
                shown: Tweet = event.tweet
                console.print(tweet_text(shown, client.usernames([shown]), "+ "), soft_wrap=True)
            case "removed_tweet_id":
                click.echo(f"- {event.removed_tweet_id}")
            case "reset":
                click.echo("reset")
        if output_has_ended():
            return


def _print_json(events: Events) -> None:
    for event in events:
        if isinstance(event, Disconnected):
            _tell(event)
            continue
        print_json_line(message_json(event))
        if output_has_ended():
            return


def _tell(event: Disconnected) -> None:
    text = f"{one_line(event.problem)}; connecting again in {event.pause_seconds:.1f} s"
    click.echo(f"Disconnected: {text}", err=True)
