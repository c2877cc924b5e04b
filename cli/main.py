"""`fanfare`: the command line, with one module for each of its commands."""

from __future__ import annotations

import importlib
import logging

import click

from core.runtime.environment import ignore_foreign_variables
from core.settings import SettingsError
from embedded.errors import StackError
from ops.errors import OpsError

# Where each command is. A module is imported only when its command is used, because the container
# image lacks the packages of the embedded stack, which commands such as `migrate` do not need.
COMMANDS = {
    "up": "cli.up:up",
    "demo": "cli.up:demo",
    "migrate": "cli.migrate:command",
    "load": "cli.load:command",
    "status": "cli.status:command",
    "verify": "cli.verify:command",
    "rebuild": "cli.rebuild:command",
    "recover": "cli.recover:command",
    "dlq": "cli.dlq:commands",
    "replay": "cli.replay:command",
    "keys": "cli.keys:commands",
    "admin": "cli.admin:command",
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

    def invoke(self, context: click.Context) -> object:
        """Run the command; report an expected failure as one sentence, with exit status 1."""
        try:
            return super().invoke(context)
        except (SettingsError, OpsError, StackError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands)
def cli() -> None:
    """Run and look after Fanfare, a home-timeline service."""


def main() -> None:
    """Run the command line."""
    ignore_foreign_variables()
    logging.basicConfig(level=logging.ERROR)
    cli()
