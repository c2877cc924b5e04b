"""The restore drill: servers are restored from older copies under load, and answers become right.

Commands and reads go on before, during and after each restore. Then every answer is compared with
SQL, every kind of consistency token is tried, and the events in the topic are checked.
RESTORE_DRILLS=all runs all restores.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers import backups
from helpers.backups import KAFKA, POSTGRES, REDIS
from helpers.recovery_manual import BackupFolder
from helpers.restore_drill import COMMANDS, HEAL_SECONDS, Drill, Outcome

from core.storage.backups import newest_backup_age
from ops.system import System

# Low, so that the first user is a pull author at once, and others become one during the drill.
PULL_FOLLOWERS = 6
OUTCOMES: list[Outcome] = []


# The scenarios -----------------------------------------------------------------------------------


def base_copy(drill: Drill) -> None:
    """Restore Postgres from pg_basebackup; Redis and Kafka keep their data."""
    drill.note_copy()
    copy = backups.base_copy(drill.system, drill.folder)
    drill.write_what_is_lost()
    with drill.restoring():
        backups.restore(drill.system, copy)


def base_copy_with_unread_records(drill: Drill) -> None:
    """Restore Postgres from pg_basebackup while Kafka has unread records of lost commands."""
    drill.note_copy()
    copy = backups.base_copy(drill.system, drill.folder)
    drill.write_what_is_lost()
    drill.pause_worker()
    with drill.restoring():
        backups.restore(drill.system, copy)


def point_in_time(drill: Drill) -> None:
    """Restore Postgres to a point in time between a base backup and the loss of its disk.

    Backup, archive and restore are made by the commands of docs/recovery.md.
    """
    folder = BackupFolder(drill.system, drill.folder / "backups")
    folder.archive_wal()
    backup = folder.take_base_backup()
    assert newest_backup_age(drill.folder / "backups", time.time()) < HEAL_SECONDS
    folder.remove_old()
    drill.traffic.wait_for_more(COMMANDS)
    drill.note_copy()
    ((moment,),) = backups.sql(drill.system, "SELECT clock_timestamp()::text")
    drill.write_what_is_lost()
    folder.wait_archived()
    with drill.restoring():
        folder.restore(backup, moment)


def volume_snapshot(drill: Drill) -> None:
    """Restore Postgres from a snapshot of its volume, so that it starts as after a crash."""
    drill.note_copy()
    copy = backups.snapshot(drill.system, drill.folder, POSTGRES)
    drill.write_what_is_lost()
    with drill.restoring():
        backups.restore(drill.system, copy)


def cold_copy(drill: Drill) -> None:
    """Restore Postgres from a copy that was taken while it was stopped."""
    drill.note_copy()
    copy = backups.cold_copy(drill.system, drill.folder, POSTGRES)
    drill.write_what_is_lost()
    with drill.restoring():
        backups.restore(drill.system, copy)


def restart(drill: Drill) -> None:
    """Kill Postgres and start it again, which loses nothing."""
    drill.write_what_is_lost()
    with drill.restoring():
        drill.system.stack.postgres.kill()
        drill.system.stack.postgres.start()


def failover(drill: Drill) -> None:
    """Lose the primary, and promote a replica that lags."""
    drill.note_copy()
    sender = backups.hold_replication(drill.system)
    drill.write_what_is_lost()
    with drill.restoring():
        backups.fail_over(drill.system, sender)


def replica_with_lost_commands(drill: Drill) -> None:
    """Restore Postgres while its replica still has the commands that the restore loses."""
    drill.note_copy()
    copy = backups.base_copy(drill.system, drill.folder)
    drill.write_what_is_lost()
    # Until the read service notices the restore, the replica may show lost commands.
    drill.replica_has_what_is_lost = True
    with drill.restoring():
        backups.restore(drill.system, copy)


def dump_into_new_database(drill: Drill) -> None:
    """Restore a dump into a new database of the running server."""
    drill.note_copy()
    file = backups.dump(drill.system, drill.folder)
    drill.write_what_is_lost()
    with drill.restoring():
        backups.reload_new_database(drill.system, file)


def dump_into_new_tables(drill: Drill) -> None:
    """Restore a dump into the running database, dropping and creating all tables."""
    drill.note_copy()
    file = backups.dump(drill.system, drill.folder)
    drill.write_what_is_lost()
    with drill.restoring():
        backups.reload_new_tables(drill.system, file)


def dump_into_the_same_tables(drill: Drill) -> None:
    """Restore the rows of a dump into the running database, and run `fanfare recover`."""
    drill.note_copy()
    file = backups.dump(drill.system, drill.folder)
    drill.write_what_is_lost()
    # Until `fanfare recover` runs, the restore goes unnoticed, and events get the ids of lost ones.
    drill.event_ids_may_repeat = True
    with drill.restoring():
        backups.reload_rows(drill.system, file)
        recover(drill)


def redis_alone(drill: Drill) -> None:
    """Restore Redis from an older copy."""
    copy = backups.snapshot(drill.system, drill.folder, REDIS)
    drill.write_what_is_lost()
    with drill.restoring():
        backups.restore(drill.system, copy)


def kafka_alone(drill: Drill) -> None:
    """Restore Kafka from an older copy while it has unread records."""
    copy = backups.snapshot(drill.system, drill.folder, KAFKA)
    drill.write_what_is_lost()
    drill.pause_worker()
    with drill.restoring():
        backups.restore(drill.system, copy)


def kafka_alone_unnoticeable(drill: Drill) -> None:
    """Restore Kafka from a copy with unread records, and run `fanfare recover`.

    The topic agrees with the checkpoints, so the worker cannot notice that later records are lost.
    """
    drill.write_what_is_lost()
    drill.pause_worker()
    copy = backups.snapshot(drill.system, drill.folder, KAFKA)
    drill.traffic.wait_for_more(COMMANDS)
    drill.clients.wait_sent()
    with drill.restoring():
        backups.restore(drill.system, copy)
        recover(drill)


def redis_and_kafka(drill: Drill) -> None:
    """Restore Redis and Kafka from copies of the same moment, and run `fanfare recover`.

    The two agree with each other, so the worker cannot notice that both lack later events.
    """
    copies = backups.snapshot(drill.system, drill.folder, REDIS, KAFKA)
    drill.write_what_is_lost()
    with drill.restoring():
        backups.restore(drill.system, copies)
        recover(drill)


def everything_of_one_moment(drill: Drill) -> None:
    """Restore Postgres, Redis and Kafka from copies of the same older moment."""
    drill.note_copy()
    copies = backups.snapshot(drill.system, drill.folder, POSTGRES, REDIS, KAFKA)
    drill.write_what_is_lost()
    with drill.restoring():
        backups.restore(drill.system, copies)


def everything_of_moments(drill: Drill, order: Sequence[str]) -> None:
    """Restore Postgres, Redis and Kafka from copies of three moments; order: the oldest first."""
    copies: dict[str, Path] = {}
    for name in order:
        if name == POSTGRES:
            drill.note_copy()
        copies |= backups.snapshot(drill.system, drill.folder, name)
        drill.traffic.wait_for_more(COMMANDS)
    drill.write_what_is_lost()
    with drill.restoring():
        backups.restore(drill.system, copies)


def some_of_one_moment(drill: Drill, names: Sequence[str]) -> None:
    """Restore Postgres and another server from copies of the same moment."""
    drill.note_copy()
    copies = backups.snapshot(drill.system, drill.folder, *names)
    drill.write_what_is_lost()
    with drill.restoring():
        backups.restore(drill.system, copies)


def empty_database(drill: Drill) -> None:
    """Start Postgres with an empty database, while Redis and Kafka keep their data."""
    drill.note_total_loss()
    drill.write_what_is_lost()
    with drill.restoring():
        backups.recreate_postgres(drill.system)


def recover(drill: Drill) -> None:
    """Run `fanfare recover`: as a dry run, and twice, since it must be harmless to repeat."""
    for arguments in (("--dry-run",), (), ()):
        done = drill.clients.command("recover", *arguments)
        if done.returncode != 0:
            error = done.stderr.strip().splitlines()[-1:]
            drill.outcome.faults.append(f"fanfare recover {' '.join(arguments)} failed: {error}")


Scenario = Callable[[Drill], None]
ORDERS = {
    "Kafka, Postgres, Redis": (KAFKA, POSTGRES, REDIS),
    "Redis, Postgres, Kafka": (REDIS, POSTGRES, KAFKA),
    "Postgres, Kafka, Redis": (POSTGRES, KAFKA, REDIS),
    "Postgres, Redis, Kafka": (POSTGRES, REDIS, KAFKA),
    "Kafka, Redis, Postgres": (KAFKA, REDIS, POSTGRES),
    "Redis, Kafka, Postgres": (REDIS, KAFKA, POSTGRES),
}
MOMENTS: dict[str, Scenario] = {
    f"three moments: {name}": partial(everything_of_moments, order=order)
    for name, order in ORDERS.items()
}
SHORT: dict[str, Scenario] = {
    "base copy, unread records": base_copy_with_unread_records,
    "point in time": point_in_time,
    "volume snapshot": volume_snapshot,
    "dump into the same tables": dump_into_the_same_tables,
    "Kafka alone, unread records": kafka_alone,
    **dict(list(MOMENTS.items())[:1]),
    "empty database": empty_database,
}
LONG: dict[str, Scenario] = {
    "base copy": base_copy,
    "dump into a new database": dump_into_new_database,
    "Redis alone": redis_alone,
    "all of one moment": everything_of_one_moment,
    "restart": restart,
    "cold copy": cold_copy,
    "dump into new tables": dump_into_new_tables,
    "Postgres and Redis": partial(some_of_one_moment, names=(POSTGRES, REDIS)),
    "Postgres and Kafka": partial(some_of_one_moment, names=(POSTGRES, KAFKA)),
    "Kafka alone, unnoticeable": kafka_alone_unnoticeable,
    "Redis and Kafka": redis_and_kafka,
    **dict(list(MOMENTS.items())[1:]),
}
# These run in a system with a replica.
REPLICATED: dict[str, Scenario] = {"failover": failover}
LONG_REPLICATED: dict[str, Scenario] = {"a replica with lost commands": replica_with_lost_commands}
if os.environ.get("RESTORE_DRILLS") == "all":
    SHORT |= LONG
    REPLICATED |= LONG_REPLICATED


class Systems:
    """A system that drills share until one of them fails in it."""

    def __init__(self, start: Callable[..., System]) -> None:
        self._start = start
        self._current: System | None = None
        self._replicated = False

    def system(self, *, replica: bool) -> System:
        """Return the shared system, or a new one."""
        if self._current is None or replica != self._replicated:
            self.discard()
            pulled = {"FANFARE_PULL_FOLLOWERS": str(PULL_FOLLOWERS)}
            self._current = self._start(replica=replica, **pulled)
            self._replicated = replica
        return self._current

    def discard(self) -> None:
        """Stop the system, so that the next drill gets another."""
        if self._current is not None:
            self._current.stop()
            self._current = None


@pytest.fixture(scope="module")
def systems(start_system: Callable[..., System], pytestconfig: pytest.Config) -> Iterator[Systems]:
    """Return systems for the drills, and print the outcomes at the end."""
    shared = Systems(start_system)
    yield shared
    shared.discard()
    columns = "{:<34}{:>6}{:>9}{:>13}{:>12}{:>13}"
    titles = ("restored", "lost", "answers", "wrong first", "wrong last", "right after")
    lines = [columns.format(*titles)]
    for one in OUTCOMES:
        after = "never" if one.seconds is None else f"{one.seconds:.1f} s"
        figures = (one.lost, one.answers, one.wrong_at_first, one.wrong_at_last, after)
        lines.append(columns.format(one.name, *figures))
    capture: Any = pytestconfig.pluginmanager.get_plugin("capturemanager")
    terminal: Any = pytestconfig.pluginmanager.get_plugin("terminalreporter")
    with capture.global_and_fixture_disabled():
        terminal.write("\n" + "\n".join(lines) + "\n")


def _drill(systems: Systems, folder: Path, name: str, scenario: Scenario, *, replica: bool) -> None:
    outcome = Outcome(name)
    OUTCOMES.append(outcome)
    drill = Drill(systems.system(replica=replica), outcome, folder, seed=len(OUTCOMES))
    try:
        with drill.running():
            scenario(drill)
            drill.write_after()
        drill.judge()
        if drill.event_ids_may_repeat:
            systems.discard()  # event ids repeat in its topic from now on
    except BaseException:
        systems.discard()
        raise
    finally:
        drill.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", list(SHORT))
def test_answers_are_right_again(systems: Systems, tmp_path: Path, name: str) -> None:
    """All answers equal SQL again, and tokens of lost commands are refused."""
    _drill(systems, tmp_path, name, SHORT[name], replica=False)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", list(REPLICATED))
def test_answers_are_right_again_beside_a_replica(
    systems: Systems, tmp_path: Path, name: str
) -> None:
    """All answers are right again in a system whose queries go to a replica."""
    _drill(systems, tmp_path, name, REPLICATED[name], replica=True)
