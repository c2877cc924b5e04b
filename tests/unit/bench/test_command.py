"""`fanfare bench`, as far as it tells before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.tools import PACKAGES, missing
from cli.bench import command


def test_absent_data_are_named(tmp_path: Path) -> None:
    """Without the graph there is one sentence that says which option names it."""
    result = CliRunner().invoke(command, ["--quick", "--data", str(tmp_path / "none"), "idle"])
    assert result.exit_code == 1
    assert "--data" in result.output
    assert str(tmp_path / "none") in result.output


def test_unknown_row_is_refused() -> None:
    """A name that is no row's is answered with those that are."""
    result = CliRunner().invoke(command, ["nonsense"])
    assert result.exit_code == 2
    assert "read-throughput" in result.output


def test_absent_generator_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lacks a load generator is told what brings it."""
    monkeypatch.setenv("PATH", "")
    phrase = missing(["wrk"])
    assert "wrk" in phrase
    assert PACKAGES["wrk"] in phrase
    assert not missing([])
