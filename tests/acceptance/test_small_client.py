"""`fanfare tweet`, `follow`, `timeline` and `watch` on a running system."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from fanfare.write.v1.write_pb2 import DeleteTweetRequest
from helpers.command_line import CommandLine
from helpers.fanfare import Fanfare
from helpers.waiting import wait_until


def _json(fanfare: Fanfare, *arguments: str) -> Any:
    done = fanfare.command(*arguments, "--json")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout)


def test_a_tweet_reaches_a_follower(fanfare: Fanfare) -> None:
    """From the command line alone; with the consistency token it is there at once."""
    author, reader = fanfare.user(), fanfare.user()
    followed = fanfare.command("follow", str(reader.id), str(author.id))
    told = f"user {reader.id} follows user {author.id}\n"
    assert (followed.returncode, followed.stdout) == (0, told), followed.stderr
    created = _json(fanfare, "tweet", str(author.id), " hello\u202e ")
    assert created["tweet"]["content"] == "hello\u202e"
    token = created["consistency_token"]
    shown = fanfare.command("timeline", str(reader.id), "--consistency-token", token)
    assert shown.returncode == 0, shown.stderr
    head, content = shown.stdout.splitlines()
    assert head.startswith(f"@{author.username}  ")
    assert head.endswith(created["tweet"]["id"])
    assert content == r"    hello\u202e"


def test_failures_are_one_sentence_with_status_1(fanfare: Fanfare) -> None:
    """The message is the service's own."""
    for arguments in (["timeline", "999999999"], ["tweet", "999999999", "hello"]):
        failed = fanfare.command(*arguments)
        assert (failed.returncode, failed.stdout) == (1, "")
        assert failed.stderr.startswith("Error: a call failed with NOT_FOUND: ")
        assert failed.stderr.count("\n") == 1
    empty = fanfare.command("tweet", "1", " ")
    assert empty.returncode == 1
    assert "INVALID_ARGUMENT" in empty.stderr


def test_queries_print_one_document(fanfare: Fanfare) -> None:
    """Whatever they show on the way is on stderr, and the document says whether all is well."""
    author = fanfare.user()
    fanfare.user(author)
    fanfare.tweet(author)
    fanfare.wait_drained()
    status = _json(fanfare, "status")
    assert status["ok"], status
    rows = {row["label"]: row for row in status["rows"]}
    assert rows["tweets"]["values"]["count"] >= 1
    assert rows["partition 0"]["values"]["lag"] == 0
    found = fanfare.command("verify", "--sample", "3", "--seed", "5", "--json")
    assert found.returncode == 0, found.stderr
    document = json.loads(found.stdout)
    assert (document["ok"], document["seed"]) == (True, 5)
    assert [part["name"] for part in document["comparisons"]] == ["as found", "cold", "warm"]
    assert "readers, seed 5" in found.stderr
    assert _json(fanfare, "migrate", "--dry-run") == {"dry_run": True, "done": []}
    recovery = _json(fanfare, "recover", "--dry-run")
    assert recovery["found"]["history"] in recovery["keys"]
    assert isinstance(_json(fanfare, "dlq", "list")["dead_letters"], list)


def test_a_watched_timeline_shows_a_new_tweet(fanfare: Fanfare, tmp_path: Path) -> None:
    """As it is created, and a removal as it is deleted."""
    author = fanfare.user()
    reader = fanfare.user(author)
    fanfare.tweet(author, "before")
    fanfare.wait_drained()
    output = tmp_path / "output"
    with output.open("wb") as stream:
        watch = subprocess.Popen(
            ["fanfare", "watch", str(reader.id)],
            env=CommandLine(fanfare.settings).environment(),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: "\n    before\n" in output.read_text(), "the first page")
        tweet = fanfare.tweet(author, "after")
        wait_until(lambda: "\n    after\n" in output.read_text(), "the new tweet")
        fanfare.write.DeleteTweet(DeleteTweetRequest(tweet_id=tweet.id))
        wait_until(lambda: f"\n- {tweet.id}\n" in output.read_text(), "the deletion")
        watch.terminate()
        assert watch.wait(30) == 0, output.read_text()
    finally:
        watch.kill()
        watch.wait()
