"""`fanfare recover`: begin a new history."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import click

from cli.json_output import json_option, print_json
from ops.errors import OpsError
from ops.instance import load_instance_settings
from ops.recover import (
    HistoryState,
    begin_history,
    count_keys,
    read_history_state,
    remove_other_keys,
)

# The backspace tells click not to wrap the lines.
EXAMPLES = """\b
Examples:
  fanfare recover --dry-run
  fanfare recover
"""


@dataclass
class RecoveryReport:
    """What the command has found and done."""

    dry_run: bool
    found: HistoryState
    began: str = ""
    """The history that was begun; empty if none was."""
    keys: dict[str, int] | None = None
    """How many keys of each history were in Redis; None if Redis does not answer."""
    removed_keys: int | None = None
    """How many keys of other histories were removed; None if none were to be."""


@click.command(epilog=EXAMPLES)
@click.option("--dry-run", is_flag=True, help="Show what is found and change nothing.")
@json_option()
def command(*, dry_run: bool, as_json: bool) -> None:
    """Recover from damage that leaves no trace.

    Begins a new history, so that everything cached in Redis is built again from Postgres. A
    restart, restore or failover of Postgres is noticed without this command. It is for what leaves
    no trace, such as rows put back into a running server or records missing from a restored Kafka,
    and for when in doubt. Safe at any time, and any number of times: readers are served from
    Postgres until their timelines are built again. Consistency tokens from before are refused
    afterwards.
    """
    settings = load_instance_settings()
    report = RecoveryReport(dry_run, read_history_state(settings))
    if not as_json:
        click.echo(_found(report.found))
    if not dry_run:
        report.began = begin_history(settings)
        if not as_json:
            click.echo(
                f"Began history {report.began}; workers and readers follow within two seconds."
            )
    try:
        report.keys = dict(count_keys(settings).most_common())
        if not dry_run:
            report.removed_keys = remove_other_keys(settings, report.began)
    except OpsError as error:
        # The command has not failed: nobody reads these keys, and they only take memory.
        click.echo(
            f"Keys of other histories may be left in Redis, where they only take memory: {error}. "
            "To remove them, run this command again.",
            err=True,
        )
    if as_json:
        print_json(dataclasses.asdict(report))
    else:
        for line in _keys(report):
            click.echo(line)


def _found(found: HistoryState) -> str:
    validity = "valid" if found.is_valid else "ended by a restart, restore or failover"
    return (
        f"Postgres: history {found.history or 'none'} ({validity}), {found.ended} before it; last "
        f"heartbeat of a relay {found.heartbeat_seconds:.0f} s ago"
    )


def _keys(report: RecoveryReport) -> Iterator[str]:
    """Yield the lines about the keys in Redis; none that is not known."""
    current = report.began or report.found.history
    if report.keys is not None:
        for history, count in report.keys.items():
            which = "the current history" if history == current else "another history"
            yield f"Redis: {count:,} keys of {which}, {history}"
        if not report.keys:
            yield "Redis: no keys of any history"
    if report.dry_run:
        yield "Nothing was changed (--dry-run)."
    elif report.removed_keys is not None:
        yield f"Removed {report.removed_keys:,} keys of other histories from Redis."
