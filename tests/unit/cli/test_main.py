"""The command line: its commands, and how it reports failures."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import admin
from cli.main import COMMANDS, cli
from ops.errors import OpsError

HELP_COLUMNS = 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_text(name: str) -> None:
    """The help of a command is its whole docstring, and its usage line has the command's name."""
    shown = CliRunner().invoke(cli, [name, "--help"])
    assert shown.exit_code == 0
    assert f" {name} " in shown.output.splitlines()[0]


def test_the_list_of_commands_cuts_no_sentence_off() -> None:
    """The first sentence of each command's help fits into the list of commands."""
    shown = CliRunner().invoke(cli, ["--help"], terminal_width=HELP_COLUMNS)
    for name in COMMANDS:
        (line,) = [line for line in shown.output.splitlines() if line.split()[:1] == [name]]
        assert line.endswith("."), line
        assert not line.endswith("..."), line


def test_a_missing_setting_is_reported_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command without the address of Postgres exits with status 1 and names the setting."""
    monkeypatch.delenv("FANFARE_POSTGRES_DSN", raising=False)
    monkeypatch.setenv("FANFARE_STATE_DIR", str(tmp_path))
    failed = CliRunner().invoke(cli, ["admin", "bob"])
    assert failed.exit_code == 1
    assert failed.output.startswith("Error: FANFARE_POSTGRES_DSN is not set")


def test_a_failure_of_ops_is_reported_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """An OpsError is printed as one sentence, and the exit status is 1."""

    def fail(*_: object, **__: object) -> None:
        raise OpsError("there is no user bob")

    monkeypatch.setattr(admin, "set_administrator", fail)
    failed = CliRunner().invoke(cli, ["admin", "bob"])
    assert (failed.exit_code, failed.output) == (1, "Error: there is no user bob\n")
