"""The embedded stack in state folders whose paths other formats would need to escape."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest
import redis
from confluent_kafka.admin import AdminClient

from embedded.causes import MAX_PATH_BYTES
from embedded.errors import StackError
from embedded.stack import Stack, default_parts_dir

# Each is one folder with many characters, since a start takes seconds: separators of lists and of
# class paths, escapes, quotes, comments, placeholders, options; and more than 16 bits.
NAMES = {
    "separators": "a,b;c:d|e&f=g",
    "escapes": "back\\slash \\u0041 \\n %d %p ${HOME} $(id) `id`",
    "quotes": 'it\'s "quoted" #1 !x [a] {b} *? <c>',
    "characters": "größe 東京 🗼\u00a0é",
    "options": "--dir -D x@y ~",
}


def _start_and_use(state: Path) -> None:
    with Stack(state, default_parts_dir(), replica=True) as stack:
        with psycopg.connect(stack.addresses.postgres_replica_dsn) as connection:
            assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        with redis.Redis.from_url(stack.addresses.redis_url) as client:
            assert client.config_get("dir") == {"dir": str(state / "valkey" / "data")}
        admin = AdminClient({"bootstrap.servers": stack.addresses.kafka_bootstrap_servers})
        assert len(admin.list_topics(timeout=10).brokers) == 1
    assert (state / "kafka" / "data" / "meta.properties").exists()


@pytest.mark.parametrize("kind", NAMES)
def test_the_state_folder_may_have_any_name(tmp_path: Path, kind: str) -> None:
    """All servers start, and nothing is written beside the folder."""
    state = tmp_path / NAMES[kind] / "state"
    _start_and_use(state)
    assert [path.name for path in tmp_path.iterdir()] == [NAMES[kind]]
    assert list((tmp_path / NAMES[kind]).iterdir()) == [state]


def test_the_state_folder_may_have_a_long_path_and_be_moved(tmp_path: Path) -> None:
    """The data hold no path, so they can be moved, as with a checkout."""
    missing = MAX_PATH_BYTES - len(os.fsencode(tmp_path))
    state = tmp_path.joinpath(*("x" * 99 for _ in range(missing // 100)), "y" * (missing % 100 - 1))
    assert len(os.fsencode(state)) == MAX_PATH_BYTES
    _start_and_use(state)
    _start_and_use(state.rename(tmp_path / "moved"))


@pytest.mark.parametrize("name", ["line\nbreak", "x" * 250 + "/" + "y" * 250 + "/" + "z" * 250])
def test_an_unusable_path_is_refused_before_anything_is_made(tmp_path: Path, name: str) -> None:
    """The error says what about the path is wrong, in one line."""
    with pytest.raises(StackError, match="the path of the state folder") as caught:
        Stack(tmp_path / "x" / name / ("w" * 50), default_parts_dir()).start()
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
