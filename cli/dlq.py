"""`fanfare dlq`: list and replay dead letters."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cli.json_output import json_option, print_json
from cli.texts import one_line
from ops.dead_letters import DeadLetter, list_dead_letters, replay_dead_letters
from ops.instance import load_instance_settings

# The backspaces tell click not to wrap the lines.
LIST_EXAMPLES = """\b
Examples:
  fanfare dlq list
  fanfare dlq list --json | jq -r '.dead_letters[].place'
"""
REPLAY_EXAMPLES = """\b
Examples:
  fanfare dlq replay
  fanfare dlq replay --place fanfare.feed.v1/3/4711
"""


@click.group(epilog=f"{LIST_EXAMPLES}  fanfare dlq replay")
def commands() -> None:
    """List and replay dead letters.

    Dead letters are records of the feed that a worker could not read.
    """


@commands.command("list", epilog=LIST_EXAMPLES)
@json_option()
def list_letters(*, as_json: bool) -> None:
    """Show all dead letters.

    For each, when it came, its place in the feed, why it could not be read, and whether it has been
    replayed.
    """
    letters = list_dead_letters(load_instance_settings())
    if as_json:
        print_json({"dead_letters": [_json(letter) for letter in letters]})
        return
    if not letters:
        click.echo("No dead letters.")
        return
    click.echo(format_letters(letters))


def format_letters(letters: Sequence[DeadLetter]) -> str:
    """Return a table of dead letters, however wide: `--place` needs a whole place."""
    rows = [("time (UTC)", "state", "place", "reason")]
    for letter in letters:
        state = "replayed" if letter.is_replayed else "waiting"
        place, reason = one_line(letter.place), one_line(letter.reason)
        rows.append((f"{letter.time:%F %T}", state, place, reason))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _json(letter: DeadLetter) -> dict[str, object]:
    return {
        "time": letter.time.isoformat(),
        "is_replayed": letter.is_replayed,
        "place": letter.place,
        "reason": letter.reason,
        "offset": letter.offset,
    }


@commands.command("replay", epilog=REPLAY_EXAMPLES)
@click.option(
    "--place",
    metavar="TOPIC/PARTITION/OFFSET",
    help="Only the dead letter with this place, as `fanfare dlq list` shows it.",
)
def replay(place: str | None) -> None:
    """Send dead letters to the feed again.

    Sends those that this version can read, each once; for after an upgrade. Timelines do not need
    it, because all of them were removed from Redis when the record was found, but other consumers
    of the feed may. Safe at any time: a worker only removes from Redis what a replayed record
    concerns.
    """
    result = replay_dead_letters(load_instance_settings(), place)
    if place and not result.sent and not result.unreadable:
        raise click.ClickException(f"there is no dead letter from {place}; see `fanfare dlq list`")
    click.echo(f"{result.sent:,} dead letters replayed")
    if result.unreadable:
        letters = "\n".join(map(one_line, result.unreadable))
        raise click.ClickException(
            "this version cannot read some dead letters, and leaves them where they are; replay "
            f"them after an upgrade:\n{letters}"
        )
