"""`fanfare completion`: have a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

# The variable by which the script asks `fanfare` for completions; click looks for it.
VARIABLE = "_FANFARE_COMPLETE"

# The backspace tells click not to wrap the lines.
EXAMPLES = """\b
Examples:
  echo 'eval "$(fanfare completion bash)"' >> ~/.bashrc
  echo 'eval "$(fanfare completion zsh)"' >> ~/.zshrc
  fanfare completion fish > ~/.config/fish/completions/fanfare.fish
"""


@click.command(epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script by which a shell completes commands.

    The script makes Tab complete the names of commands and options. It asks `fanfare`, so it stays
    right when the version changes.
    """
    root = click.get_current_context().find_root().command
    complete = get_completion_class(shell)
    assert complete is not None  # noqa: S101 - click has all three
    click.echo(complete(root, {}, "fanfare", VARIABLE).source())
