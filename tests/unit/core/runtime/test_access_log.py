"""The lines of the access log."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from core.runtime import access_log
from core.runtime.access_log import AccessLog, CallRecord
from core.settings import LogFormat

CALL = CallRecord("rest", "GET /users/{user_id}", "404", "USER_NOT_FOUND", 0.0015, "user", 0, "0a")
OTHER = CallRecord("grpc", "fanfare.x/Y", "OK", "", 0.1, "unknown", None, None)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is written, which happens at once."""
    monkeypatch.setattr(access_log, "FLUSH_SECONDS", 0)
    return []


async def test_lines_are_written_together(written: list[str]) -> None:
    """Each has the form of the other lines of the log."""
    log = AccessLog(LogFormat.TEXT, written.append, lambda: 1.25)
    log.add(CALL)
    log.add(OTHER)
    assert written == []
    await asyncio.sleep(0.001)
    (both,) = written
    first, second = both.splitlines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,250 INFO access: call: transport=rest"
        r' name="GET /users/\{user_id\}" code=404 reason=USER_NOT_FOUND ms=1\.500 caller=user'
        " request_bytes=0 trace_id=0a",
        first,
    )
    assert second.endswith("reason=- ms=100.000 caller=unknown request_bytes=- trace_id=-")
    log.flush()
    assert len(written) == 1


async def test_lines_in_json(written: list[str]) -> None:
    """What is not known is null."""
    log = AccessLog(LogFormat.JSON, written.append, lambda: 1.25)
    log.add(CALL)
    log.add(OTHER)
    log.flush()
    first, second = map(json.loads, "".join(written).splitlines())
    head = {"time": "1970-01-01T00:00:01.250Z", "level": "INFO", "logger": "access"}
    assert first == head | {
        "event": "call",
        "transport": "rest",
        "name": "GET /users/{user_id}",
        "code": "404",
        "reason": "USER_NOT_FOUND",
        "ms": 1.5,
        "caller": "user",
        "request_bytes": 0,
        "trace_id": "0a",
    }
    assert (second["reason"], second["request_bytes"], second["trace_id"]) == (None, None, None)


async def test_many_lines_are_written_in_pieces(written: list[str]) -> None:
    """A pipe that several processes write to would mix longer ones."""
    log = AccessLog(LogFormat.TEXT, written.append, lambda: 1.25)
    for _ in range(100):
        log.add(CALL)
    log.flush()
    assert len(written) > 2
    assert all(len(piece) <= access_log.MAX_WRITE_BYTES for piece in written)
    assert all(piece.endswith("\n") for piece in written)
    assert "".join(written).count("\n") == 100


async def test_a_line_that_cannot_be_written_fails_nothing() -> None:
    """Not even the end of the process, which writes the last lines."""

    def write(_lines: str) -> None:
        raise BrokenPipeError

    log = AccessLog(LogFormat.TEXT, write)
    log.add(CALL)
    log.flush()
