"""What psql's users have in their environment does not rule our connections to Postgres."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from helpers.fanfare import Fanfare

from core.runtime.environment import ignore_foreign_variables
from core.storage.postgres import connect
from core.storage.postgres_pool import Database

TEXT = "東京タワー 🗼"
HOSTILE = {
    "PGSERVICE": "nowhere",
    "PGSYSCONFDIR": "/nonexistent",
    "PGHOSTADDR": "192.0.2.1",
    "PGHOST": "192.0.2.1",
    "PGPORT": "1",
    "PGUSER": "nobody",
    "PGPASSWORD": "wrong",
    "PGPASSFILE": "/nonexistent",
    "PGDATABASE": "nowhere",
    "PGOPTIONS": "-c search_path=nowhere",
    "PGCLIENTENCODING": "LATIN1",
    "PGTZ": "Asia/Tokyo",
    "PGDATESTYLE": "SQL, DMY",
    "PGAPPNAME": "psql",
    "PGCONNECT_TIMEOUT": "soon",
    "PGSSLMODE": "verify-full",
    "PGSSLROOTCERT": "/nonexistent",
    "PGSSLNEGOTIATION": "direct",
    "PGGSSENCMODE": "require",
    "PGREQUIREAUTH": "none",
    "PGREQUIREPEER": "postgres",
    "PGCHANNELBINDING": "require",
    "PGTARGETSESSIONATTRS": "standby",
    "PGLOADBALANCEHOSTS": "perhaps",
    "PGMINPROTOCOLVERSION": "9",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_variable_of_libpq_changes_nothing(
    fanfare: Fanfare, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Connections of both kinds are made, with UTC and with every character."""
    monkeypatch.setenv(name, HOSTILE[name])
    ignore_foreign_variables()
    dsn = fanfare.settings.primary_dsn()
    query = "SELECT %s, now(), current_setting('TimeZone'), count(*) FROM users"
    with connect(dsn, "test", 10.0) as blocking:
        row = blocking.execute(query, (TEXT,)).fetchone()
    assert row is not None
    assert (row[0], row[2]) == (TEXT, "UTC")
    database = Database(dsn, "test")
    await database.open()
    try:
        async with database.connection() as connection:
            answer = await (await connection.execute(query, (TEXT,))).fetchone()
    finally:
        await database.close()
    assert answer is not None
    assert (answer[0], answer[2]) == (TEXT, "UTC")


def test_a_password_file_that_the_dsn_names_is_used(fanfare: Fanfare, tmp_path: Path) -> None:
    """It is the operator's means to keep the password out of the environment."""
    parts = psycopg.conninfo.conninfo_to_dict(fanfare.settings.primary_dsn())
    passfile = tmp_path / "password"
    passfile.write_text(f"*:*:*:*:{parts.pop('password')}\n")
    passfile.chmod(0o600)
    parts["passfile"] = str(passfile)
    dsn = psycopg.conninfo.make_conninfo("", **parts)
    with connect(dsn, "test", 10.0) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
