"""The rules by which `fanfare doctor` judges what it has read."""

from __future__ import annotations

import math
import re
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.auth.access_tokens import LEEWAY_SECONDS
from core.settings import GrpcServerKind, Settings
from core.storage.schema import migration_names
from ops.doctor import installation
from ops.doctor.clocks import WARN_SECONDS, clock_verdict
from ops.doctor.installation import locked_versions, package_verdicts, setting_verdicts
from ops.doctor.machine import (
    FAIL_FREE_BYTES,
    GB,
    NEEDED_FILES,
    backup_verdict,
    disk_verdict,
    files_verdict,
)
from ops.doctor.postgres import schema_verdict
from ops.doctor.processes import versions_verdict
from ops.doctor.redis import role_verdict
from ops.doctor.verdicts import Status, Verdict

SECONDS = st.floats(0, 30)


def _warned(verdict: Verdict, text: str, status: Status = Status.WARN) -> None:
    assert verdict.status is status
    assert text in verdict.text
    assert verdict.cure


@given(SECONDS, SECONDS, st.floats(0, 1))
def test_a_slow_answer_is_no_difference_of_clocks(before: float, after: float, part: float) -> None:
    """Whenever the server has read its clock between question and answer, the clocks agree."""
    asked, answered = 1e9, 1e9 + before + after
    theirs = asked + part * (answered - asked)
    assert clock_verdict(asked, theirs, answered).status is Status.OK


@given(SECONDS, st.floats(0.01, 1e6), st.sampled_from([-1, 1]))
def test_what_lies_outside_the_answer_is_a_difference_of_clocks(
    taken: float, difference: float, sign: int
) -> None:
    """It fails from the difference on with which access tokens are refused."""
    asked, answered = 1e9, 1e9 + taken
    theirs = answered + difference if sign > 0 else asked - difference
    verdict = clock_verdict(asked, theirs, answered)
    if difference > LEEWAY_SECONDS + 0.001:
        _warned(verdict, " s ahead of this" if sign > 0 else " s behind this", Status.FAIL)
    elif WARN_SECONDS + 0.001 < difference < LEEWAY_SECONDS - 0.001:
        _warned(verdict, " s ahead of this" if sign > 0 else " s behind this")
        (seconds,) = re.findall(r"is ([0-9.]+) s", verdict.text)
        assert float(seconds) == pytest.approx(difference, abs=0.06)  # rounded to tenths
    elif difference < WARN_SECONDS - 0.001:
        assert verdict.status is Status.OK


def test_a_schema_of_another_version() -> None:
    """It is told whether migrations are missing, or the database is newer than this version."""
    names = migration_names()
    assert schema_verdict(names).status is Status.OK
    for applied, text in (
        (None, "has no schema"),
        ([], f"lacks the migration {names[0]} and {len(names) - 1} later"),
        (names[:-1], f"lacks the migration {names[-1]}"),
    ):
        verdict = schema_verdict(applied)
        _warned(verdict, text, Status.FAIL)
        assert verdict.cure == "run `fanfare migrate`"
    newer = schema_verdict([*names, "9999_later.sql"])
    _warned(newer, "9999_later.sql is not known here", Status.FAIL)


def test_a_replica_of_redis_cannot_be_written() -> None:
    """Redis names the role `slave`; Valkey has a version of its own besides that of Redis."""
    primary = {"redis_version": "7.2.4", "valkey_version": "9.1.0", "server_name": "valkey"}
    assert role_verdict(primary | {"role": "master"}) == Verdict(Status.OK, "valkey 9.1.0 answers")
    _warned(role_verdict({"redis_version": "8.0", "role": "slave"}), "is a replica", Status.FAIL)
    assert role_verdict({}).text == "redis of an unknown version answers"


def test_too_few_open_files() -> None:
    """The limit must suffice for as many clients as the processes accept."""
    _warned(files_verdict(1024, 0), "may open 1,024 files")
    _warned(files_verdict(NEEDED_FILES, 1), "may open 2,200 files")
    for limit in (NEEDED_FILES + 1, resource.RLIM_INFINITY):
        assert files_verdict(limit, 1).status is Status.OK


