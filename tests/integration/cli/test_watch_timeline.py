"""`fanfare watch` and its siblings against a service that plays what a test tells it to."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from fanfare.common.v1.common_pb2 import Tweet, User
from fanfare.read.v1 import read_pb2 as r
from fanfare.read.v1.read_pb2_grpc import ReadServiceServicer, add_ReadServiceServicer_to_server
from helpers.waiting import wait_until

from core.auth.access_tokens import create_key

# Runs a command in a terminal of its own, whose keys are our stdin.
TERMINAL = "import pty, sys; pty.spawn(sys.argv[1:])"
HOSTILE = "\x1b]0;owned\x07\u202etxet"
ESCAPED = r"\x1b]0;owned\x07\u202etxet"


def _tweet(id_: int, content: str = "hello") -> r.WatchHomeTimelineResponse:
    tweet = Tweet(id=id_, user_id=2, content=content)
    return r.WatchHomeTimelineResponse(tweet=tweet, resume_token=f"after {id_}")


HEARTBEAT = r.WatchHomeTimelineResponse(heartbeat=r.Heartbeat())


class Toy(ReadServiceServicer):
    """A read service whose streams say what the test puts into a queue; None breaks them off."""

    def __init__(self) -> None:
        self.requests: list[r.WatchHomeTimelineRequest] = []
        self.metadata: list[dict[str, Any]] = []
        self.events: queue.Queue[r.WatchHomeTimelineResponse | None] = queue.Queue()
        self.answers = threading.Event()
        self.answers.set()

    def WatchHomeTimeline(  # noqa: N802 - the name of the RPC
        self, request: r.WatchHomeTimelineRequest, context: Any
    ) -> Iterator[r.WatchHomeTimelineResponse]:
        """Say what is in the queue."""
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        while (event := self.events.get()) is not None:
            yield event
        context.abort(grpc.StatusCode.UNAVAILABLE, "moved \x1b[31m")

    def BatchGetUsers(  # noqa: N802 - the name of the RPC
        self, _request: r.BatchGetUsersRequest, _context: Any
    ) -> r.BatchGetUsersResponse:
        """Know bob."""
        return r.BatchGetUsersResponse(users=[User(id=2, username="bob")])

    def GetHomeTimeline(  # noqa: N802 - the name of the RPC
        self, _request: r.GetHomeTimelineRequest, context: Any
    ) -> r.GetHomeTimelineResponse:
        """Note who calls, and answer when the test says so."""
        self.metadata.append(dict(context.invocation_metadata()))
        self.answers.wait()
        return r.GetHomeTimelineResponse()


@pytest.fixture
def toy() -> Iterator[Toy]:
    """Serve a toy; its port is in `toy.port`."""
    toy = Toy()  # type: ignore[abstract]  # a part of it is enough
    pool = ThreadPoolExecutor(8)
    server = grpc.server(pool)
    add_ReadServiceServicer_to_server(toy, server)
    toy.port = server.add_insecure_port("127.0.0.1:0")  # type: ignore[attr-defined]
    server.start()
    yield toy
    toy.answers.set()
    stopped = server.stop(0)
    for _ in range(8):  # a stream that waits for an event ends
        toy.events.put(None)
    stopped.wait()
    pool.shutdown()


class Command:
    """A running command, and what it has printed."""

    def __init__(self, port: int, folder: Path, *words: str, **environment: str) -> None:
        self._paths = [folder / "stdout", folder / "stderr"]
        streams = [path.open("wb") for path in self._paths]
        state = {"FANFARE_STATE_DIR": str(folder), "FANFARE_READ_TARGET": f"127.0.0.1:{port}"}
        self.process = subprocess.Popen(
            words,
            env=os.environ | state | environment,
            stdin=subprocess.PIPE,
            stdout=streams[0],
            stderr=streams[1],
            start_new_session=True,
        )
        for stream in streams:
            stream.close()

    @property
    def printed(self) -> str:
        """All of stdout so far."""
        return self._paths[0].read_text(errors="replace")

    @property
    def told(self) -> str:
        """All of stderr so far."""
        return self._paths[1].read_text(errors="replace")

    def wait_for(self, text: str) -> None:
        """Wait until a text is printed."""
        wait_until(
            lambda: text in self.printed or self.process.poll() is not None,
            f"{text!r} is printed: {self.printed!r} {self.told!r}",
        )
        assert text in self.printed, self.told

    def kill(self) -> None:
        """Kill it, and what it has started, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def end(self) -> int:
        """Interrupt it and return its exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


Start = Callable[..., Command]


@pytest.fixture
def start(toy: Any, tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a command, which calls the toy; it is killed at the end."""
    started: list[Command] = []

    def start(*words: str, **environment: str) -> Command:
        started.append(Command(toy.port, tmp_path, *words, **environment))
        return started[-1]

    yield start
    for command in started:
        command.kill()


def test_events_are_lines_and_a_lost_connection_is_resumed(toy: Any, start: Start) -> None:
    """Hostile texts have no effect, also those of errors; Ctrl-C ends it with status 0."""
    for event in (_tweet(7), _tweet(8, HOSTILE), HEARTBEAT, None):
        toy.events.put(event)
    watch = start("fanfare", "watch", "1", "--limit", "5")
    wait_until(lambda: len(toy.requests) == 2 or watch.process.poll() is not None, "it is back")
    for event in (
        r.WatchHomeTimelineResponse(removed_tweet_id=7),
        r.WatchHomeTimelineResponse(reset=r.Reset()),
        _tweet(9),
    ):
        toy.events.put(event)
    watch.wait_for("  9\n    hello\n")
    assert watch.end() == 0
    lines = [line.replace("  1970-01-01 00:00:00 UTC", "") for line in watch.printed.splitlines()]
    assert lines == [
        *("+ @bob  7", "    hello"),
        *("+ @bob  8", f"    {ESCAPED}"),
        "- 7",
        "reset",
        *("+ @bob  9", "    hello"),
    ]
    assert watch.told.startswith(r"Disconnected: moved \x1b[31m; connecting again in ")
    assert watch.told.count("\n") == 1
    first, second = toy.requests
    assert (first.user_id, first.limit, first.resume_token) == (1, 5, "")
    assert (second.user_id, second.limit, second.resume_token) == (1, 5, "after 8")


