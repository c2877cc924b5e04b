"""docs/runbook.md against the alerts, the commands and the metrics that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from helpers.known_metrics import series_names
from helpers.rules import alerts

from cli.main import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "runbook.md").read_text()
ENTRIES = dict(re.findall(r"^## (Fanfare\w+)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
PARTS = ["Meaning", "Confirm", "Do", "Do not"]
# In backticks, or on a line of a block of commands.
COMMAND = re.compile(r"(?:`|^ {4})(fanfare [^`\n]*?)(?:`| *#|\n)", re.MULTILINE)
METRIC = re.compile(r"\b(?:fanfare_|grpc_server_|http_server_)\w+")


def test_every_alert_has_an_entry_and_every_entry_an_alert() -> None:
    """In both directions; and no entry is there twice."""
    assert set(ENTRIES) == set(alerts())
    assert TEXT.count("\n## ") == len(ENTRIES)


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_has_all_parts(name: str) -> None:
    """What the alert means, how to confirm it, what to do and what not to do, in this order."""
    found = re.findall(r"^\*\*([\w ]+)\.\*\* \S", ENTRIES[name], re.MULTILINE)
    assert found == PARTS


@pytest.mark.parametrize("line", sorted(set(COMMAND.findall(TEXT))))
def test_every_command_exists(line: str) -> None:
    """Its subcommands and its options do."""
    # What is between < and > or in capitals stands for something.
    words = shlex.split(line)[1:]
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        assert words, line
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_commands_are_found() -> None:
    """The test above looks at what it should."""
    named = {line.split()[1] for line in COMMAND.findall(TEXT)}
    assert {"status", "verify", "recover", "dlq", "rebuild"} <= named <= set(COMMANDS)


def test_every_metric_of_a_query_exists() -> None:
    """A query that names an unknown metric finds nothing, whatever happens."""
    # Recorded ratios have a prefix of their own.
    text = re.sub(r"\bjob:\w+:\w+", "", TEXT)
    assert set(METRIC.findall(text)) <= series_names()
