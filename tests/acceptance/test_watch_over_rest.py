"""Watches of home timelines over REST, as Server-Sent Events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest
from fanfare.common.v1.common_pb2 import User
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare

SECONDS = 30.0
HEARTBEAT = ": heartbeat"


class Page:
    """Holds what a page would: tweets by id, and the id of the last event."""

    def __init__(self) -> None:
        self.tweets: dict[str, Any] = {}
        self.last_id = ""

    def apply(self, lines: list[str]) -> str:
        """Do what an event says; return its name."""
        fields = dict(line.split(": ", 1) for line in lines)
        data = json.loads(fields["data"])
        match fields["event"]:
            case "tweet":
                self.tweets[data["tweet"]["id"]] = data["tweet"]
            case "removed":
                self.tweets.pop(data["removed_tweet_id"], None)
            case "reset":
                self.tweets.clear()
        self.last_id = fields["id"]
        return fields["event"]

    def shown(self) -> list[str]:
        """Return the texts, newest first."""
        return [self.tweets[id_]["content"] for id_ in sorted(self.tweets, key=int, reverse=True)]


@contextmanager
def _stream(fanfare: Fanfare, path: str, last_id: str = "") -> Iterator[HTTPResponse]:
    port = fanfare.settings.rest_read_port
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", path, headers={"Last-Event-ID": last_id} if last_id else {})
        yield connection.getresponse()
    finally:
        connection.close()


def _events(answer: HTTPResponse) -> Iterator[list[str]]:
    """Yield the lines of each event."""
    lines: list[str] = []
    while line := answer.readline().decode():
        if line != "\n":
            lines.append(line.removesuffix("\n"))
        else:
            yield lines
            lines = []


def _until_heartbeat(page: Page, events: Iterator[list[str]]) -> list[str]:
    """Apply events up to the next heartbeat; return their names."""
    names = []
    for lines in events:
        if lines == [HEARTBEAT]:
            break
        names.append(page.apply(lines))
    return names


def _until_shown(page: Page, events: Iterator[list[str]], *texts: str) -> None:
    while page.shown() != list(texts):
        _until_heartbeat(page, events)


@pytest.fixture
def people(fanfare: Fanfare) -> tuple[User, User]:
    """Return an author and a reader who follows the author."""
    author = fanfare.user()
    return author, fanfare.user(author)


def test_a_page_goes_on_where_it_was(fanfare: Fanfare, people: tuple[User, User]) -> None:
    """It shows new, edited and deleted tweets, and after a lost connection only the difference."""
    author, reader = people
    fanfare.tweet(author, "one")
    fanfare.tweet(author, "two")
    fanfare.wait_drained()
    path, page = f"/timeline/{reader.id}/stream?limit=3", Page()
    with _stream(fanfare, path) as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
        events = _events(answer)
        assert next(events)[0].startswith("retry: ")
        assert _until_heartbeat(page, events) == ["tweet", "tweet"]
        assert page.shown() == ["two", "one"]
        three = fanfare.tweet(author, "three")
        _until_shown(page, events, "three", "two", "one")
        fanfare.write.UpdateTweet(w.UpdateTweetRequest(tweet_id=three.id, content="3"))
        _until_shown(page, events, "3", "two", "one")
        fanfare.tweet(author, "four")
        _until_shown(page, events, "four", "3", "two")
    fanfare.write.DeleteTweet(w.DeleteTweetRequest(tweet_id=three.id))
    fanfare.wait_drained()
    with _stream(fanfare, path, page.last_id) as answer:
        events = _events(answer)
        assert next(events)[0].startswith("retry: ")
        assert _until_heartbeat(page, events) == ["removed", "tweet"]
        assert page.shown() == ["four", "two", "one"]


def test_errors(fanfare: Fanfare, people: tuple[User, User]) -> None:
    """Before the first event as an answer, after it as an event."""
    _, reader = people
    for path, last_id, status, reason in (
        (f"/timeline/{2**62}/stream", "", 404, "USER_NOT_FOUND"),
        (f"/timeline/{reader.id}/stream", "nonsense", 400, "INVALID_RESUME_TOKEN"),
        (f"/timeline/{reader.id}/stream?limit=-1", "", 400, "INVALID_REQUEST"),
    ):
        with _stream(fanfare, path, last_id) as answer:
            told = json.loads(answer.read())
            assert (answer.status, told["details"][0]["reason"]) == (status, reason)
    with _stream(fanfare, f"/timeline/{reader.id}/stream") as answer:
        events = _events(answer)
        while next(events) != [HEARTBEAT]:
            pass
        fanfare.write.DeleteUser(w.DeleteUserRequest(user_id=reader.id))
        name, data = next(lines for lines in events if lines != [HEARTBEAT])
        assert name == "event: error"
        told = json.loads(data.removeprefix("data: "))
        assert told["details"][0]["reason"] == "USER_NOT_FOUND"
        assert list(events) == []
