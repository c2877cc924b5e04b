"""A database that a newer version has migrated."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from helpers.command_line import CommandLine

from ops.system import System

REASON = (
    "the database was migrated by a newer version of Fanfare (9999_of_tomorrow.sql is not known "
    "here); run that version or a later one"
)


def test_nothing_of_this_version_uses_it(
    start_system: Callable[..., System], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Migrate, up and each process refuse with one sentence; running processes go on."""
    system = start_system()
    with psycopg.connect(system.settings.primary_dsn(), autocommit=True) as connection:
        connection.execute("INSERT INTO schema_migrations (name) VALUES ('9999_of_tomorrow.sql')")
    monkeypatch.setenv("FANFARE_STATE_DIR", str(tmp_path / "state"))
    commands = CommandLine(system.settings)
    migrate = commands.run("migrate")
    assert (migrate.returncode, migrate.stderr) == (1, f"Error: {REASON}\n")
    up = commands.run("up", "--ports", "auto")
    assert up.returncode == 1
    assert f"Error: {REASON}" in up.stderr
    for package in ("write_service", "read_service", "fanout_worker"):
        done = subprocess.run(
            [sys.executable, "-m", package],
            env=system._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == f"fanfare: {REASON}"
    assert all(process.running for process in system.processes.values())
