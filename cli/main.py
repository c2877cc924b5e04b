"""`fanfare`: the command line; COMMANDS has its commands."""

from __future__ import annotations

import importlib
import logging

import click

from core.settings import SettingsError

# Imported when asked for: the container image has no embedded stack, and needs none to migrate.
COMMANDS = {
    "up": "cli.up:up",
    "demo": "cli.up:demo",
    "migrate": "cli.migrate:command",
    "load": "ops.load:command",
    "status": "ops.status:command",
    "verify": "cli.verify:command",
    "rebuild": "ops.rebuild:command",
    "recover": "ops.recover:command",
    "dlq": "ops.dead_letters:commands",
    "replay": "ops.replay:command",
    "keys": "cli.keys:keys",
    "admin": "cli.keys:admin",
    "bench": "cli.bench:command",
}


class _Commands(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(cls=_Commands)
def cli() -> None:
    """Run and look after Fanfare, a home-timeline service."""


def main() -> None:
    """Run the command line; a failure is one sentence on stderr and exit status 1."""
    logging.basicConfig(level=logging.ERROR)
    try:
        cli()
    except SettingsError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(1) from None
