"""Completion by shells: what Tab offers, and the scripts."""

from __future__ import annotations

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from cli.completion import VARIABLE
from cli.main import COMMANDS, cli


@pytest.mark.parametrize(
    ("words", "incomplete", "offered"),
    [
        ([], "", list(COMMANDS)),
        ([], "st", ["status"]),
        ([], "nothing", []),
        ([], "--v", ["--version"]),
        (["status"], "--w", ["--watch"]),
        (["dlq"], "l", ["list"]),
        (["dlq", "replay"], "--p", ["--place"]),
        (["completion"], "", ["bash", "zsh", "fish"]),
    ],
)
def test_tab_completes_commands_and_options(
    words: list[str], incomplete: str, offered: list[str]
) -> None:
    """Also those of subcommands, and the values of a choice."""
    completions = ShellComplete(cli, {}, "fanfare", VARIABLE).get_completions(words, incomplete)
    assert [completion.value for completion in completions] == offered


# For bash, click starts one to see its version: see tests/integration/cli/test_completion.py.
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_script_asks_fanfare(shell: str) -> None:
    """By the variable that click derives from the name of the program."""
    shown = CliRunner().invoke(cli, ["completion", shell])
    assert shown.exit_code == 0
    assert f"_FANFARE_COMPLETE={shell}_complete" in shown.stdout


def test_another_shell_is_an_error_of_usage() -> None:
    """The message lists those that there are."""
    failed = CliRunner().invoke(cli, ["completion", "cmd"])
    assert failed.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in failed.stderr
