"""How trouble in a process changes the health that the process reports."""

from __future__ import annotations

import asyncio
import logging

import pytest
from helpers.grpc_server import serving

from core.rpc import health
from core.rpc.health_probe import probe
from core.runtime.tasks import running

PART = "fanfare.part"


async def _until(target: str, name: str, *, serves: bool) -> None:
    async with asyncio.timeout(10):
        while (await asyncio.to_thread(probe, target, name) is None) != serves:
            pass


@pytest.mark.parametrize("part", ["", PART])
async def test_trouble_changes_the_health_until_it_is_gone(
    part: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason is logged once, and only the part in trouble is NOT_SERVING."""
    monkeypatch.setattr(health, "LOOK_SECONDS", 0.01)
    reasons: list[str | None] = [None]
    async with serving() as server:
        server.add_part(PART)
        await server.set_serving(serving=True, part=PART)
        target = f"127.0.0.1:{server.port}"
        with caplog.at_level(logging.INFO, logger="core.rpc.health"):
            reporting = health.report_health(server, lambda: None, lambda: reasons[0], part=part)
            async with running(reporting):
                await _until(target, part, serves=True)
                reasons[0] = "Redis is full"
                await _until(target, part, serves=False)
                await _until(target, "" if part else PART, serves=True)
                reasons[0] = None
                await _until(target, part, serves=True)
    name = part or "process"
    assert [record.getMessage() for record in caplog.records] == [
        f"NOT_SERVING: part={name} reason=Redis is full",
        f"SERVING again: part={name}",
    ]
