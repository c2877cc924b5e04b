"""Brings the schema in Postgres and the topics in Kafka up to date."""

from __future__ import annotations

from collections.abc import Callable

from core.settings import Settings
from ops.database import SQL, connect
from ops.failures import failures_as_ops_errors
from ops.migration_session import MigrationSession
from ops.topics import prepare_topics


@failures_as_ops_errors()
def migrate(
    settings: Settings, *, dry_run: bool = False, waiting: Callable[[str], None] = lambda _: None
) -> list[str]:
    """Apply the missing migrations and create the missing topics; safe to run at any time.

    A topic that keeps records for longer than FANFARE_RETENTION_DAYS is changed.

    Args:
        settings: the addresses of Postgres and Kafka, and the topic.
        dry_run: whether to find out only what would be done, and whether it would succeed.
        waiting: called with a sentence about whom a migration waits for, from any thread.

    Returns:
        What was done, or would be done, one phrase each.

    Raises:
        OpsError: a server does not answer, or refuses, or others held a lock for too long.
    """
    dsn = settings.session_dsn()
    phrases = try_migrations(dsn, waiting) if dry_run else apply_migrations(dsn, waiting)
    return phrases + prepare_topics(settings, dry_run=dry_run)


def apply_migrations(dsn: str, waiting: Callable[[str], None] = lambda _: None) -> list[str]:
    """Apply the SQL files that have not been applied, one after another.

    Args:
        dsn: the database.
        waiting: called with a sentence about whom a migration waits for, from any thread.

    Returns:
        A phrase for each file that was applied.

    Raises:
        OpsError: a newer version of Fanfare has migrated the database, and nothing was changed; or
            a file could not be applied, and those before it were.
    """
    done = []
    with connect(dsn) as connection:
        session = MigrationSession(dsn, connection, waiting)
        session.lock()
        connection.execute(SQL["create_schema_migrations"])
        for migration in session.missing():
            session.apply(migration)
            done.append(f"applied {migration.name}")
        # Otherwise other processes would have to wait until a write service begins a history.
        connection.execute(SQL["begin_history"], {"forced": False})
    return done


def try_migrations(dsn: str, waiting: Callable[[str], None] = lambda _: None) -> list[str]:
    """Apply the SQL files that have not been applied in one transaction, and roll it back.

    So it takes the same locks as apply_migrations(), for as long as all files take together.

    Args:
        dsn: the database.
        waiting: called with a sentence about whom a migration waits for, from any thread.

    Returns:
        A phrase for each file that would be applied.

    Raises:
        OpsError: one of them would fail, or is refused by apply_migrations().
    """
    with connect(dsn) as connection:
        session = MigrationSession(dsn, connection, waiting)
        session.lock()
        missing = session.try_missing()
        role = connection.info.user
    return [f"would apply {migration.name} as role {role}" for migration in missing]
