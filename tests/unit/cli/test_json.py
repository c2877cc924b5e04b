"""What queries print with --json: one document, and the same exit status as without it."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner

from cli import dlq, migrate, recover, status, verify, watch
from cli.main import cli
from ops.dead_letters import DeadLetter
from ops.errors import OpsError
from ops.recover import HistoryState
from ops.status import StatusRow
from ops.verify import Comparison, Verification
from ops.watch import ProcessRow, View

FINE = StatusRow("tweets", "1,234", values={"count": 1234})
WRONG = StatusRow("Redis", "does not \x1b[2J answer", is_wrong=True)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no command read settings."""
    for module in (dlq, migrate, recover, status, verify):
        monkeypatch.setattr(module, "load_instance_settings", lambda: None)


def _document(*arguments: str, exit_code: int = 0) -> Any:
    ended = CliRunner().invoke(cli, [*arguments, "--json"])
    assert ended.exit_code == exit_code, ended.output
    assert ended.stdout.isascii()
    assert "\x1b" not in ended.stdout
    return json.loads(ended.stdout)


@pytest.mark.parametrize("rows", [[FINE], [FINE, WRONG]], ids=["fine", "wrong"])
def test_status(monkeypatch: pytest.MonkeyPatch, rows: list[StatusRow]) -> None:
    """Each row with its numbers; what is not right is the exit status too."""
    monkeypatch.setattr(status, "read_status", lambda _: rows)
    found = _document("status", exit_code=len(rows) - 1)
    assert found["ok"] == (len(rows) == 1)
    assert found["rows"][0] == {
        "label": "tweets",
        "text": "1,234",
        "is_wrong": False,
        "values": {"count": 1234},
    }
    assert [row["text"] for row in found["rows"]] == [row.text for row in rows]
    shown = CliRunner().invoke(cli, ["status"]).stdout
    assert "1,234" in shown
    assert (r"\x1b[2J" in shown) == (len(rows) == 2)


def test_watched_status_is_a_line_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the screen shows, as numbers."""
    seen = View([ProcessRow("write", "", 60.0, *[None] * 9)], [FINE])

    class Watcher:
        def __init__(self, _: object) -> None: ...
        def start(self) -> None: ...
        def look(self) -> View:
            return seen

    ended = iter([False, False, True])
    monkeypatch.setattr(status, "Watcher", Watcher)
    monkeypatch.setattr(watch, "REFRESH_SECONDS", 0)
    monkeypatch.setattr(watch, "interrupt_on_signals", lambda: None)
    monkeypatch.setattr(watch, "output_has_ended", lambda: next(ended))
    printed = CliRunner().invoke(cli, ["status", "--watch", "--json"]).stdout
    first, second = map(json.loads, printed.splitlines())
    assert first["processes"] == second["processes"]
    assert first["processes"][0]["uptime_seconds"] == 60
    assert first["time"] <= second["time"]


@pytest.mark.parametrize("differing", [0, 1])
def test_verify(monkeypatch: pytest.MonkeyPatch, differing: int) -> None:
    """The seed, and each pass; a difference is exit status 1."""
    examples = ["user 1: \u202e"] * differing
    passes = [Comparison("cold", 10, 20, 30, differing, examples)]

    def found(_settings: object, _sample: int, _seed: object, console: Any) -> Verification:
        console.print("progress")
        return Verification(7, passes)

    monkeypatch.setattr(verify, "verify", found)
    assert _document("verify", exit_code=differing) == {
        "ok": not differing,
        "seed": 7,
        "comparisons": [
            {
                "name": "cold",
                "timelines": 10,
                "pages": 20,
                "tweets": 30,
                "differing": differing,
                "examples": examples,
            }
        ],
    }


def test_dead_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty list, or each with its whole place."""
    letter = DeadLetter(7, "t/1/2", "not read", datetime(2026, 1, 2, tzinfo=UTC), b"", [], False)
    monkeypatch.setattr(dlq, "list_dead_letters", lambda _: [letter])
    assert _document("dlq", "list") == {
        "dead_letters": [
            {
                "time": "2026-01-02T00:00:00+00:00",
                "is_replayed": False,
                "place": "t/1/2",
                "reason": "not read",
                "offset": 7,
            }
        ]
    }
    monkeypatch.setattr(dlq, "list_dead_letters", lambda _: [])
    assert _document("dlq", "list") == {"dead_letters": []}


def test_migrate(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done; nothing is an empty list."""
    monkeypatch.setattr(migrate, "migrate", lambda *_, **__: [])
    assert _document("migrate", "--dry-run") == {"dry_run": True, "done": []}


def test_recover(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found and done, also if Redis does not answer."""
    state = HistoryState("0123456789", True, 1.5, 3)
    monkeypatch.setattr(recover, "read_history_state", lambda _: state)
    counted = Counter({"aaaaaaaaaa": 1, "0123456789": 4})
    monkeypatch.setattr(recover, "count_keys", lambda _: counted)
    monkeypatch.setattr(recover, "begin_history", lambda _: "9876543210")
    monkeypatch.setattr(recover, "remove_other_keys", lambda *_: 5)
    found = {
        "history": "0123456789",
        "is_valid": True,
        "heartbeat_seconds": 1.5,
        "ended": 3,
    }
    keys = {"0123456789": 4, "aaaaaaaaaa": 1}
    assert _document("recover", "--dry-run") == {
        "dry_run": True,
        "found": found,
        "began": "",
        "keys": keys,
        "removed_keys": None,
    }
    assert _document("recover") == {
        "dry_run": False,
        "found": found,
        "began": "9876543210",
        "keys": keys,
        "removed_keys": 5,
    }

    def fail(_: object) -> None:
        raise OpsError("Redis does not answer")

    monkeypatch.setattr(recover, "count_keys", fail)
    assert _document("recover")["keys"] is None
