"""`fanfare tweet`, `follow` and `timeline`, and what is common to all commands that print."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Self

import click
import pytest
from click.testing import CliRunner
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1.read_pb2 import GetHomeTimelineRequest, GetHomeTimelineResponse
from fanfare.write.v1.write_pb2 import CreateTweetResponse, FollowUserResponse

from cli import client as commands
from cli.main import COMMANDS, cli

HOSTILE = "\x1b[2J\u202eevil\nsecond [bold]line[/bold] :smile:"


def _tweet(id_: int, user_id: int, content: str, updated: int = 0) -> Tweet:
    tweet = Tweet(id=id_, user_id=user_id, content=content)
    tweet.created_at.FromSeconds(1_800_000_000)
    tweet.updated_at.FromSeconds(1_800_000_000 + updated)
    return tweet


class FakeClient:
    """Answers what it is told, and notes what it is asked."""

    asked: tuple[Any, ...] = ()
    page = GetHomeTimelineResponse()

    def __init__(self, *_: object) -> None:
        """Connect to nothing."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close nothing."""

    def tweet(self, user_id: int, content: str) -> CreateTweetResponse:
        """Return the tweet."""
        return CreateTweetResponse(tweet=_tweet(9, user_id, content), consistency_token="T")

    def follow(self, follower_id: int, followed_id: int) -> FollowUserResponse:
        """Note who follows whom."""
        FakeClient.asked = (follower_id, followed_id)
        return FollowUserResponse(consistency_token="T")

    def timeline(self, request: GetHomeTimelineRequest) -> GetHomeTimelineResponse:
        """Return the page."""
        FakeClient.asked = (request,)
        return FakeClient.page

    def usernames(self, tweets: Iterable[Tweet]) -> dict[int, str]:
        """Know user 2 only."""
        return {2: "bob"} if list(tweets) else {}


@pytest.fixture(autouse=True)
def fake_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the commands call the fake."""
    monkeypatch.setattr(commands, "Client", FakeClient)
    monkeypatch.setattr(commands, "load_instance_settings", lambda: None)


def _run(*arguments: str) -> tuple[str, str]:
    ended = CliRunner().invoke(cli, arguments)
    assert ended.exit_code == 0, ended.output
    return ended.stdout, ended.stderr


def test_a_tweet_is_shown_as_it_was_stored() -> None:
    """With its author, its time and its id; in JSON also with the consistency token."""
    shown, told = _run("tweet", "2", "hello")
    assert (shown, told) == ("@bob  2027-01-15 08:00:00 UTC  9\n    hello\n", "")
    answer = json.loads(_run("tweet", "2", "hello", "--json")[0])
    assert (answer["tweet"]["id"], answer["consistency_token"]) == ("9", "T")


def test_a_text_that_looks_like_an_option_can_be_a_tweet() -> None:
    """After --, as everywhere."""
    assert "    --json\n" in _run("tweet", "2", "--", "--json")[0]


def test_following_is_told() -> None:
    """The first argument is the follower."""
    assert _run("follow", "1", "2") == ("user 1 follows user 2\n", "")
    assert FakeClient.asked == (1, 2)
    assert json.loads(_run("follow", "1", "2", "--json")[0]) == {"consistency_token": "T"}


def test_a_page_shows_hostile_tweets_harmlessly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither escape sequences nor marks of direction nor markup have an effect."""
    tweets = [_tweet(8, 2, HOSTILE, updated=60), _tweet(7, 3, "x" * 280)]
    page = GetHomeTimelineResponse(tweets=tweets, next_page_token="P")
    monkeypatch.setattr(FakeClient, "page", page)
    shown, told = _run("timeline", "1", "--limit", "2")
    assert shown.splitlines() == [
        "@bob  2027-01-15 08:00:00 UTC  8  edited 2027-01-15 08:01:00",
        r"    \x1b[2J\u202eevil",
        "    second [bold]line[/bold] :smile:",
        "user 3  2027-01-15 08:00:00 UTC  7",
        f"    {'x' * 280}",
    ]
    assert told == "There are more: fanfare timeline 1 --limit 2 --page-token P\n"
    printed, told = _run("timeline", "1", "--json")
    assert printed.isascii()
    assert json.loads(printed)["tweets"][0]["content"] == HOSTILE
    assert told == ""


def test_the_request_has_all_options() -> None:
    """Each is optional."""
    _run("timeline", "1", "--limit", "3", "--page-token", "P", "--consistency-token", "T")
    assert FakeClient.asked == (
        GetHomeTimelineRequest(user_id=1, limit=3, page_token="P", consistency_token="T"),
    )


@pytest.mark.parametrize("user_id", ["0", "-1", "x", "1.0", "", "9" * 30, "nan"])
@pytest.mark.parametrize(
    "words", [["timeline"], ["watch"], ["tweet"], ["follow"], ["follow", "1"]], ids=" ".join
)
def test_a_user_id_is_a_positive_number(words: list[str], user_id: str) -> None:
    """Anything else is an error of usage, and reaches no server."""
    rest = ["text"] if words == ["tweet"] else ["2"] if words == ["follow"] else []
    assert CliRunner().invoke(cli, [*words, "--", user_id, *rest]).exit_code == 2


def test_bytes_that_are_no_text_are_an_error_of_usage() -> None:
    """Python decodes them to surrogates, which no message can hold."""
    failed = CliRunner().invoke(cli, ["tweet", "1", "caf\udce9"])
    assert failed.exit_code == 2
    assert "it is not UTF-8" in failed.stderr


def _leaves() -> dict[str, click.Command]:
    context = click.Context(cli)
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= {f"{name} {word}": leaf for word, leaf in command.commands.items()}
        else:
            found[name] = command
    return found


@pytest.mark.parametrize("name", _leaves())
def test_the_examples_of_a_command_can_be_run(name: str) -> None:
    """Each command has some, and they name only arguments and options that exist."""
    epilog = _leaves()[name].epilog or ""
    head, *examples = epilog.splitlines()[1:]
    assert head == "Examples:"
    assert examples
    assert any(f"fanfare {name}" in example for example in examples)
    for example in examples:
        assert len(example) <= 78, example
        call = re.search(r"fanfare ([^|>)]*)", example)
        assert call is not None, example
        words = call[1].split()
        command = _leaves()[" ".join(words[: 2 if words[0] in {"dlq", "keys"} else 1])]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_every_query_has_json() -> None:
    """Those that only change something, or run until they are stopped, have none."""
    with_json = {
        name
        for name, command in _leaves().items()
        if any("--json" in parameter.opts for parameter in command.params)
    }
    assert with_json == {
        "doctor",
        "dlq list",
        "follow",
        "migrate",
        "recover",
        "status",
        "timeline",
        "tweet",
        "verify",
        "watch",
    }
