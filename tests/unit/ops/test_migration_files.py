"""Which files of migrations/ are applied without a transaction."""

from __future__ import annotations

import pytest

from ops.errors import OpsError
from ops.migration_files import NO_TRANSACTION, ConcurrentIndex, load_migrations, parse_migration

INDEX = "CREATE INDEX CONCURRENTLY tweets_day_idx ON tweets (created_at);"


def test_every_file_can_be_used() -> None:
    """They are in the order of their numbers."""
    names = [migration.name for migration in load_migrations()]
    assert names == sorted(names)
    assert names[0] == "0001_initial.sql"


def test_a_file_without_the_mark_is_applied_in_a_transaction() -> None:
    """Only a mark in the first line counts."""
    assert parse_migration("1.sql", "SELECT 1;").index is None
    assert parse_migration("1.sql", f"SELECT 1;\n{NO_TRANSACTION}\n").index is None


@pytest.mark.parametrize(
    "statement",
    [
        INDEX,
        INDEX.replace("CREATE", "-- Why.\n-- And; why not.\nCREATE"),
        INDEX.replace("CREATE", "CREATE UNIQUE").rstrip(";"),
        INDEX.replace(" ON", "\n    ON"),
    ],
)
def test_a_marked_file_creates_one_index(statement: str) -> None:
    """Comments and line ends may be anywhere."""
    migration = parse_migration("1.sql", f"{NO_TRANSACTION}\n{statement}\n")
    assert migration.index == ConcurrentIndex("tweets_day_idx", "tweets")


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "SELECT 1;",
        f"{INDEX}\n{INDEX}",
        f"{INDEX}\nSELECT 1;",
        INDEX.replace(" CONCURRENTLY", ""),
        INDEX.replace("tweets_day_idx", "IF NOT EXISTS tweets_day_idx"),
        INDEX.replace("tweets_day_idx ", ""),
    ],
)
def test_a_marked_file_that_does_anything_else_is_refused(statement: str) -> None:
    """It could not be repeated after it was broken off."""
    with pytest.raises(OpsError, match=r"^1\.sql is marked with"):
        parse_migration("1.sql", f"{NO_TRANSACTION}\n{statement}\n")
