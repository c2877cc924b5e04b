"""What the lines of the log look like, and what their events are called."""

from __future__ import annotations

import ast
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.fakes.tracing import TRACE_ID, FakeTracer

from core.runtime.log_fields import Fields
from core.runtime.logs import JsonFormatter, TextFormatter, event_template
from core.runtime.tracing import CURRENT, Kind

ROOT = Path(__file__).parents[4]
PACKAGES = ("core", "write_service", "read_service", "fanout_worker", "gateway")
# Of the table with four columns.
EVENT = re.compile(r"^\| `([a-z0-9_]+)` \| ([^|]*) \| [a-z, ]+ \| [a-z, ]+ \|$", re.MULTILINE)
FIELD = re.compile("`([a-z0-9_]+)`")


def _record(name: str, format_string: str, *args: object) -> logging.LogRecord:
    return logging.getLogger(name).makeRecord(
        name, logging.WARNING, "file.py", 1, format_string, args, None
    )


def _json(record: logging.LogRecord) -> dict[str, object]:
    line = JsonFormatter().format(record)
    assert "\n" not in line
    parsed: dict[str, object] = json.loads(line)
    return parsed


@pytest.mark.parametrize(
    ("format_string", "event", "keys"),
    [
        ("relay started: history=%s epoch=%d", "relay_started", ["history", "epoch"]),
        ("serving gRPC port=%d", "serving_grpc", ["port"]),
        ("relay failed; restarting: error=%s", "relay_failed", ["error"]),
        ("cannot read key folder, keeping its keys: error=%r", "cannot_read_key_folder", ["error"]),
        ("cannot load from %s; keeping error=%s", "cannot_load_from", [None, "error"]),
        ("100%% full: lag_seconds=%.1f", "100_full", ["lag_seconds"]),
        ("server setting: %s", "server_setting", [None]),
    ],
)
def test_the_name_of_an_event(format_string: str, event: str, keys: list[str | None]) -> None:
    """It is the text before the first sign or field, whatever the values are."""
    assert event_template(format_string) == (event, tuple(keys))


def test_a_json_line() -> None:
    """Numbers are numbers, and all other values are texts, on one line."""
    path = Path("/a b")
    line = _json(_record("core.rpc", "it failed: path=%s n=%d x=%.1f", path, 3, 0.25))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line.pop("time")))
    assert line == {
        "level": "WARNING",
        "logger": "core.rpc",
        "event": "it_failed",
        "message": "it failed: path=/a b n=3 x=0.2",
        "path": "/a b",
        "n": 3,
        "x": 0.25,
    }


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_the_trace_id_of_a_traced_call(formatter: logging.Formatter) -> None:
    """Lines of other calls have none."""
    record = _record("core.rpc", "it failed: error=%s", "x")
    assert "trace_id" not in formatter.format(record)
    token = CURRENT.set(FakeTracer().begin("call", Kind.SERVER, None, {}))
    try:
        line = formatter.format(record)
    finally:
        CURRENT.reset(token)
    assert line.endswith((f" trace_id={TRACE_ID}", f'"trace_id": "{TRACE_ID}"}}'))


def test_fields_whose_names_are_data() -> None:
    """In JSON each is a field; as text, values with spaces are in quotes."""
    record = _record("core.rpc", "it starts: version=%s %s", "1", Fields(a=1, b='x "y"'))
    assert record.getMessage() == 'it starts: version=1 a=1 b="x \\"y\\""'
    line = _json(record)
    assert (line["version"], line["a"], line["b"]) == ("1", 1, 'x "y"')
    only = _record("core.rpc", "metrics: %s", Fields(batch_cut=2))
    assert only.getMessage() == "metrics: batch_cut=2"
    assert _json(only)["batch_cut"] == 2


def test_a_failure_in_json() -> None:
    """The traceback is a field."""
    record = _record("gateway.server", "request failed verb=%s", "GET")
    record.exc_info = (ValueError, ValueError("x"), None)
    assert str(_json(record)["exception"]).endswith("ValueError: x")


def test_lines_of_libraries_have_one_event() -> None:
    """Their texts may change with any version, and may have any form."""
    line = _json(_record("librdkafka", "FAIL: %s", "broker down"))
    assert (line["event"], line["message"]) == ("library_message", "FAIL: broker down")


def _logged() -> Iterator[tuple[str, list[str], str]]:
    """Yield the name of each event that the processes log, its fields, and where."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Call(
                        func=ast.Attribute(value=ast.Name(id="LOG"), attr=level), args=[*arguments]
                    ):
                        text = arguments[level == "log"]
                        place = f"{path.relative_to(ROOT)}:{node.lineno}"
                        assert isinstance(text, ast.Constant), f"{place}: not a constant"
                        event, keys = event_template(str(text.value))
                        assert event, f"{place}: no words before the first field"
                        yield event, [key for key in keys if key], place


def test_the_events_are_documented() -> None:
    """A changed name or field is a change for those who search for it: docs/log-events.md.

    The table has those that are logged with LOG. The access log has a section of its own.
    """
    page = (ROOT / "docs/log-events.md").read_text()
    listed = {event: set(FIELD.findall(fields)) for event, fields in EVENT.findall(page)}
    assert list(listed) == sorted(listed), "the table is in order"
    logged: dict[str, set[str]] = {}
    for event, keys, _ in _logged():
        logged.setdefault(event, set()).update(keys)
    assert listed == logged
