"""What `make lint` says about migrations, by the rules of .squawk.toml."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from ops.migration_files import NO_TRANSACTION

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / ".squawk.toml"


def _squawk(folder: Path, sql: str) -> subprocess.CompletedProcess[str]:
    file = folder / "9998_test.sql"
    file.write_text(f"{sql}\n")
    command = ["squawk", "--config", str(CONFIG), "--reporter", "gcc", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE tweets ADD COLUMN mood text;",
        "ALTER TABLE tweets ADD COLUMN moods bigint NOT NULL DEFAULT 0;",
        "CREATE TABLE moods (id bigint PRIMARY KEY);\nCREATE INDEX moods_idx ON moods (id);",
        f"{NO_TRANSACTION}\nCREATE INDEX CONCURRENTLY tweets_day_idx ON tweets (created_at);",
    ],
)
def test_what_the_running_version_does_not_notice_is_allowed(tmp_path: Path, sql: str) -> None:
    """Nothing needs to be excused in such a file."""
    done = _squawk(tmp_path, sql)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("ALTER TABLE tweets DROP COLUMN content;", "ban-drop-column"),
        ("ALTER TABLE tweets RENAME COLUMN content TO text;", "renaming-column"),
        ("ALTER TABLE tweets RENAME TO posts;", "renaming-table"),
        ("ALTER TABLE tweets ALTER COLUMN version TYPE text;", "changing-column-type"),
        ("ALTER TABLE tweets ADD COLUMN mood text NOT NULL;", "adding-required-field"),
        ("CREATE INDEX tweets_day_idx ON tweets (created_at);", "require-concurrent-index-crea"),
        ("ALTER TABLE tweets ALTER COLUMN content SET NOT NULL;", "adding-not-null"),
        ("ALTER TABLE tweets ADD CHECK (version > 0);", "constraint-missing-not-valid"),
    ],
)
def test_what_breaks_or_blocks_the_running_version_is_refused(
    tmp_path: Path, sql: str, rule: str
) -> None:
    """The rule is named, so that a line can excuse the statement."""
    done = _squawk(tmp_path, sql)
    assert done.returncode == 1
    assert rule in done.stdout
    assert _squawk(tmp_path, f"-- squawk-ignore {_rule(done)}\n{sql}").returncode == 0


def test_only_files_from_before_the_rules_are_exempt() -> None:
    """They are exempt by name, up to the last that was released without them."""
    exempt = tomllib.loads(CONFIG.read_text())["excluded_paths"]
    files = sorted(f"migrations/{path.name}" for path in (ROOT / "migrations").glob("*.sql"))
    assert exempt == [name for name in files if name < "migrations/0008"]


def _rule(done: subprocess.CompletedProcess[str]) -> str:
    return ", ".join({line.split("warning: ")[1].split()[0] for line in done.stdout.splitlines()})
