"""The files of `migrations/`, and how each of them is to be applied."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources

from core.storage.schema import migration_names
from ops.errors import OpsError

# The first line of a file that is not applied in a transaction.
NO_TRANSACTION = "-- migrate: no transaction"

_COMMENT = re.compile(r"--.*$", re.MULTILINE)
_INDEX = re.compile(
    r"\s*CREATE (?:UNIQUE )?INDEX CONCURRENTLY (?P<name>\w+)\s+ON (?P<table>\w+)\b[^;]*;?\s*",
)


@dataclass(frozen=True)
class ConcurrentIndex:
    """An index that a file creates while others write to its table."""

    name: str
    table: str


@dataclass(frozen=True)
class Migration:
    """A numbered SQL file."""

    name: str
    sql: str
    index: ConcurrentIndex | None
    """The one index that a file without a transaction creates; None for every other file."""


def load_migrations() -> list[Migration]:
    """Return this version's migrations, in their order.

    Raises:
        OpsError: a file without a transaction does anything but create one index.
    """
    folder = resources.files("migrations")
    return [
        parse_migration(name, folder.joinpath(name).read_text("utf-8"))
        for name in migration_names()
    ]


def parse_migration(name: str, sql: str) -> Migration:
    """Return a migration; raises as load_migrations() does.

    Args:
        name: the name of the file.
        sql: its content.
    """
    if sql.partition("\n")[0].rstrip() != NO_TRANSACTION:
        return Migration(name, sql, None)
    found = _INDEX.fullmatch(_COMMENT.sub("", sql))
    if found is None:
        raise OpsError(
            f"{name} is marked with `{NO_TRANSACTION}`, but is not one CREATE INDEX CONCURRENTLY "
            "with the name of the index and without IF NOT EXISTS; only such a file can be "
            "repeated after it was broken off"
        )
    return Migration(name, sql, ConcurrentIndex(found["name"], found["table"]))
