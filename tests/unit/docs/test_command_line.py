"""docs/command-line.md against the commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import click

from cli.main import COMMANDS, INTERRUPTED, cli

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "command-line.md").read_text()
ROW = re.compile(r"^\| `([\w -]+)` \| [^|]+ \| ([^|]*)\| (\d+) \|$", re.MULTILINE)
# These run until they are told to stop, so that to be stopped is no failure.
UNTIL_STOPPED = {"up", "status --watch", "watch"}


def _commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= {f"{name} {word}": leaf for word, leaf in command.commands.items()}
        else:
            found[name] = command
    return found


def test_the_table_has_every_command_and_what_it_offers() -> None:
    """Each once; with --json where it has that, and with its status after Ctrl-C."""
    rows = {name: (bool(json.strip()), int(status)) for name, json, status in ROW.findall(TEXT)}
    assert rows.pop("status --watch") == (True, 0)
    assert len(ROW.findall(TEXT)) == len(rows) + 1
    assert rows == {
        name: (
            any("--json" in parameter.opts for parameter in command.params),
            0 if name in UNTIL_STOPPED else INTERRUPTED,
        )
        for name, command in _commands().items()
    }


def test_the_commands_of_the_page_exist() -> None:
    """In blocks and in backticks, with their options."""
    calls = re.findall(r"(?:`|^ {4}|\$\()fanfare ([^`|>)]*)", TEXT, re.MULTILINE)
    assert len(calls) > 10
    for call in calls:
        words = call.split()
        if words[0] in {"-h", "COMMAND"}:
            continue
        known = _commands()
        command = known.get(words[0]) or known[" ".join(words[:2])]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, call
