"""Applies migrations over one connection, without keeping others waiting for long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
from psycopg import sql
from psycopg.errors import DeadlockDetected, LockNotAvailable

from core.storage import schema
from core.storage.postgres import BlockingConnection
from ops.database import SQL, STATEMENT_SECONDS
from ops.errors import OpsError
from ops.failures import describe_failure
from ops.lock_watch import LockWatch
from ops.migration_files import ConcurrentIndex, Migration, load_migrations

# An arbitrary number, which must be the same in every `fanfare migrate` of a database.
MIGRATION_LOCK = 0x4D494752
ASK_LOCK_SECONDS = 0.5
# How long a statement of a migration may wait for a lock. All others who need the table wait behind
# it meanwhile. It must be above Postgres' deadlock_timeout of one second: only after that does
# Postgres end an autovacuum that holds the lock.
LOCK_SECONDS = 2.0
# The pauses between the attempts, in which those who waited behind it go on. With the attempts they
# take up to a minute.
PAUSES = (0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0, 5.0)
# How long the creation of an index may wait for the transactions that were under way when it began.
# Nobody waits behind it, and another attempt would begin again with an empty index.
INDEX_LOCK_SECONDS = 600.0

T = TypeVar("T")


class MigrationSession:
    """A connection over which migrations are applied, or tried."""

    def __init__(
        self, dsn: str, connection: BlockingConnection, waiting: Callable[[str], None]
    ) -> None:
        """Prepare to migrate.

        Args:
            dsn: the database.
            connection: a connection to it.
            waiting: called with a sentence about whom a migration waits for, from any thread.
        """
        self._dsn = dsn
        self._connection = connection
        self._waiting = waiting

    def lock(self) -> None:
        """Wait until no other `fanfare migrate` is at work, and keep others waiting from then on.

        Two runs could otherwise apply the same file. The lock ends with the connection; but if this
        program is killed, Postgres first finishes the statement that it is at.

        Raises:
            OpsError: another one was at work for too long.
        """
        deadline = time.monotonic() + STATEMENT_SECONDS
        told = False
        while not self._row("lock_migrations", lock=MIGRATION_LOCK):
            rows = self._connection.execute(SQL["sessions_that_migrate"], {"lock": MIGRATION_LOCK})
            others = ", ".join(row[1] for row in rows) or "a session that is ending"
            if time.monotonic() > deadline:
                raise OpsError(
                    f"another `fanfare migrate` of this database has not ended ({others}); end "
                    "its session with pg_terminate_backend, and run this again"
                )
            if not told:
                self._waiting(f"another `fanfare migrate` is at work: {others}")
                told = True
            time.sleep(ASK_LOCK_SECONDS)

    def missing(self) -> list[Migration]:
        """Return the migrations that have not been applied.

        Raises:
            OpsError: a newer version of Fanfare has migrated the database.
        """
        applied = {name for (name,) in self._connection.execute(schema.SQL["applied_migrations"])}
        if (reason := schema.explain_newer_schema(applied)) is not None:
            raise OpsError(reason)
        return [migration for migration in load_migrations() if migration.name not in applied]

    def apply(self, migration: Migration) -> None:
        """Apply a migration, and note that it has been applied.

        Raises:
            OpsError: Postgres refuses it, or others held a lock for too long. Nothing of it was
                applied then, except that an index may be left unfinished.
        """
        with self._failures_of(migration):
            if migration.index is not None:
                self._create_index(migration, migration.index)
            else:
                self._retry(migration.name, lambda: self._apply_at_once(migration))

    def try_missing(self) -> list[Migration]:
        """Apply the migrations that have not been applied in a transaction, and roll it back.

        Returns:
            These migrations.

        Raises:
            OpsError: as missing() and apply() do.
        """
        return self._retry("the trial of the migrations", self._try_at_once)

    def _apply_at_once(self, migration: Migration) -> None:
        with self._connection.transaction():
            self._limit_locks(LOCK_SECONDS, in_transaction=True)
            self._execute(migration.sql)
            self._note(migration)

    def _try_at_once(self) -> list[Migration]:
        with self._connection.transaction(force_rollback=True):
            self._limit_locks(LOCK_SECONDS, in_transaction=True)
            self._connection.execute(SQL["create_schema_migrations"])
            missing = self.missing()
            for migration in missing:
                with self._failures_of(migration):
                    if migration.index is not None:
                        self._try_index(migration.sql, migration.index)
                    else:
                        self._execute(migration.sql)
        return missing

    def _create_index(self, migration: Migration, index: ConcurrentIndex) -> None:
        """Create an index while others write to the table.

        Where an earlier run was broken off, there is an invalid index, which costs writes and which
        no query uses: it is dropped first. Or there is the whole index, which only was not noted.
        """
        is_valid = self._row("is_index_valid", name=index.name)
        self._limit_locks(INDEX_LOCK_SECONDS, in_transaction=False)
        with LockWatch(self._dsn, self._pid, self._told(migration.name)) as watch:
            try:
                if is_valid is False:
                    self._connection.execute(_with_index("drop_unfinished_index", index))
                if not is_valid:
                    self._execute(migration.sql)
            except LockNotAvailable as error:
                raise self._lock_held(
                    migration.name, f"waited for {INDEX_LOCK_SECONDS:g} s", watch
                ) from error
        self._limit_locks(0, in_transaction=False)
        self._note(migration)

    def _try_index(self, statement: str, index: ConcurrentIndex) -> None:
        """Create an index on an empty copy of its table, which hides the table meanwhile."""
        with self._connection.transaction(force_rollback=True):
            self._connection.execute(_with_index("create_empty_copy", index))
            self._execute(statement.replace("INDEX CONCURRENTLY", "INDEX", 1))

    def _retry(self, name: str, attempt: Callable[[], T]) -> T:
        """Return the result of an attempt that was not kept from a lock.

        Raises:
            OpsError: all attempts were; the message says by whom.
        """
        began = time.monotonic()
        with LockWatch(self._dsn, self._pid, self._told(name)) as watch:
            for pause in (*PAUSES, None):
                try:
                    return attempt()
                except (LockNotAvailable, DeadlockDetected) as error:
                    if pause is None:
                        seconds = time.monotonic() - began
                        tried = f"tried {len(PAUSES) + 1} times within {seconds:.0f} s"
                        raise self._lock_held(name, tried, watch) from error
                    time.sleep(pause)
        raise AssertionError  # the last attempt has returned or raised

    def _lock_held(self, name: str, tried: str, watch: LockWatch) -> OpsError:
        who = ", ".join(watch.holders.values()) or "sessions that ended too soon to be seen"
        ends = " and ".join(f"SELECT pg_terminate_backend({pid})" for pid in watch.holders if pid)
        cure = f"wait until that has ended{f', or end it with {ends}' if ends else ''}"
        return OpsError(
            f"{name} needs a lock that others hold ({tried}): {who}; {cure}; then run "
            "`fanfare migrate` again"
        )

    def _told(self, name: str) -> Callable[[str], None]:
        return lambda holders: self._waiting(f"{name} waits for {holders}")

    @contextmanager
    def _failures_of(self, migration: Migration) -> Iterator[None]:
        """Name the migration in the errors of Postgres, except those that are retried."""
        try:
            yield
        except (LockNotAvailable, DeadlockDetected):
            raise
        except psycopg.Error as error:
            raise OpsError(
                f"{migration.name} cannot be applied: {describe_failure(error)}; correct that, and "
                "run `fanfare migrate` again"
            ) from error

    @property
    def _pid(self) -> int:
        return self._connection.info.backend_pid

    def _limit_locks(self, seconds: float, *, in_transaction: bool) -> None:
        self._row("set_lock_timeout", timeout=f"{seconds:g}s", in_transaction=in_transaction)

    def _note(self, migration: Migration) -> None:
        self._connection.execute(SQL["note_migration"], {"name": migration.name})

    def _execute(self, statements: str) -> None:
        # As bytes: psycopg takes only literal strings, to prevent SQL injection. Files are code.
        self._connection.execute(statements.encode())

    def _row(self, query: str, **parameters: object) -> object:
        """Return the first column of a query's only row; None if it has no row."""
        row = self._connection.execute(SQL[query], parameters).fetchone()
        return None if row is None else row[0]


def _with_index(query: str, index: ConcurrentIndex) -> sql.Composed:
    names = {"index": sql.Identifier(index.name), "its_table": sql.Identifier(index.table)}
    return sql.SQL(SQL[query]).format(**names)
