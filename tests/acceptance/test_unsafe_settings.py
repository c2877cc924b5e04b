"""Unsafe settings of servers: refused at the start of a process, logged while it runs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # theirs
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from helpers.fanfare import Fanfare
from helpers.waiting import wait_until

from core.rpc.health_probe import probe
from core.storage.settings_checks import postgres_check, redis_check, topic_check
from core.storage.settings_monitor import CHECK_SECONDS
from core.storage.settings_rules import Finding, Severity
from ops.system import System
from write_service.relay import HEALTH_NAME

NOTICED_SECONDS = CHECK_SECONDS + 30

Broken = Callable[[Fanfare], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system whose servers these tests misconfigure."""
    with Fanfare(start_system()) as clients:
        yield clients


@contextmanager
def _evicting(own: Fanfare) -> Iterator[None]:
    own.redis.config_set("maxmemory-policy", "allkeys-lru")
    yield
    own.redis.config_set("maxmemory-policy", "volatile-lru")


@contextmanager
def _acknowledging_early(own: Fanfare) -> Iterator[None]:
    # Set for the role, so that every new connection of Fanfare has it.
    own.sql("ALTER ROLE fanfare SET synchronous_commit = off")
    yield
    own.sql("ALTER ROLE fanfare RESET synchronous_commit")


@contextmanager
def _without_full_pages(own: Fanfare) -> Iterator[None]:
    own.sql("ALTER SYSTEM SET full_page_writes = off")
    own.sql("SELECT pg_reload_conf()")
    yield
    own.sql("ALTER SYSTEM RESET full_page_writes")
    own.sql("SELECT pg_reload_conf()")


@contextmanager
def _electing_uncleanly(own: Fanfare) -> Iterator[None]:
    admin = AdminClient({"bootstrap.servers": own.settings.kafka_address(), "log_level": 0})
    for value in ("true", "false"):
        entry = ConfigEntry(
            "unclean.leader.election.enable", value, incremental_operation=AlterConfigOpType.SET
        )
        topic = ConfigResource(ResourceType.TOPIC, own.settings.topic, incremental_configs=[entry])
        for done in admin.incremental_alter_configs([topic]).values():
            done.result(10)
        if value == "true":
            yield


REDIS_AND_KAFKA: dict[str, Broken] = {
    "maxmemory-policy": _evicting,
    "unclean.leader.election.enable": _electing_uncleanly,
}
POSTGRES: dict[str, Broken] = {
    "synchronous_commit": _acknowledging_early,
    "full_page_writes": _without_full_pages,
}


def _findings(own: Fanfare) -> list[Finding]:
    checks = (postgres_check, redis_check, topic_check)
    return [finding for check in checks for finding in check(own.settings)()]


def _serves(own: Fanfare) -> dict[str, bool]:
    settings = own.settings
    write = settings.write_service_target()
    return {
        "write": probe(write) is None,
        "relay": probe(write, HEALTH_NAME) is None,
        "read": probe(settings.read_service_target()) is None,
        "worker": probe(f"127.0.0.1:{settings.worker_port}") is None,
    }


def _refusal(own: Fanfare, package: str) -> str:
    """Start a process that must refuse to start; return the last line of its output."""
    ports = {"FANFARE_WORKER_PORT": "0", "FANFARE_WRITE_PORT": "0"}
    ended = subprocess.run(
        [sys.executable, "-m", package],
        env=own.system._environment | ports,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    return ended.stderr.splitlines()[-1]


def _spoil(own: Fanfare, stack: ExitStack, broken: dict[str, Broken]) -> None:
    for spoil in broken.values():
        stack.enter_context(spoil(own))


def _check_refused(own: Fanfare, broken: dict[str, Broken]) -> None:
    """Check that exactly these settings are found, and that no process starts that needs them."""
    wait_until(lambda: len(_findings(own)) == len(broken), "all are found, and nothing else")
    findings = _findings(own)
    for word in broken:
        (found,) = [finding for finding in findings if word in finding.text]
        assert found.severity is Severity.ERROR
    sentences = {f"fanfare: {finding.text}." for finding in findings}
    for package in ("fanout_worker", "write_service"):
        assert _refusal(own, package) in sentences


def _wait_troubled(own: Fanfare, troubled: set[str]) -> None:
    wait_until(
        lambda: {name for name, serves in _serves(own).items() if not serves} == troubled,
        f"{troubled} do not serve, and all others do",
        NOTICED_SECONDS,
    )


def _wait_corrected(own: Fanfare, broken: dict[str, Broken]) -> None:
    """Wait until both processes have logged the correction of each setting that they had logged."""

    def are_corrected() -> bool:
        logs = [_log(own, "worker"), _log(own, "write")]
        return all(
            log.count(f"server setting: {word} ") == log.count(f"server setting corrected: {word} ")
            for log in logs
            for word in broken
        )

    wait_until(are_corrected, "all settings are corrected", NOTICED_SECONDS)


def _log(own: Fanfare, process: str) -> str:
    return (own.settings.state_dir / "logs" / f"{process}.log").read_text()


def test_the_embedded_servers_have_good_settings(own: Fanfare) -> None:
    """The checks of the embedded servers find nothing."""
    assert _findings(own) == []


def test_an_unsafe_setting_is_refused_at_start_and_logged_while_running(own: Fanfare) -> None:
    """Processes that need a misconfigured server are NOT_SERVING until the setting is corrected.

    Postgres is misconfigured before the others are corrected, because a process that has found an
    unsafe setting checks all its servers more often.
    """
    assert all(_serves(own).values())
    with ExitStack() as second:
        with ExitStack() as first:
            _spoil(own, first, REDIS_AND_KAFKA)
            _check_refused(own, REDIS_AND_KAFKA)
            _wait_troubled(own, {"worker", "relay"})
            _spoil(own, second, POSTGRES)
            _wait_troubled(own, {"worker", "relay", "write"})
        _wait_corrected(own, REDIS_AND_KAFKA)
        # By Postgres alone.
        _check_refused(own, POSTGRES)
        _wait_troubled(own, {"worker", "relay", "write"})
    wait_until(lambda: all(_serves(own).values()), "all serve again", NOTICED_SECONDS)
    _wait_corrected(own, POSTGRES)
    for word in REDIS_AND_KAFKA | POSTGRES:
        # Logged once, although the settings are checked again and again.
        assert len(re.findall(rf"server setting: {word} ", _log(own, "worker"))) == 1


def test_the_read_service_only_logs_an_unsafe_setting_of_redis(own: Fanfare) -> None:
    """The read service serves all the same, since Postgres can answer every read."""
    with _evicting(own):
        second, target = own.system.another_read_service(1)
        assert probe(target) is None
        second.stop()
    assert "server setting: maxmemory-policy is allkeys-lru" in second.log_path.read_text()
