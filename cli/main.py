"""`fanfare`: the command line, with one module for each of its commands."""

from __future__ import annotations

import importlib
import logging
import os

import click
from click.shell_completion import CompletionItem

from cli.output import forgiving_output
from cli.texts import lines
from core.runtime.environment import ignore_foreign_variables

# Where each command is. A module is imported only when its command is used, because the container
# image lacks the packages of the embedded stack, which commands such as `migrate` do not need.
COMMANDS = {
    "up": "cli.up:up",
    "demo": "cli.up:demo",
    "migrate": "cli.migrate:command",
    "load": "cli.load:command",
    "status": "cli.status:command",
    "doctor": "cli.doctor:command",
    "verify": "cli.verify:command",
    "rebuild": "cli.rebuild:command",
    "recover": "cli.recover:command",
    "dlq": "cli.dlq:commands",
    "replay": "cli.replay:command",
    "keys": "cli.keys:commands",
    "admin": "cli.admin:command",
    "tweet": "cli.client:tweet",
    "follow": "cli.client:follow",
    "timeline": "cli.client:timeline",
    "watch": "cli.watch_timeline:command",
    "completion": "cli.completion:command",
    "bench": "cli.bench:command",
}


# The bits of file modes that let others than the owner write.
NOT_FOR_OTHERS = 0o022
INTERRUPTED = 130  # as a shell reports a program that SIGINT has ended


class _Commands(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return how the word can go on; names of commands without importing all of them."""
        if incomplete.startswith("-"):
            return super().shell_complete(context, incomplete)
        return [CompletionItem(name) for name in COMMANDS if name.startswith(incomplete)]

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name; suggest the nearest if there is none."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.exceptions.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=context)
        return super().resolve_command(context, args)

    def invoke(self, context: click.Context) -> object:
        """Run the command; report an expected failure as one sentence, with exit status 1."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except _expected_errors() as error:
            # A server may have written a part of it.
            raise click.ClickException("\n".join(lines(str(error)))) from error


def _expected_errors() -> tuple[type[Exception], ...]:
    # Imported only now: it takes a third of a second, in which Ctrl-C would show a traceback.
    places = {
        "core.settings": "SettingsError",
        "ops.errors": "OpsError",
        "embedded.errors": "StackError",
    }
    return tuple(getattr(importlib.import_module(path), name) for path, name in places.items())


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fanfare", message="%(prog)s %(version)s")
def cli() -> None:
    """Run and look after Fanfare, a home-timeline service.

    Exits with status 0 if all is well, 1 if the command failed or found something wrong, 2 if it
    was called wrongly, and 130 if it was interrupted. docs/command-line.md says more.
    """


def main() -> None:
    """Run the command line."""
    # With a umask such as 000, any user could replace the jars, keys and data that we use.
    os.umask(os.umask(NOT_FOR_OTHERS) | NOT_FOR_OTHERS)
    ignore_foreign_variables()
    with forgiving_output():
        logging.basicConfig(level=logging.ERROR)
        cli(prog_name="fanfare")