def test_each_event_is_a_line_of_json(toy: Any, start: Start) -> None:
    """It is ASCII, has heartbeats, and ends when nobody reads any more."""
    for event in (_tweet(8, HOSTILE), HEARTBEAT, HEARTBEAT, HEARTBEAT):
        toy.events.put(event)
    watch = start("bash", "-c", "fanfare watch 1 --json | head -2; exit ${PIPESTATUS[0]}")
    wait_until(lambda: watch.printed.count("\n") == 2, "two lines are printed")
    toy.events.put(HEARTBEAT)  # with which it notices that its reader has ended
    assert watch.process.wait(30) == 0
    assert watch.printed.isascii()
    tweet, heartbeat = map(json.loads, watch.printed.splitlines())
    assert (tweet["tweet"]["id"], tweet["tweet"]["content"]) == ("8", HOSTILE)
    assert tweet["resume_token"] == "after 8"
    assert heartbeat == {"heartbeat": {}, "resume_token": ""}
    assert watch.told == ""


def test_it_ends_with_its_reader_although_it_prints_nothing(toy: Any, start: Start) -> None:
    """A heartbeat, of which nothing is printed, is enough to notice."""
    toy.events.put(_tweet(8))
    watch = start("bash", "-c", "fanfare watch 1 | head -1; exit ${PIPESTATUS[0]}")
    watch.wait_for("@bob")
    wait_until(lambda: toy.events.put(HEARTBEAT) or watch.process.poll() is not None, "it ends")
    assert watch.process.wait(30) == 0
    assert watch.told == ""


@pytest.mark.parametrize("keys", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_a_terminal_shows_the_newest_tweets(toy: Any, start: Start, keys: bytes) -> None:
    """It says whether it is live, and leaves the terminal as it was."""
    shell = "trap : INT; fanfare watch 1; echo status=$?"
    words = [sys.executable, "-c", TERMINAL, "sh", "-c", shell]
    settings = {"COLUMNS": "100", "LINES": "30", "TERM": "xterm", "NO_COLOR": "1"}
    watch = start(*words, **settings)
    watch.wait_for("connecting")
    for event in (_tweet(7, "older"), _tweet(8, HOSTILE), HEARTBEAT):
        toy.events.put(event)
    watch.wait_for("older")
    assert "live" in watch.printed
    toy.events.put(None)
    watch.wait_for("reconnecting")
    toy.events.put(r.WatchHomeTimelineResponse(removed_tweet_id=8))
    wait_until(
        lambda: ESCAPED not in watch.printed.rpartition("Home timeline")[2], "tweet 8 is gone"
    )
    assert watch.process.stdin is not None
    watch.process.stdin.write(keys)
    watch.process.stdin.flush()
    watch.process.wait(30)
    assert "status=0" in watch.printed
    assert watch.printed.count("\x1b[?1049h") == watch.printed.count("\x1b[?1049l") == 1
    assert "owned\x07" not in watch.printed
    assert "Traceback" not in watch.printed


def test_an_interrupted_call_has_its_status(toy: Any, start: Start) -> None:
    """Without a traceback."""
    toy.answers.clear()
    call = start("fanfare", "timeline", "1")
    wait_until(lambda: toy.metadata or call.process.poll() is not None, "the call has arrived")
    assert (call.end(), call.told, call.printed) == (130, "Interrupted.\n", "")


def test_access_tokens_are_given_or_signed(toy: Any, start: Start, tmp_path: Path) -> None:
    """A file has the token of a user; keys sign one of a service."""
    token = tmp_path / "token"
    token.write_text("header.payload.signature\n")
    words = ["fanfare", "watch", "1", "--token-file", str(token)]
    watch = start(*words)
    wait_until(lambda: toy.metadata or watch.process.poll() is not None, watch.told)
    assert toy.metadata.pop()["authorization"] == "Bearer header.payload.signature"
    watch.end()
    keys = tmp_path / "keys"
    create_key(keys)
    words = ["fanfare", "timeline", "1"]
    signed = start(*words, FANFARE_AUTH_KEYS=str(keys))
    assert signed.process.wait(60) == 0, signed.told
    scheme, _, access_token = toy.metadata.pop()["authorization"].partition(" ")
    claims = jwt.decode(access_token, options={"verify_signature": False})
    assert (scheme, claims["sub"].endswith("fanfare")) == ("Bearer", True)


@pytest.mark.parametrize("content", ["", "two tokens", "\x00", "caf\u00e9"])
def test_a_file_without_a_token_is_one_sentence(
    toy: Any, start: Start, tmp_path: Path, content: str
) -> None:
    """It is not sent."""
    token = tmp_path / "token"
    token.write_text(content)
    words = ["fanfare", "timeline", "1", "--token-file", str(token)]
    failed = start(*words)
    assert failed.process.wait(60) == 1
    assert failed.told.startswith(f"Error: {token} does not contain an access token; ")
    assert not toy.metadata
