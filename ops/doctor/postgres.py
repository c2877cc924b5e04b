"""Checks of Postgres: settings, schema, clock and replica."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.settings import Settings
from core.storage import schema
from core.storage.postgres import connect
from core.storage.settings_checks import postgres_check
from ops.database import SQL
from ops.doctor.clocks import check_clock
from ops.doctor.runner import Check
from ops.doctor.verdicts import Status, Verdict, verdict_of_finding, verdict_of_sentence
from ops.replication import check_replica, describe_replica

SILENCE_SECONDS = 5.0


def postgres_checks(settings: Settings) -> list[Check]:
    """Return the checks of the primary and of the replica."""
    name = "Postgres"
    return [
        Check(name, lambda: _check_answer(settings)),
        Check("Postgres settings", lambda: _check_settings(settings), needs=name),
        Check("Postgres schema", lambda: [schema_verdict(_migrations(settings))], needs=name),
        Check("Postgres clock", lambda: check_clock(lambda: _clock(settings)), needs=name),
        Check("replica", lambda: [_check_replica(settings)], needs=name),
    ]


def schema_verdict(applied: Iterable[str] | None) -> Verdict:
    """Return the verdict on a database with these migrations; None if it has no schema."""
    if applied is None:
        return Verdict(Status.FAIL, "the database has no schema yet", "run `fanfare migrate`")
    if (newer := schema.explain_newer_schema(applied)) is not None:
        return verdict_of_sentence(newer)
    known = schema.migration_names()
    missing = sorted(set(known) - set(applied))
    if missing:
        text = f"the database lacks the migration {missing[0]}" + (
            f" and {len(missing) - 1} later" if len(missing) > 1 else ""
        )
        return Verdict(Status.FAIL, text, "run `fanfare migrate`")
    return Verdict(Status.OK, f"is that of this version ({known[-1].removesuffix('.sql')})")


def _check_answer(settings: Settings) -> list[Verdict]:
    version, is_replica = _row(settings, "server_version")
    if is_replica:
        return [
            Verdict(
                Status.FAIL,
                f"version {version} answers, but is a replica, and refuses every command",
                "set FANFARE_POSTGRES_DSN to the primary, or promote this server",
            )
        ]
    return [Verdict(Status.OK, f"version {version} answers, and is a primary")]


def _check_settings(settings: Settings) -> list[Verdict]:
    found = [verdict_of_finding(finding) for finding in postgres_check(settings)()]
    return found or [Verdict(Status.OK, "keep what was acknowledged")]


def _migrations(settings: Settings) -> list[str] | None:
    dsn = settings.session_dsn()
    with connect(dsn, "doctor", SILENCE_SECONDS) as connection:
        row = connection.execute(SQL["has_migrations"]).fetchone()
        if row is None or not row[0]:
            return None
        return [name for (name,) in connection.execute(schema.SQL["applied_migrations"])]


def _clock(settings: Settings) -> float:
    (seconds,) = _row(settings, "clock")
    return float(seconds)


def _check_replica(settings: Settings) -> Verdict:
    replica = settings.replica_dsn()
    if replica == settings.primary_dsn():
        return Verdict(Status.OK, "none is set, so the primary answers all queries")
    text, cure = describe_replica(
        check_replica(settings.session_dsn(), replica), settings.max_replica_lag
    )
    return Verdict(Status.FAIL if cure else Status.OK, text, cure)


def _row(settings: Settings, name: str) -> tuple[Any, ...]:
    with connect(settings.session_dsn(), "doctor", SILENCE_SECONDS) as connection:
        row = connection.execute(SQL[name]).fetchone()
    assert row is not None  # noqa: S101 - each of these queries has one row
    return row
