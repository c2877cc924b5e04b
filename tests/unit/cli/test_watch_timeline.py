"""How `fanfare watch` looks in a terminal."""

from __future__ import annotations

import io

import pytest
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1.read_pb2 import Heartbeat, WatchHomeTimelineResponse
from rich.console import Console

from cli.watch_timeline import Watched, screen
from ops.watched_timeline import Disconnected

HEARTBEAT = WatchHomeTimelineResponse(heartbeat=Heartbeat())


def _shown(watched: Watched, width: int = 60) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=width).print(screen(watched, 7))
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_it_says_whether_it_is_live() -> None:
    """An empty timeline is called so only once that is known."""
    watched = Watched()
    assert _shown(watched) == ["Home timeline of user 7; q quits; connecting", ""]
    watched.apply(HEARTBEAT)
    assert _shown(watched) == ["Home timeline of user 7; q quits; live", "", "No tweets yet."]
    watched.apply(Disconnected("down \x1b[2J\u202e", 1.0))
    assert _shown(watched, 80) == [
        r"Home timeline of user 7; q quits; reconnecting: down \x1b[2J\u202e",
        "",
    ]


@pytest.mark.parametrize("width", [1, 10, 40, 100])
def test_it_fits_into_any_terminal(width: int) -> None:
    """Newest first; long texts go on in the next line."""
    watched = Watched(usernames={2: "bob"})
    for id_, content in ((1, "x" * 280), (2, "newest")):
        tweet = Tweet(id=id_, user_id=2, content=content)
        watched.apply(WatchHomeTimelineResponse(tweet=tweet))
    lines = _shown(watched, width)
    assert max(map(len, lines)) <= width
    text = "".join(lines).replace(" ", "")
    assert text.index("newest") < text.index("xxx")
    assert text.count("x") == 280
