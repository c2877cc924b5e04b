"""Migrations of a real Postgres: locks that others hold, indexes, and trials."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from shutil import copytree
from typing import Any

import psycopg
import pytest
from helpers.postgres_server import postgres_server
from helpers.waiting import WAIT_SECONDS, wait_until
from psycopg.conninfo import make_conninfo

from ops import migration_session
from ops.errors import OpsError
from ops.migrate import apply_migrations, try_migrations
from ops.migration_files import NO_TRANSACTION

ROOT = Path(__file__).parents[3]
COLUMN = "ALTER TABLE tweets ADD COLUMN mood text;"
INDEX = f"{NO_TRANSACTION}\nCREATE INDEX CONCURRENTLY tweets_day_idx ON tweets (created_at);"
NEW_TWEET = "INSERT INTO tweets SELECT next_tweet_id(), 1, 'x', 1, now(), now()"
LIMITED = "-c lock_timeout=30s"
MIGRATE = "import sys; from ops.migrate import apply_migrations; apply_migrations(sys.argv[1])"


class Database:
    """A migrated database with one user, and a folder of migrations to which a test adds."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.dsn = dsn
        self._folder = folder
        self.waited: list[str] = []
        """Whom migrations have waited for."""
        self.waiting = threading.Event()
        """Set when a migration has waited for somebody."""

    def add(self, name: str, sql: str) -> None:
        """Add a migration, in its name as in its number after those that exist."""
        (self._folder / name).write_text(sql)

    @contextmanager
    def before(self, name: str) -> Iterator[None]:
        """Hide a migration, and those after it, until the `with` statement ends."""
        later = {path: path.read_text() for path in self._folder.glob("*.sql") if path.name >= name}
        for path in later:
            path.unlink()
        yield
        for path, text in later.items():
            path.write_text(text)

    def apply(self) -> list[str]:
        """Apply the migrations, and note whom they wait for."""
        return apply_migrations(self.dsn, self._note)

    def attempt(self) -> list[str]:
        """Try the migrations."""
        return try_migrations(self.dsn, self._note)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query, which must not wait for a lock for long."""
        with psycopg.connect(self.dsn, autocommit=True, options=LIMITED) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def index_validity(self) -> list[tuple[bool]]:
        """Return whether the index of INDEX is valid; nothing if there is none."""
        query = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('tweets_day_idx')"
        return self.rows(query)

    def is_applied(self, name: str) -> bool:
        """Return whether a migration is noted as applied."""
        return (name,) in self.rows("SELECT name FROM schema_migrations")

    @contextmanager
    def held(self, statement: str) -> Iterator[psycopg.Connection[Any]]:
        """Run a statement in a transaction that ends with the `with` statement."""
        with psycopg.connect(self.dsn, application_name="report") as connection:
            connection.execute(statement.encode())
            yield connection
            connection.rollback()

    @contextmanager
    def migrating(self) -> Iterator[subprocess.Popen[bytes]]:
        """Apply the migrations in a process of its own, which a test may kill."""
        # Python looks for modules in its working folder first.
        folder, paths = self._folder.parent, f"{ROOT}{os.pathsep}{ROOT / 'gen'}"
        command = [sys.executable, "-c", MIGRATE, self.dsn]
        with subprocess.Popen(
            command, cwd=folder, env=dict(os.environ) | {"PYTHONPATH": paths}
        ) as process:
            yield process
            process.kill()

    def _note(self, told: str) -> None:
        self.waited.append(told)
        self.waiting.set()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the DSN of a Postgres without any of Fanfare's processes."""
    with postgres_server(tmp_path_factory.mktemp("server")) as dsn:
        yield dsn


