"""`fanfare load`, `verify`, `status` and `rebuild` against a running system."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import psycopg
import pytest
from fanfare.write.v1.write_pb2 import CreateUserRequest
from helpers.command_line import CommandLine
from helpers.fanfare import Fanfare
from helpers.leaks import SECRET
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from core.feed.timeline_lists import home_list
from ops.migrate import migrate


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return files of follows and posts, with some lines that must be rejected."""
    folder = tmp_path_factory.mktemp("community")
    chance = random.Random(7)
    base = chance.randrange(10**9, 10**10)
    edges = {(base + chance.randrange(30), base + chance.randrange(30)) for _ in range(200)}
    lines = [f"{a} {b}" for a, b in sorted(edges) if a != b] + [f"{base} {base}", "nonsense"]
    follows = folder / "follows.txt.gz"
    follows.write_bytes(gzip.compress("\n".join(lines).encode()))
    texts = [f"post {n} &lt;3" for n in range(300)] + ["x" * 281, "  "]
    posts = folder / "posts.jsonl"
    posts.write_text(
        "".join(
            json.dumps({"author": base + chance.randrange(40), "created_ms": n, "text": text})
            + "\n"
            for n, text in enumerate(texts)
        )
    )
    return follows, posts


def _counts(clients: Fanfare) -> tuple[int, ...]:
    return tuple(
        clients.sql(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608 - our own names
        for table in ("users", "follows", "tweets")
    )


def test_loading_twice_loads_once_and_the_timelines_are_right(
    fanfare: Fanfare, files: tuple[Path, Path]
) -> None:
    """Rejected lines are reported and skipped, and loading again adds nothing."""
    follows, posts = (str(path) for path in files)
    before = _counts(fanfare)
    first = fanfare.command("load", "--follows", follows, "--posts", posts)
    assert first.returncode == 0, first.stderr
    assert "1 rejected: user follows themselves" in first.stdout
    assert "1 rejected: not two user ids" in first.stdout
    assert "must be at most 280 code points, has 281" in first.stdout
    assert "must not be empty or only white space" in first.stdout
    assert "300 tweets loaded" in first.stdout
    after = _counts(fanfare)
    assert after[2] - before[2] == 300
    second = fanfare.command("load", "--follows", follows, "--posts", posts)
    assert second.returncode == 0, second.stderr
    assert _counts(fanfare) == after
    assert fanfare.sql("SELECT 1 FROM tweets WHERE content = 'post 0 <3'")
    verified = fanfare.command("verify", "--sample", "30", "--seed", "1")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert verified.stdout.count(": 0 differ") == 3


def test_an_account_that_belongs_to_somebody_gets_nothing(fanfare: Fanfare, tmp_path: Path) -> None:
    """An account with an e-mail gets no follows and no tweets, whatever the case of its name."""
    first = random.Random(11).randrange(10**12, 10**13)
    ids = [first, first + 1, first + 2]
    owned = [_register(fanfare, f"u{ids[0]}"), _register(fanfare, f"U{ids[1]}")]
    follows = tmp_path / "follows.txt"
    edges = [(a, b) for a in ids for b in ids if a != b] + [(first + 2, first + 3)]
    follows.write_text("".join(f"{a} {b}\n" for a, b in edges))
    posts = tmp_path / "posts.jsonl"
    posts.write_text("".join(json.dumps({"author": n, "text": f"by {n}"}) + "\n" for n in ids))
    load = fanfare.command("load", "--follows", str(follows), "--posts", str(posts))
    assert load.returncode == 0, load.stderr
    assert "6 rejected: account belongs to somebody" in load.stdout
    assert "2 rejected: account belongs to somebody; line 1, author" in load.stdout
    assert not fanfare.sql("SELECT 1 FROM tweets WHERE user_id = ANY(%s)", owned)
    assert not fanfare.sql(
        "SELECT 1 FROM follows WHERE follower_id = ANY(%s) OR followed_id = ANY(%s)", owned, owned
    )


def test_markup_in_a_file_is_printed_as_it_is(fanfare: Fanfare, tmp_path: Path) -> None:
    """A rejected line that looks like markup of the console is printed unchanged."""
    follows = tmp_path / "follows.txt"
    follows.write_text("[/b] x\n1,2\n")
    load = fanfare.command("load", "--follows", str(follows))
    assert load.returncode == 0, load.stderr
    assert "line 1: [/b] x" in load.stdout


def test_what_was_loaded_before_changes_nothing_for_the_whole(
    fanfare: Fanfare, tmp_path: Path
) -> None:
    """After the file has grown, in the middle too, only the new posts are added."""
    base = random.Random(13).randrange(10**10, 10**11)
    posts = [
        json.dumps({"author": base + n % 3, "created_ms": n // 4, "text": f"grown {n % 2}"})
        for n in range(12)
    ]
    path = tmp_path / "posts.jsonl"
    for part in (posts[3:7], posts, posts[::-1]):
        path.write_text("\n".join(part))
        load = fanfare.command("load", "--posts", str(path))
        assert load.returncode == 0, load.stderr
        assert f"{len(part)} tweets loaded" in load.stdout
    loaded = fanfare.sql(
        "SELECT username, content FROM tweets JOIN users ON users.id = user_id "
        "WHERE username = ANY(%s)",
        [f"u{base + n}" for n in range(3)],
    )
    written = [json.loads(line) for line in posts]
    assert sorted(loaded) == sorted((f"u{post['author']}", post["text"]) for post in written)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty, so nothing was loaded"),
        (b"\n\n# a comment\n", "is empty, so nothing was loaded"),
        (b"1;2\n1;3\n", "no line of standard input could be loaded (2 rejected: not two user ids)"),
        ("1 2\n".encode("utf-16-le"), "standard input is not text in UTF-8"),
    ],
)
def test_an_input_of_which_nothing_can_be_used_is_a_failure(
    fanfare: Fanfare, content: bytes, told: str
) -> None:
    """The exit status is 1, and one sentence says why."""
    load = fanfare.command("load", "--follows", "-", standard_input=content)
    assert load.returncode == 1, load.stdout
    assert told in load.stderr
    assert load.stderr.count("\n") == 1


def test_posts_may_come_from_a_pipe(fanfare: Fanfare) -> None:
    """They are read once."""
    author = random.Random(17).randrange(10**11, 10**12)
    post = json.dumps({"author": author, "text": "from a pipe\r\nin two lines"})
    load = fanfare.command("load", "--posts", "-", standard_input=gzip.compress(post.encode()))
    assert load.returncode == 0, load.stderr
    loaded = fanfare.sql(
        "SELECT content FROM tweets JOIN users ON users.id = user_id WHERE username = %s",
        f"u{author}",
    )
    assert loaded == [("from a pipe\nin two lines",)]


def test_parts_of_two_instances_are_refused(fanfare: Fanfare, tmp_path: Path) -> None:
    """If the services use another database than the command, nothing is loaded or compared."""
    own = make_conninfo(fanfare.settings.primary_dsn(), dbname="elsewhere")
    fanfare.sql("CREATE DATABASE elsewhere")
    try:
        settings = fanfare.settings.model_copy(update={"postgres_dsn": SecretStr(own)})
        migrate(settings)
        with psycopg.connect(own) as connection:
            connection.execute("SELECT begin_history(forced => false)")
        command = CommandLine(settings).run
        posts = tmp_path / "posts.jsonl"
        posts.write_text('{"author": 1, "text": "elsewhere"}')
        for arguments in (["load", "--posts", str(posts)], ["verify"]):
            failed = command(*arguments)
            assert failed.returncode == 1
            assert "uses another database than FANFARE_POSTGRES_DSN" in failed.stderr
        with psycopg.connect(own) as connection:
            assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
        assert not fanfare.sql("SELECT 1 FROM tweets WHERE content = 'elsewhere'")
    finally:
        fanfare.sql("DROP DATABASE elsewhere WITH (FORCE)")


def _register(clients: Fanfare, username: str) -> int:
    request = CreateUserRequest(username=username, email=f"{username}@example.com", password=SECRET)
    return clients.write.CreateUser(request).user.id


def test_verify_finds_a_difference(fanfare: Fanfare) -> None:
    """A tweet that was deleted from Postgres without an event is found; the exit status is 1."""
    bob = fanfare.user()
    alice = fanfare.user(bob)
    tweets = fanfare.tweets(bob, 3)
    fanfare.wait_drained()
    fanfare.wait_exact(alice)
    fanfare.sql("DELETE FROM tweets WHERE id = %s", tweets[1].id)
    try:
        verified = fanfare.command("verify", "--sample", "100000", "--seed", "1")
    finally:
        fanfare.sql("DELETE FROM follows WHERE followed_id = %s", bob.id)
        fanfare.redis.flushall()
    assert verified.returncode == 1
    assert f"user {alice.id}: 1 tweets should not be there, such as {tweets[1].id}" in (
        verified.stdout
    )


def test_status_shows_counts_lag_and_who_serves(fanfare: Fanfare) -> None:
    """Every part of the system has a row."""
    fanfare.wait_drained()
    status = fanfare.command("status")
    assert status.returncode == 0, status.stderr
    for label in ("users", "tweets", "follows", "outbox waiting", "partition 11", "cached"):
        assert label in status.stdout
    assert status.stdout.count("lag 0") == 12
    assert status.stdout.count("serving") == 5
    assert "not serving" not in status.stdout


def test_a_file_that_cannot_be_read_is_one_sentence(fanfare: Fanfare, tmp_path: Path) -> None:
    """A missing file and a damaged one are reported without a traceback."""
    broken = tmp_path / "follows.txt.gz"
    broken.write_text("no gzip")
    for arguments in (["--follows", str(broken)], ["--follows", str(tmp_path / "absent")]):
        failed = fanfare.command("load", *arguments)
        assert failed.returncode in {1, 2}
        assert "Error: " in failed.stderr
        assert "Traceback" not in failed.stderr


def test_rebuild_removes_one_timeline_or_all(fanfare: Fanfare) -> None:
    """Rebuild removes the lists of one user or of all, which are built again when read."""
    bob = fanfare.user()
    alice, carol = fanfare.user(bob), fanfare.user(bob)
    fanfare.tweets(bob, 3)
    fanfare.wait_drained()
    fanfare.wait_exact(alice, carol)
    one = fanfare.command("rebuild", "--user", str(alice.id))
    assert (one.returncode, one.stdout) == (0, "1 cached lists removed\n")
    assert not fanfare.redis.exists(fanfare.keys.for_list(home_list(alice.id)))
    assert fanfare.redis.exists(fanfare.keys.for_list(home_list(carol.id)))
    assert fanfare.command("rebuild", "--all").returncode == 0
    assert not list(fanfare.redis.scan_iter(fanfare.keys.home_lists_pattern))
    assert fanfare.command("rebuild").returncode == 2
    fanfare.wait_exact(alice, carol)
