"""An old version does not use what a newer one has migrated."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.runtime.process import StartError
from core.storage import schema
from core.storage.schema import explain_newer_schema, migration_names, refuse_newer_schema

ROOT = Path(__file__).parents[4]


def test_all_migrations_are_known_in_order() -> None:
    """The names are those of the files."""
    files = sorted(path.name for path in (ROOT / "migrations").glob("*.sql"))
    assert migration_names() == files


@pytest.mark.parametrize("count", [0, 1, None])
def test_an_older_or_equal_schema_is_no_problem(count: int | None) -> None:
    """`fanfare migrate` will apply what is missing."""
    assert explain_newer_schema(migration_names()[:count]) is None


def test_a_newer_schema_is_named() -> None:
    """The sentence names the newest unknown migration, and what to do."""
    told = explain_newer_schema([*migration_names(), "9998_x.sql", "9999_y.sql"])
    assert told is not None
    assert "9999_y.sql is not known here" in told
    assert "run that version or a later one" in told


async def test_a_process_does_not_start_on_a_newer_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts on any other, and where nothing could be read."""
    applied: list[str] = []
    monkeypatch.setattr(schema, "_applied_migrations", lambda _: applied)
    await refuse_newer_schema("dsn")
    applied.append("9999_y.sql")
    with pytest.raises(StartError, match=r"9999_y\.sql"):
        await refuse_newer_schema("dsn")
