"""Search what a system stores and logs for what must not be there, such as passwords."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from psycopg import sql

# Every password in tests begins with this, so that a search finds it.
SECRET = "pass-for-tests-"
# The passwords, and what every access token begins with: {"alg":"EdDSA", in base64.
MARKS = (SECRET, "eyJhbGciOiJFZERTQSI")
# Without partitions, whose rows are those of their table.
_TABLES = (
    "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
    " AND relnamespace = 'public'::regnamespace"
)


def places_with(
    marks: tuple[str, ...],
    rows: Callable[..., list[tuple[Any, ...]]],
    keys: redis.Redis,
    logs: Path,
) -> set[str]:
    """Return the names of the tables, and "redis" and "logs", that contain one of the marks.

    Args:
        marks: The texts to search for.
        rows: Runs a query; see SqlClient.rows.
        keys: The Redis to search.
        logs: The folder with the processes' logs.
    """
    everything = sql.SQL("SELECT * FROM {}")
    tables = rows(_TABLES)
    contents = {
        table: b"".join(
            bytes(value) if isinstance(value, bytes) else repr(value).encode()
            for row in rows(everything.format(sql.Identifier(table)).as_string())
            for value in row
        )
        for (table,) in tables
    }
    contents["logs"] = b"".join(path.read_bytes() for path in logs.glob("*.log"))
    contents["redis"] = b"".join(
        key + _redis_value(keys, key) for key in keys.scan_iter(count=1000)
    )
    return {
        name
        for name, content in contents.items()
        if any(mark.encode() in content for mark in marks)
    }


def _redis_value(keys: redis.Redis, key: bytes) -> bytes:
    is_list = keys.type(key) == b"list"
    return repr(keys.lrange(key, 0, -1) if is_list else keys.get(key)).encode()
