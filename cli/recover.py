"""`fanfare recover`: begin a new history."""

from __future__ import annotations

import click

from ops.errors import OpsError
from ops.instance import load_instance_settings
from ops.recover import begin_history, count_keys, read_history_state, remove_other_keys


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what is found and change nothing.")
def command(*, dry_run: bool) -> None:
    """Recover from damage that leaves no trace.

    Begins a new history, so that everything cached in Redis is built again from Postgres. A
    restart, restore or failover of Postgres is noticed without this command. It is for what leaves
    no trace, such as rows put back into a running server or records missing from a restored Kafka,
    and for when in doubt. Safe at any time, and any number of times: readers are served from
    Postgres until their timelines are built again. Consistency tokens from before are refused
    afterwards.
    """
    settings = load_instance_settings()
    state = read_history_state(settings)
    validity = "valid" if state.is_valid else "ended by a restart, restore or failover"
    click.echo(
        f"Postgres: history {state.history or 'none'} ({validity}), {state.ended} before it; last "
        f"heartbeat of a relay {state.heartbeat_seconds:.0f} s ago"
    )
    history = state.history
    if not dry_run:
        history = begin_history(settings)
        click.echo(f"Began history {history}; workers and readers follow within two seconds.")
    try:
        counts = count_keys(settings)
        for found, count in counts.most_common():
            which = "the current history" if found == history else "another history"
            click.echo(f"Redis: {count:,} keys of {which}, {found}")
        if not counts:
            click.echo("Redis: no keys of any history")
        if dry_run:
            click.echo("Nothing was changed (--dry-run).")
        else:
            removed = remove_other_keys(settings, history)
            click.echo(f"Removed {removed:,} keys of other histories from Redis.")
    except OpsError as error:
        # The command has not failed: nobody reads these keys, and they only take memory.
        click.echo(
            f"Keys of other histories may be left in Redis, where they only take memory: {error}. "
            "To remove them, run this command again.",
            err=True,
        )
