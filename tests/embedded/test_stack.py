"""The embedded stack: real servers that keep their data and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # theirs
from support import wait_until

from core.kafka import client_settings
from core.settings import Settings
from embedded import jars
from embedded.stack import Ports, Stack, StackError, default_parts_dir, free_ports

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Return a running stack."""
    with Stack(tmp_path_factory.mktemp("stack"), default_parts_dir()) as running:
        yield running


def _write(stack: Stack, value: str) -> None:
    with psycopg.connect(stack.addresses.postgres_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
        connection.execute("INSERT INTO kept VALUES (%s)", (value,))
    with redis.Redis.from_url(stack.addresses.redis_url) as client:
        client.set(value, value)
    servers = client_settings(stack.addresses.kafka_bootstrap_servers)
    admin = AdminClient(servers)
    for future in admin.create_topics([NewTopic(value, 1, 1)]).values():
        future.result()
    producer = Producer(servers)
    producer.produce(value, value)
    assert producer.flush(30) == 0


def _read(stack: Stack, value: str) -> tuple[bool, bool, bool]:
    with psycopg.connect(stack.addresses.postgres_dsn) as connection:
        row = connection.execute("SELECT 1 FROM kept WHERE value = %s", (value,)).fetchone()
    with redis.Redis.from_url(stack.addresses.redis_url) as client:
        cached = client.get(value)
    consumer = Consumer(
        {"bootstrap.servers": stack.addresses.kafka_bootstrap_servers, "group.id": "test"}
    )
    consumer.assign([TopicPartition(value, 0, 0)])
    message = consumer.poll(30)
    consumer.close()
    return row is not None, cached == value.encode(), message is not None and not message.error()


def test_what_was_written_survives_a_kill_and_a_start(stack: Stack) -> None:
    """Each server comes back at its port with its data after SIGKILL."""
    _write(stack, "killed")
    for server in (stack.postgres, stack.kafka):
        server.kill()
        assert not server.running
        server.start()
    assert _read(stack, "killed") == (True, True, True)


def test_what_was_written_survives_a_restart_of_the_whole(tmp_path: Path) -> None:
    """A stack in the same folder has the data of the one before, on whatever ports."""
    with Stack(tmp_path / "state", default_parts_dir()) as first:
        _write(first, "kept")
        record = json.loads((tmp_path / "state" / "stack.json").read_text())
        assert record["redis_url"] == first.addresses.redis_url
    assert not (tmp_path / "state" / "stack.json").exists()
    with Stack(tmp_path / "state", default_parts_dir()) as second:
        assert _read(second, "kept") == (True, True, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
def test_postgres_gives_up_the_rights_of_root(stack: Stack) -> None:
    """It runs as another user, who may pass closed folders and nothing else."""
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{stack.postgres.pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert "0" not in status["Uid"].split("\t")
    capabilities = {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")}
    assert capabilities == {1 << 1}


def test_given_addresses_stand_for_servers(tmp_path: Path, stack: Stack) -> None:
    """What the operator names is used, and nothing is started in its place."""
    given = Settings(
        postgres_dsn=stack.addresses.postgres_dsn,  # type: ignore[arg-type]
        kafka_bootstrap_servers=stack.addresses.kafka_bootstrap_servers,
    )
    with Stack(tmp_path, default_parts_dir(), given=given) as own:
        assert own.addresses.postgres_dsn == stack.addresses.postgres_dsn
        assert own.addresses.redis_url != stack.addresses.redis_url
        assert own.valkey.running
        assert not (tmp_path / "postgres").exists()


def test_a_killed_parent_leaves_no_orphan(tmp_path: Path) -> None:
    """SIGKILL of the process that started the stack ends the servers too."""
    script = (
        "import sys, pathlib; from embedded.stack import *\n"
        "stack = Stack(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])); stack.start()\n"
        "print(stack.postgres.pid, stack.valkey.pid, stack.kafka.pid, flush=True)\n"
        "input()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), str(default_parts_dir())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 3
        parent.kill()
    for pid in pids:
        wait_until(partial(_gone, pid), f"process {pid} is gone")


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    """The error names the port and the cure, and nothing is left running."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        stack = Stack(tmp_path, default_parts_dir(), Ports(port, *free_ports(3)))
        with pytest.raises(StackError, match=f"port {port}, for Postgres, is taken"):
            stack.start()
    assert not list(tmp_path.glob("postgres/data"))


def test_two_stacks_in_one_folder_are_refused(tmp_path: Path) -> None:
    """The second is told so before it touches anything."""
    given = Settings(postgres_dsn="x", kafka_bootstrap_servers="x")  # type: ignore[arg-type]
    with Stack(tmp_path, default_parts_dir(), given=given):
        second = Stack(tmp_path, default_parts_dir(), given=given)
        with pytest.raises(StackError, match="another stack runs in"):
            second.start()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    """The error names the setting that cures it."""
    (tmp_path / "file").write_text("")
    stack = Stack(tmp_path / "file" / "state", default_parts_dir())
    with pytest.raises(StackError, match="set FANFARE_STATE_DIR"):
        stack.start()


def test_a_jar_that_is_not_the_pinned_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed file is found at every start, and the cure is named."""
    good = default_parts_dir() / "kafka" / "slf4j-api-1.7.36.jar"
    coordinates = "org.slf4j:slf4j-api:1.7.36"
    digest = jars.pinned()[coordinates]
    monkeypatch.setattr(jars, "pinned", lambda: {coordinates: digest})
    copy = tmp_path / good.name
    copy.write_bytes(good.read_bytes())
    assert jars.kafka_jars(tmp_path, print) == [copy]
    copy.write_bytes(good.read_bytes() + b"x")
    with pytest.raises(StackError, match="delete it to have it fetched again"):
        jars.kafka_jars(tmp_path, print)


def test_a_server_told_to_stop_exits_by_itself(tmp_path: Path) -> None:
    """The keeper passes the stop on and reports the exit status."""
    with Stack(tmp_path, default_parts_dir()) as stack:
        os.kill(stack.valkey.pid, signal.SIGTERM)
        assert stack.valkey.wait() == 0
