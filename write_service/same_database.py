"""Refuses a session DSN that leads to another database than the other statements use."""

from __future__ import annotations

import asyncio

import psycopg

from core.runtime.process import StartError
from core.storage.postgres import connect
from core.storage.queries import load_queries
from core.storage.schema import WAIT_SECONDS

SQL = load_queries("write_service")


async def refuse_other_database(primary_dsn: str, session_dsn: str) -> None:
    """Refuse to start if the two lead to different databases; the relay would find no events.

    If one of them does not answer, nothing is checked.

    Raises:
        StartError: they are different.
    """
    if session_dsn == primary_dsn:
        return
    identities = await asyncio.gather(
        asyncio.to_thread(_identity, primary_dsn), asyncio.to_thread(_identity, session_dsn)
    )
    if None not in identities and len(set(identities)) > 1:
        raise StartError(
            "FANFARE_POSTGRES_SESSION_DSN leads to another database than FANFARE_POSTGRES_DSN; set "
            "it to the address of the Postgres that the pooler uses"
        )


def _identity(dsn: str) -> str | None:
    try:
        with connect(dsn, "start", WAIT_SECONDS) as connection:
            row = connection.execute(SQL["server_identity"]).fetchone()
    except psycopg.Error:  # also if the database was not migrated
        return None
    return str(row[0]) if row is not None else None