@pytest.fixture
def empty(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Return a database without tables, and short limits for locks."""
    name = f"migrated_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    folder = copytree(ROOT / "migrations", tmp_path / "migrations")
    files = resources.files

    def of_the_test(package: str) -> Traversable:
        return folder if package == "migrations" else files(package)

    monkeypatch.setattr(resources, "files", of_the_test)
    monkeypatch.setattr(migration_session, "LOCK_SECONDS", 0.5)
    monkeypatch.setattr(migration_session, "PAUSES", (0.1, 0.1))
    return Database(make_conninfo(server, dbname=name), folder)


@pytest.fixture
def database(empty: Database) -> Database:
    """Return a migrated database with one user."""
    empty.apply()
    empty.rows("INSERT INTO users (id, username) VALUES (1, 'a')")
    return empty


def test_who_holds_a_lock_is_named(database: Database) -> None:
    """The migration gives up, has changed nothing, and can be applied once the lock is free."""
    database.add("9998_column.sql", COLUMN)
    with database.held("LOCK TABLE tweets IN ACCESS SHARE MODE") as holder:
        pid = holder.info.backend_pid
        with pytest.raises(OpsError) as caught:
            database.apply()
        # Nobody waits for the lock any more.
        database.rows(NEW_TWEET)
    told = str(caught.value)
    assert told.startswith("9998_column.sql needs a lock that others hold (tried 3 times within")
    assert f"process {pid} (user fanfare, application report, at 127.0.0.1, idle in tran" in told
    assert f"or end it with SELECT pg_terminate_backend({pid}); then run `fanfare mig" in told
    (waited,) = database.waited
    assert waited.startswith(f"9998_column.sql waits for process {pid} (user fanfare")
    assert not database.is_applied("9998_column.sql")
    assert database.apply() == ["applied 9998_column.sql"]


def test_a_migration_is_tried_again_until_the_lock_is_free(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In between, those who wait behind it go on."""
    monkeypatch.setattr(migration_session, "PAUSES", (0.1,) * 100)
    database.add("9998_column.sql", COLUMN)
    with ThreadPoolExecutor() as pool:
        with database.held("LOCK TABLE tweets IN ACCESS SHARE MODE"):
            applying = pool.submit(database.apply)
            assert database.waiting.wait(WAIT_SECONDS)
            for _ in range(5):
                database.rows(NEW_TWEET)
        assert applying.result() == ["applied 9998_column.sql"]


def test_an_index_is_created_while_others_write(database: Database) -> None:
    """It waits for transactions that have written to the table, and nobody waits for it."""
    database.add("9998_index.sql", INDEX)
    with ThreadPoolExecutor() as pool:
        with database.held(NEW_TWEET):
            applying = pool.submit(database.apply)
            assert database.waiting.wait(WAIT_SECONDS)
            database.rows(NEW_TWEET)
            assert database.index_validity() == [(False,)]
        assert applying.result() == ["applied 9998_index.sql"]
    assert database.index_validity() == [(True,)]
    assert database.apply() == []


def test_an_index_that_waits_for_too_long_is_given_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who keeps it waiting is named; the next run begins with dropping what was left."""
    monkeypatch.setattr(migration_session, "INDEX_LOCK_SECONDS", 0.5)
    database.add("9998_index.sql", INDEX)
    with (
        database.held(NEW_TWEET) as holder,
        pytest.raises(OpsError, match=rf"needs a lock .*process {holder.info.backend_pid} \("),
    ):
        database.apply()
    assert database.index_validity() == [(False,)]
    assert database.apply() == ["applied 9998_index.sql"]
    assert database.index_validity() == [(True,)]


def test_an_index_whose_creation_was_killed_is_created_again(database: Database) -> None:
    """The program and its session in Postgres are gone, and have left an invalid index."""
    database.add("9998_index.sql", INDEX)
    with database.held(NEW_TWEET), database.migrating() as process:
        wait_until(database.index_validity, "the index is being created")
        process.kill()
        database.rows(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE query LIKE '%CONCURRENTLY%' AND pid <> pg_backend_pid()"
        )
    assert database.index_validity() == [(False,)]
    assert not database.is_applied("9998_index.sql")
    assert database.apply() == ["applied 9998_index.sql"]
    assert database.index_validity() == [(True,)]


def test_the_next_run_waits_for_postgres_to_finish_the_index(database: Database) -> None:
    """Only the program was killed: its session goes on, and is not disturbed by those who wait."""
    database.add("9998_index.sql", INDEX)
    with ThreadPoolExecutor() as pool:
        with database.held(NEW_TWEET):
            with database.migrating() as process:
                wait_until(database.index_validity, "the index is being created")
                process.kill()
            applying = pool.submit(database.apply)
            assert database.waiting.wait(WAIT_SECONDS)
        assert applying.result() == ["applied 9998_index.sql"]
    assert database.waited[0].startswith("another `fanfare migrate` is at work: process ")
    assert database.index_validity() == [(True,)]


def test_a_trial_changes_nothing(empty: Database) -> None:
    """It finds what would be applied, in an empty database and in a migrated one."""
    tables = "SELECT relname, relfilenode FROM pg_class ORDER BY 1"
    before = empty.rows(tables)
    names = sorted(path.name for path in (ROOT / "migrations").glob("*.sql"))
    assert empty.attempt() == [f"would apply {name} as role fanfare" for name in names]
    assert empty.rows(tables) == before
    empty.apply()
    empty.rows("INSERT INTO users (id, username) VALUES (1, 'a')")
    assert empty.attempt() == []
    empty.add("9997_column.sql", COLUMN)
    empty.add("9998_index.sql", INDEX.replace("created_at", "mood"))
    before = empty.rows(tables)
    with empty.held(NEW_TWEET), pytest.raises(OpsError, match="trial of the migrations needs a lo"):
        empty.attempt()
    assert [told.split()[1] for told in empty.attempt()] == ["apply"] * 2
    assert empty.rows(tables) == before
    assert not empty.is_applied("9997_column.sql")


@pytest.mark.parametrize(
    ("name", "sql"),
    [
        ("9998_twice.sql", "ALTER TABLE tweets ADD COLUMN content text;"),
        ("9998_index.sql", INDEX.replace("created_at", "no_such_column")),
    ],
)
def test_a_trial_finds_what_would_fail(database: Database, name: str, sql: str) -> None:
    """The error names the file; applying it fails with the same words."""
    database.add(name, sql)
    with pytest.raises(OpsError, match=rf"^{name} cannot be applied: .*; correct that") as trial:
        database.attempt()
    with pytest.raises(OpsError) as applying:
        database.apply()
    assert str(trial.value) == str(applying.value)


def test_a_newer_schema_is_refused_by_a_trial_too(database: Database) -> None:
    """As by the migration itself."""
    database.rows("INSERT INTO schema_migrations (name) VALUES ('9999_of_tomorrow.sql')")
    with pytest.raises(OpsError, match="newer version"):
        database.attempt()


def test_the_outbox_gets_partitions_beside_its_events(empty: Database) -> None:
    """No event moves, statements of the former release go on, and permissions stay."""
    events = (
        "SELECT key, id, type, payload, created_at, sent_at, first_sent_at, traceparent"
        " FROM outbox ORDER BY id"
    )
    insert = "INSERT INTO outbox (key, type, payload, sent_at) VALUES (%s, 'a', 'b', %s)"
    file = "SELECT pg_relation_filenode('{}')"
    with empty.before("0009"):
        empty.apply()
    empty.rows("CREATE ROLE of_the_services")
    empty.rows("GRANT SELECT, INSERT ON outbox TO of_the_services")
    empty.rows("GRANT USAGE ON outbox_id_sequence TO of_the_services")
    with psycopg.connect(empty.dsn, autocommit=True) as former:
        for number in range(8):
            sent_at = "now" if number % 2 else None
            former.execute(insert, (number, sent_at), prepare=True)
        former.execute("SELECT begin_history(false)")
        before = empty.rows(events)
        moved = empty.rows(file.format("outbox"))
        assert [told.partition("_")[0] for told in empty.apply()] == [
            "applied 0009",
            "applied 0010",
            "applied 0011",
        ]
        former.execute(insert, (8, None), prepare=True)
        with former.cursor().copy("COPY outbox (key, type, payload) FROM STDIN") as copy:
            copy.write_row((9, "a", "b"))
    after = empty.rows(events)
    assert after[:8] == before
    assert [row[0] for row in after] == list(range(10))
    assert empty.rows(file.format("outbox_0")) == moved
    slots = empty.rows("SELECT slot FROM outbox ORDER BY id")
    assert [slot for (slot,) in slots] == [0] * 8 + [1] * 2
    allowed = empty.rows(
        "SELECT has_table_privilege('of_the_services', name, 'SELECT, INSERT'),"
        " has_table_privilege('of_the_services', name, 'TRUNCATE')"
        " FROM unnest(ARRAY['outbox', 'outbox_1', 'outbox_2', 'outbox_3']) AS name"
    )
    assert allowed == [(True, False)] * 4
    usage = "SELECT has_sequence_privilege('of_the_services', 'outbox_slot_sequence', 'USAGE')"
    assert empty.rows(usage) == [(True,)]
