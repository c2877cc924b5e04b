"""How `fanfare status --watch` looks in terminals of any width, with and without colours."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from cli.main import cli
from cli.watch import COLUMNS, line, screen
from ops.status import StatusRow
from ops.watch import ProcessRow, View

FINE = ProcessRow("write", "", 60.0, 812.0, 0.0, 0.001, 0.012, 3.0, 10.0, 0.0, 0.5, 1e8)
DOWN = ProcessRow("worker", "127.0.0.1:9102 does not answer: Connection refused", *[None] * 10)
VIEW = View(
    [FINE, DOWN],
    [
        StatusRow("lag", "7 events, the oldest for 2 s"),
        StatusRow("outbox", "12 unsent, the oldest for \x1b[2J 60 s", is_wrong=True),
    ],
)


def _rendered(width: int, **options: object) -> str:
    output = io.StringIO()
    console = Console(file=output, width=width, **options)  # type: ignore[arg-type]
    console.print(screen(VIEW, width, "12:00:00"))
    return output.getvalue()


@pytest.mark.parametrize("width", [1, 10, 20, 40, 60, 80, 100, 200])
def test_it_fits_into_any_terminal(width: int) -> None:
    """No line is longer than the terminal is wide."""
    assert max(map(len, _rendered(width).splitlines())) <= width


def test_a_wide_terminal_shows_every_column() -> None:
    """A narrow one shows those that matter most, and loses no other text."""
    wide, narrow = _rendered(120), _rendered(44)
    for _, name, _ in COLUMNS:
        assert name in wide
    assert "memory" not in narrow
    words = " ".join(narrow.split())
    for text in (
        "write 60 s 812 12 ms",
        "worker DOWN - -",
        "lag 7 events, the oldest for 2 s",
        "refused",
    ):
        assert text in words, narrow


def test_what_is_not_right_comes_first_and_is_marked() -> None:
    """It is red where there are colours, and marked in any case; nothing else has colours."""
    plain = _rendered(120)
    assert re.findall(r"^! (\w+)", plain, re.MULTILINE) == ["worker", "outbox"]
    assert plain.index("! outbox") < plain.index("lag")
    coloured = _rendered(120, force_terminal=True, color_system="standard")
    assert coloured.count("\x1b[31m") >= 2
    assert "\x1b[2J" not in coloured  # which would clear the terminal


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR turns off colours and nothing else: https://no-color.org."""
    monkeypatch.setenv("NO_COLOR", "1")
    uncoloured = _rendered(120, force_terminal=True, color_system="standard")
    assert not re.search(r"\x1b\[[\d;]*3\d", uncoloured)
    assert "! outbox" in uncoloured


def test_the_line_for_a_file_has_everything() -> None:
    """One line, whatever is in the texts."""
    assert line(VIEW, "12:00:00") == (
        "12:00:00 | write: 812 calls/s, 0 failed/s, p99 12 ms | worker: DOWN"
        " | ! worker: 127.0.0.1:9102 does not answer: Connection refused"
        " | ! outbox: 12 unsent, the oldest for \\x1b[2J 60 s | lag: 7 events, the oldest for 2 s"
    )


def test_without_metrics_there_is_nothing_to_watch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error says which setting to set."""
    monkeypatch.setenv("FANFARE_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("FANFARE_METRICS_PORT", raising=False)
    failed = CliRunner().invoke(cli, ["status", "--watch"])
    assert failed.exit_code == 1
    assert failed.output.startswith("Error: FANFARE_METRICS_PORT is 0, so there are no metrics")
