"""The command line: its commands, and how it reports failures."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli import admin, dlq
from cli.main import COMMANDS, cli
from ops.dead_letters import DeadLetter
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


@pytest.mark.parametrize("name", COMMANDS)
def test_h_is_short_for_help_everywhere(name: str) -> None:
    """`-h` and `--help` show the same."""
    short, long = (CliRunner().invoke(cli, [name, option]) for option in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.output == long.output


def test_the_version_is_that_of_the_package() -> None:
    """It is the one that pyproject.toml gives."""
    shown = CliRunner().invoke(cli, ["--version"], prog_name="fanfare")
    assert (shown.exit_code, shown.output) == (0, f"fanfare {version('fanfare')}\n")


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["stauts"], "status"),
        (["lod"], "load"),
        (["dlq", "lst"], "list"),
        (["status", "--hep"], "--help"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest(arguments: list[str], near: str) -> None:
    """It is an error of usage, so the exit status is 2."""
    failed = CliRunner().invoke(cli, arguments)
    assert failed.exit_code == 2
    assert f"Did you mean '{near}'?" in failed.output
    nothing = CliRunner().invoke(cli, ["zzzzzz"])
    assert (nothing.exit_code, "Did you mean" in nothing.output) == (2, False)


def _numeric_options() -> Iterator[tuple[list[str], str]]:
    """Yield the words of each command that has an option with a number, and the option."""
    context = click.Context(cli)
    for name in COMMANDS:
        found = cli.get_command(context, name)
        commands = [([name], found)]
        if isinstance(found, click.Group):
            commands = [([name, word], command) for word, command in found.commands.items()]
        for words, command in commands:
            assert command is not None
            for option in command.params:
                is_number = isinstance(
                    option.type, click.types.IntParamType | click.types.FloatParamType
                )
                if is_number and isinstance(option, click.Option):
                    yield words, option.opts[0]


@pytest.mark.parametrize(("words", "option"), list(_numeric_options()))
def test_odd_numbers_are_errors_of_usage(words: list[str], option: str) -> None:
    """No number that a command cannot use reaches a server."""
    odd = ["nan", "NaN", "inf", "-inf", "1e999", "x", "", "1 2", "9" * 5000]
    if option != "--seed":
        odd += ["0", "-1", "9" * 30]
    for value in odd:
        if (option, value) == ("--sample", "9" * 30):
            continue  # a sample of everybody
        failed = CliRunner().invoke(cli, [*words, option, value])
        assert failed.exit_code == 2, (value, failed.output)
        assert f"Invalid value for '{option}'" in failed.output


def test_an_interrupt_has_a_status_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C shows no traceback in any command."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(admin, "set_administrator", interrupt)
    ended = CliRunner().invoke(cli, ["admin", "bob"])
    assert (ended.exit_code, ended.output) == (130, "Interrupted.\n")


def test_a_dead_letter_is_listed_with_its_whole_place() -> None:
    """`--place` needs it, however narrow the terminal is; a reason cannot change the terminal."""
    place = f"{'topic.' * 30}/11/1234567890"
    letter = DeadLetter(
        7, place, "not \x1b[2J read", datetime(2026, 1, 2, tzinfo=UTC), b"", [], False
    )
    head, row = dlq.format_letters([letter]).splitlines()
    assert row == f"2026-01-02 00:00:00  waiting  {place}  not \\x1b[2J read"
    assert head.index("place") == row.index(place)
