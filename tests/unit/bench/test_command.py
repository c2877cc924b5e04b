"""Errors that `fanfare bench` reports before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.tools import PACKAGES, describe_missing_tools
from cli.main import cli


def test_missing_data_are_named(tmp_path: Path) -> None:
    """If the graph is missing, one sentence names the folder and the option to set it."""
    result = CliRunner().invoke(cli, ["bench", "--quick", "--data", str(tmp_path / "none"), "idle"])
    assert result.exit_code == 1
    assert "--data" in result.output
    assert str(tmp_path / "none") in result.output


def test_an_unknown_benchmark_is_refused() -> None:
    """The error lists the names that exist."""
    result = CliRunner().invoke(cli, ["bench", "nonsense"])
    assert result.exit_code == 2
    assert "read-throughput" in result.output


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message about a missing load generator says how to install it."""
    monkeypatch.setenv("PATH", "")
    phrase = describe_missing_tools(["wrk"])
    assert "wrk" in phrase
    assert PACKAGES["wrk"] in phrase
    assert not describe_missing_tools([])