def test_a_full_disk() -> None:
    """A tenth of the disk should be free; with nearly nothing, files cannot be written."""
    folder = Path("state")
    assert disk_verdict(folder, 20 * GB, 100 * GB).status is Status.OK
    _warned(disk_verdict(folder, 9 * GB, 100 * GB), "9.0 GB of 100.0 GB are free")
    _warned(disk_verdict(folder, FAIL_FREE_BYTES - 1, GB), "2.0 GB of", Status.FAIL)


def test_an_old_backup() -> None:
    """One of yesterday is right; none at all is a failure."""
    folder = Path("backups")
    assert backup_verdict(folder, 30 * 3600).status is Status.OK
    _warned(backup_verdict(folder, 40 * 3600), "the newest one in backups is 40.0 hours old")
    _warned(backup_verdict(folder, math.inf), "no complete backup in backups", Status.FAIL)


def test_processes_of_another_version() -> None:
    """They are named; a process that does not run, or tells no version, is none of them."""
    assert versions_verdict("2", {}).text == "this command is 2; no process tells its version"
    assert versions_verdict("2", {"write": "2"}) == Verdict(
        Status.OK, "this command is 2; the same: write"
    )
    _warned(versions_verdict("2", {"write": "2", "read": "1"}), "is 2, but read is 1")


@pytest.mark.parametrize(
    ("settings", "text", "status"),
    [
        (
            {"allow_unauthenticated_plaintext": True, "auth_keys": "keys"},
            "be any address without TLS",
            Status.WARN,
        ),
        ({"tls_services": "orders"}, "FANFARE_TLS_SERVICES has no effect", Status.WARN),
        ({"security_log": "log"}, "FANFARE_SECURITY_LOG has no effect", Status.WARN),
        (
            {"cors_origins": "https://x", "rest_write_port": 0, "rest_read_port": 0},
            "FANFARE_CORS_ORIGINS has no effect",
            Status.WARN,
        ),
        (
            {"demo_page": True, "rest_read_port": 0},
            "FANFARE_DEMO_PAGE has no effect",
            Status.WARN,
        ),
        (
            {"write_port": 7000, "read_port": 7000},
            "FANFARE_WRITE_PORT and FANFARE_READ_PORT are both 7000",
            Status.WARN,
        ),
        (
            {"grpc_server": GrpcServerKind.NATIVE},
            "pygrpc-native, which is not installed",
            Status.FAIL,
        ),
    ],
)
def test_settings_that_do_not_fit_together(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], text: str, status: Status
) -> None:
    """Each combination is told once, and the defaults fit."""
    monkeypatch.setattr(installation, "_installed", lambda _: None)
    monkeypatch.delenv("FANFARE_GRPC_SERVER", raising=False)
    assert setting_verdicts(Settings()) == []
    (verdict,) = setting_verdicts(Settings(**settings))  # type: ignore[arg-type]
    _warned(verdict, text, status)


def test_packages_that_are_missing_or_of_another_version() -> None:
    """An optional package may be missing; a lock may name versions for several Pythons."""
    lock = "a==1.0 \\\n    --hash=sha256:00\nb==2.0 ; python_version < '3.12' \\\nb==2.1\nc==3\n"
    locked = locked_versions(lock, "d==4\n")
    assert locked == {"a": {"1.0"}, "b": {"2.0", "2.1"}, "c": {"3"}, "d": {"4"}}
    assert package_verdicts(["a"], {"a": "1.0", "b": "2.0"}, locked) == []
    missing, other = package_verdicts(["a", "z"], {"a": "1.1", "b": "2.2"}, locked)
    _warned(missing, "not installed: z", Status.FAIL)
    _warned(other, "a 1.1 (tested with 1.0), b 2.2 (tested with 2.0 and 2.1)")
