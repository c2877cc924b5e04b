"""Checks of the servers' settings when a process starts and while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from core.runtime.process import StartError
from core.storage import settings_monitor
from core.storage.settings_checks import SettingsUnknownError
from core.storage.settings_monitor import SettingsMonitor
from core.storage.settings_rules import Finding, Rule, Severity

ERROR = Finding(Severity.ERROR, Rule.POSTGRES_FSYNC, "fsync is off: set it on")
WARNING = Finding(Severity.WARNING, Rule.POSTGRES_AUTOVACUUM, "it is slow: make it fast")


class _Server:
    """A server whose settings the test changes."""

    def __init__(self, *findings: Finding, answers: bool = True) -> None:
        self.findings: Sequence[Finding] = findings
        self.answers = answers

    def __call__(self) -> Sequence[Finding]:
        if not self.answers:
            raise SettingsUnknownError
        return self.findings


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("CHECK_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(settings_monitor, name, 0.01)
    caplog.set_level(logging.INFO, logger="core.storage.settings_monitor")


async def _until_logged(caplog: pytest.LogCaptureFixture, *lines: str) -> None:
    async with asyncio.timeout(10):
        while [record.getMessage() for record in caplog.records] != list(lines):
            await asyncio.to_thread(lambda: None)


async def test_an_error_keeps_a_process_from_starting() -> None:
    """The process exits with the text of the error; a warning does not stop it."""
    checks = SettingsMonitor({"Redis": _Server(WARNING), "Postgres": _Server(WARNING, ERROR)})
    with pytest.raises(StartError, match=r"^fsync is off: set it on\.$"):
        await checks.start()
    await checks.stop()
    checks = SettingsMonitor({"Redis": _Server(WARNING)})
    await checks.start()
    assert checks.trouble() is None
    await checks.stop()


async def test_a_process_may_start_in_spite_of_an_error() -> None:
    """With refuse=False the error is reported, and start() does not raise."""
    checks = SettingsMonitor({"Redis": _Server(ERROR)})
    await checks.start(refuse=False)
    assert checks.trouble() == ERROR.text
    await checks.stop()


async def test_a_server_is_checked_when_it_first_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error is found when the server first answers, and stays until the setting is corrected."""
    server = _Server(ERROR, WARNING, answers=False)
    checks = SettingsMonitor({"Postgres": server, "Redis": _Server()})
    await checks.start()
    assert checks.trouble() is None
    server.answers = True
    logged = [f"server setting: {finding.text}" for finding in (ERROR, WARNING)]
    await _until_logged(caplog, *logged)
    assert checks.trouble() == checks.trouble("Postgres") == ERROR.text
    assert checks.trouble("Redis") is None
    server.answers = False
    await asyncio.sleep(0.05)
    assert checks.trouble() == ERROR.text
    server.findings, server.answers = [WARNING], True
    await _until_logged(caplog, *logged, f"server setting corrected: {ERROR.text}")
    assert checks.trouble() is None
    await checks.stop()


async def test_a_server_that_never_answers_does_not_delay_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """start() returns after START_SECONDS, and a result that comes later is used."""
    monkeypatch.setattr(settings_monitor, "START_SECONDS", 0.01)
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang() -> Sequence[Finding]:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(10)
        return [ERROR]

    checks = SettingsMonitor({"Kafka": hang})
    async with asyncio.timeout(10):
        await checks.start()
        assert checks.trouble() is None
        release.set()
        while checks.trouble() is None:
            await asyncio.to_thread(lambda: None)
        await checks.stop()


async def test_each_rule_about_a_process_servers_is_broken_or_not() -> None:
    """A note breaks no rule, and the rules of other servers are left out."""
    note = Finding(Severity.NOTE, Rule.REDIS_APPEND_ONLY, "it may be slow: look at it")
    away = _Server(answers=False)
    checks = SettingsMonitor({"Redis": _Server(note), "Postgres": _Server(WARNING, ERROR)})
    assert not checks.answers("Redis")
    await checks.start(refuse=False)
    broken = checks.broken_rules()
    assert {rule for rule, is_broken in broken.items() if is_broken} == {ERROR.rule, WARNING.rule}
    assert {rule.partition("_")[0] for rule in broken} == {"redis", "postgres"}
    assert checks.answers("Redis")
    await checks.stop()
    checks = SettingsMonitor({"Kafka": away})
    await checks.start()
    assert not checks.answers("Kafka")
    assert not any(checks.broken_rules().values())
    await checks.stop()
