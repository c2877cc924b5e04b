"""Refuses a database that a newer version of Fanfare has migrated."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from importlib import resources

import psycopg

from core.runtime.process import StartError
from core.storage.postgres import connect
from core.storage.queries import load_queries

SQL = load_queries("core.storage")
# How long a start waits for the answer. A process must also start while Postgres is away.
WAIT_SECONDS = 2.0


def migration_names() -> list[str]:
    """Return the names of this version's migrations, in their order."""
    names = (file.name for file in resources.files("migrations").iterdir())
    return sorted(name for name in names if name.endswith(".sql"))


def explain_newer_schema(applied: Iterable[str]) -> str | None:
    """Return what is wrong with a database that has these migrations; None if nothing is.

    An older version must not use it: what the migration added, such as the mark of a deleted user,
    it does not know and would ignore.
    """
    unknown = sorted(set(applied) - set(migration_names()))
    if not unknown:
        return None
    return (
        f"the database was migrated by a newer version of Fanfare ({unknown[-1]} is not known "
        "here); run that version or a later one"
    )


async def refuse_newer_schema(dsn: str) -> None:
    """Refuse to start on a database that a newer version has migrated.

    A process that already runs goes on during an upgrade. If Postgres does not answer, nothing is
    checked.

    Raises:
        StartError: a newer version has migrated the database.
    """
    reason = explain_newer_schema(await asyncio.to_thread(_applied_migrations, dsn))
    if reason is not None:
        raise StartError(reason)


def _applied_migrations(dsn: str) -> list[str]:
    try:
        with connect(dsn, "schema", WAIT_SECONDS) as connection:
            return [name for (name,) in connection.execute(SQL["applied_migrations"])]
    except psycopg.Error:  # also if it was not migrated at all
        return []
