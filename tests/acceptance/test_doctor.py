"""`fanfare doctor` on a running system, each part of which is damaged once."""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # theirs
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from helpers.fanfare import Fanfare
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from core.settings import Settings
from core.storage.retention import DAY_SECONDS
from ops import certificates
from ops.certificates import Authority
from ops.doctor import clocks
from ops.doctor.examination import examine
from ops.doctor.verdicts import Status
from ops.system import System

Damage = Callable[[Fanfare, Path, pytest.MonkeyPatch], AbstractContextManager[Settings]]
# Packages depend on the machine that the tests run on.
ELSEWHERE = {"packages", "disk", "open files"}
PROCESSES = {"write service", "read service", "fan-out worker"}


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system with everything there is to check."""
    with Fanfare(start_system(replica=True, auth=True)) as clients:
        yield clients


def _examined(settings: Settings) -> dict[str, list[tuple[Status, str]]]:
    """Return the status and the text of what each check has found."""
    found: dict[str, list[tuple[Status, str]]] = {}
    for result in examine(lambda: settings):
        if result.check not in ELSEWHERE:
            verdict = result.verdict
            assert bool(verdict.cure) == (verdict.status is not Status.OK), result
            found.setdefault(result.check, []).append((verdict.status, verdict.text))
    return found


def _wrong(settings: Settings) -> dict[str, list[tuple[Status, str]]]:
    return {
        check: wrong
        for check, found in _examined(settings).items()
        if (wrong := [each for each in found if each[0] is not Status.OK])
    }


def test_a_healthy_system_passes(own: Fanfare) -> None:
    """Every check has a line, the exit status is 0, and no password is printed."""
    password = str(conninfo_to_dict(own.settings.primary_dsn())["password"])
    lines, printed = own.command("doctor"), own.command("doctor", "--json")
    assert (lines.returncode, printed.returncode) == (0, 0), lines.stdout
    results = json.loads(printed.stdout)["checks"]
    assert len(results) == len(lines.stdout.splitlines())
    wrong = [each for each in results if each["status"] != "ok" and each["check"] not in ELSEWHERE]
    assert wrong == []
    assert password not in lines.stdout + printed.stdout


@contextmanager
def _evicting(own: Fanfare, *_: object) -> Iterator[Settings]:
    own.redis.config_set("maxmemory-policy", "allkeys-lru")
    yield own.settings
    own.redis.config_set("maxmemory-policy", "volatile-lru")


@contextmanager
def _refusing_writes(own: Fanfare, *_: object) -> Iterator[Settings]:
    limit = own.redis.config_get("maxmemory")["maxmemory"] or 0
    own.redis.config_set("maxmemory-policy", "noeviction")
    own.redis.config_set("maxmemory", "1gb")
    yield own.settings
    own.redis.config_set("maxmemory-policy", "volatile-lru")
    own.redis.config_set("maxmemory", limit)


@contextmanager
def _acknowledging_early(own: Fanfare, *_: object) -> Iterator[Settings]:
    own.sql("ALTER ROLE fanfare SET synchronous_commit = off")
    yield own.settings
    own.sql("ALTER ROLE fanfare RESET synchronous_commit")


@contextmanager
def _without_a_migration(own: Fanfare, *_: object) -> Iterator[Settings]:
    ((last,),) = own.sql("SELECT max(name) FROM schema_migrations")
    own.sql("DELETE FROM schema_migrations WHERE name = %s", last)
    yield own.settings
    own.sql("INSERT INTO schema_migrations (name) VALUES (%s)", last)


@contextmanager
def _of_a_newer_version(own: Fanfare, *_: object) -> Iterator[Settings]:
    own.sql("INSERT INTO schema_migrations (name) VALUES ('9999_later.sql')")
    yield own.settings
    own.sql("DELETE FROM schema_migrations WHERE name = '9999_later.sql'")


def _set_topic(own: Fanfare, name: str, value: str) -> None:
    admin = AdminClient({"bootstrap.servers": own.settings.kafka_address(), "log_level": 0})
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ResourceType.TOPIC, own.settings.topic, incremental_configs=[entry])
    for done in admin.incremental_alter_configs([topic]).values():
        done.result(10)


@contextmanager
def _electing_uncleanly(own: Fanfare, *_: object) -> Iterator[Settings]:
    _set_topic(own, "unclean.leader.election.enable", "true")
    yield own.settings
    _set_topic(own, "unclean.leader.election.enable", "false")


@contextmanager
def _keeping_for_long(own: Fanfare, *_: object) -> Iterator[Settings]:
    days = own.settings.retention_days * 2
    _set_topic(own, "retention.ms", str(int(days * DAY_SECONDS * 1000)))
    yield own.settings
    _set_topic(own, "retention.ms", str(DAY_SECONDS * 1000))


@contextmanager
def _paused_replica(own: Fanfare, *_: object) -> Iterator[Settings]:
    with psycopg.connect(own.settings.replica_dsn(), autocommit=True) as replica:
        replica.execute("SELECT pg_wal_replay_pause()")
        own.sql("SELECT pg_logical_emit_message(true, 'test', 'to be replayed')")
        yield own.settings.model_copy(update={"max_replica_lag": 0.1})
        replica.execute("SELECT pg_wal_replay_resume()")


@contextmanager
def _certificates(
    own: Fanfare, folder: Path, patch: pytest.MonkeyPatch, validity: timedelta
) -> Iterator[Settings]:
    patch.setattr(certificates, "VALIDITY", validity)
    Authority().issue(folder, "fanfare")
    yield own.settings.model_copy(update={"tls_dir": folder})


def _short_certificate(
    own: Fanfare, folder: Path, patch: pytest.MonkeyPatch
) -> AbstractContextManager[Settings]:
    return _certificates(own, folder, patch, timedelta(days=3))


@contextmanager
def _without_backups(own: Fanfare, folder: Path, _: pytest.MonkeyPatch) -> Iterator[Settings]:
    yield own.settings.model_copy(update={"backup_dir": folder})


def _expired_certificate(
    own: Fanfare, folder: Path, patch: pytest.MonkeyPatch
) -> AbstractContextManager[Settings]:
    return _certificates(own, folder, patch, timedelta(minutes=-1))


@contextmanager
def _exposed_key(own: Fanfare, folder: Path, _: pytest.MonkeyPatch) -> Iterator[Settings]:
    tls_dir = own.settings.tls_dir
    assert tls_dir is not None
    shutil.copytree(tls_dir, folder, dirs_exist_ok=True)
    (folder / "tls.key").chmod(0o644)
    yield own.settings.model_copy(update={"tls_dir": folder})


@contextmanager
def _exposed_signing_key(own: Fanfare, folder: Path, _: pytest.MonkeyPatch) -> Iterator[Settings]:
    auth_keys = own.settings.auth_keys
    assert auth_keys is not None
    shutil.copytree(auth_keys, folder, dirs_exist_ok=True)
    for key in folder.glob("*.private.pem"):
        key.chmod(0o644)
    yield own.settings.model_copy(update={"auth_keys": folder})


@contextmanager
def _taken_port(own: Fanfare, *_: object) -> Iterator[Settings]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield own.settings.model_copy(update={"worker_port": other.getsockname()[1]})


@contextmanager
def _wrong_clock(own: Fanfare, _: Path, patch: pytest.MonkeyPatch) -> Iterator[Settings]:
    patch.setattr(clocks, "time", SimpleNamespace(time=lambda: time.time() + 60))
    yield own.settings


@contextmanager
def _without_postgres(own: Fanfare, *_: object) -> Iterator[Settings]:
    closed = SecretStr("postgresql://fanfare:hunter2@127.0.0.1:1/fanfare")
    yield own.settings.model_copy(update={"postgres_dsn": closed})


@contextmanager
def _without_redis(own: Fanfare, *_: object) -> Iterator[Settings]:
    closed = SecretStr("redis://:hunter2@127.0.0.1:1/0")
    yield own.settings.model_copy(update={"redis_url": closed})


@contextmanager
def _without_kafka(own: Fanfare, *_: object) -> Iterator[Settings]:
    yield own.settings.model_copy(update={"kafka_bootstrap_servers": SecretStr("127.0.0.1:1")})


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (_evicting, {"Redis settings": (Status.FAIL, "maxmemory-policy is allkeys-lru")}),
        (_refusing_writes, {"Redis settings": (Status.WARN, "maxmemory-policy is noeviction")}),
        (_acknowledging_early, {"Postgres settings": (Status.FAIL, "synchronous_commit is off")}),
        (_without_a_migration, {"Postgres schema": (Status.FAIL, "lacks the migration")}),
        (_of_a_newer_version, {"Postgres schema": (Status.FAIL, "9999_later.sql is not known")}),
        (_electing_uncleanly, {"Kafka topics": (Status.FAIL, "unclean.leader.election.enable")}),
        (_keeping_for_long, {"Kafka topics": (Status.WARN, "keeps records for up to")}),
        (_paused_replica, {"replica": (Status.FAIL, "bytes behind, more than 0.1 s")}),
        (_short_certificate, {"TLS certificate": (Status.WARN, "tls.crt expires in 3.0 days")}),
        (_expired_certificate, {"TLS certificate": (Status.FAIL, "tls.crt has expired on")}),
        (_without_backups, {"backup": (Status.FAIL, "no complete backup in")}),
        (_exposed_key, {"TLS certificate": (Status.FAIL, "tls.key has mode 0644")}),
        (_exposed_signing_key, {"signing keys": (Status.FAIL, "has mode 0644")}),
        (_taken_port, {"fan-out worker": (Status.FAIL, "listens on the port")}),
        (
            _wrong_clock,
            {
                "Postgres clock": (Status.FAIL, "s behind this machine's"),
                "Redis clock": (Status.FAIL, "s behind this machine's"),
            },
        ),
        (_without_postgres, {"Postgres": (Status.FAIL, "Postgres does not answer")}),
        (_without_redis, {"Redis": (Status.FAIL, "Redis does not answer")}),
        (_without_kafka, {"Kafka": (Status.FAIL, "Kafka does not answer")}),
    ],
    ids=lambda value: getattr(value, "__name__", "").lstrip("_") or "",
)
def test_each_damage_is_found_and_nothing_else(
    own: Fanfare,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Damage,
    found: dict[str, tuple[Status, str]],
) -> None:
    """The check that is meant for it says so, and the others pass as before.

    The processes may notice the damage too, and be NOT_SERVING.
    """
    with damage(own, tmp_path / "damaged", monkeypatch) as settings:
        wrong = _wrong(settings)
    assert wrong.keys() - PROCESSES == found.keys() - PROCESSES, wrong
    for check, (status, text) in found.items():
        assert wrong[check][0][0] is status
        assert text in wrong[check][0][1]
    assert "hunter2" not in str(wrong)


def test_a_damaged_system_has_exit_status_1(own: Fanfare) -> None:
    """The failed check is named on stderr, with its cure on stdout."""
    with _evicting(own):
        done = own.command("doctor")
    assert done.returncode == 1
    assert re.fullmatch(r"Failed: (.*, )?Redis settings\.\n", done.stderr)
    assert "; set maxmemory-policy volatile-lru" in done.stdout
