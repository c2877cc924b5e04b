"""The restore drill: servers restored from older copies under load, and every answer right again.

Commands and reads go on before, during and after each restore. Then every answer is compared with
SQL, every kind of consistency token is tried, and the events in the topic are looked through.
RESTORE_DRILLS=all runs the longer list of restores, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers import backups
from helpers.backups import KAFKA, POSTGRES, REDIS
from helpers.restore_drill import COMMANDS, Drill, Outcome

from ops.system import System

# Authors of more followers are pulled: the first user at once, others as the drill goes on.
PULL_FOLLOWERS = 6
OUTCOMES: list[Outcome] = []


# The scenarios -----------------------------------------------------------------------------------


def base_copy(drill: Drill) -> None:
    """Restore Postgres from a base copy; leave Redis and Kafka as they are."""
    drill.copying()
    copy = backups.base_copy(drill.system, drill.folder)
    drill.live_on()
    with drill.disaster():
        backups.restore(drill.system, copy)


def base_copy_with_records_unread(drill: Drill) -> None:
    """Do the same while records of the lost future lie unread in Kafka."""
    drill.copying()
    copy = backups.base_copy(drill.system, drill.folder)
    drill.live_on()
    drill.sleep()
    with drill.disaster():
        backups.restore(drill.system, copy)


def point_in_time(drill: Drill) -> None:
    """Bring Postgres to a point in time between a base copy and the disaster."""
    copy = backups.base_copy(drill.system, drill.folder)
    drill.traffic.wait_for_more(COMMANDS)
    drill.copying()
    ((lsn,),) = backups.sql(drill.system, "SELECT pg_current_wal_lsn()::text")
    drill.live_on()
    with drill.disaster():
        backups.restore_point_in_time(drill.system, copy[POSTGRES], str(lsn))


def volume_snapshot(drill: Drill) -> None:
    """Restore Postgres from a snapshot of its volume, from which it recovers as from a crash."""
    drill.copying()
    copy = backups.snapshot(drill.system, drill.folder, POSTGRES)
    drill.live_on()
    with drill.disaster():
        backups.restore(drill.system, copy)


def cold_copy(drill: Drill) -> None:
    """Restore Postgres from a copy that was taken while it was stopped."""
    drill.copying()
    copy = backups.cold_copy(drill.system, drill.folder, POSTGRES)
    drill.live_on()
    with drill.disaster():
        backups.restore(drill.system, copy)


def restart(drill: Drill) -> None:
    """Kill Postgres and start it again: nothing is lost."""
    drill.live_on()
    with drill.disaster():
        drill.system.stack.postgres.kill()
        drill.system.stack.postgres.start()


def failover(drill: Drill) -> None:
    """Lose the primary, and promote a replica that lagged."""
    drill.copying()
    sender = backups.hold_replication(drill.system)
    drill.live_on()
    with drill.disaster():
        backups.fail_over(drill.system, sender)


def replica_of_the_lost_future(drill: Drill) -> None:
    """Restore Postgres while a replica goes on answering that has the future that was lost."""
    drill.copying()
    copy = backups.base_copy(drill.system, drill.folder)
    drill.live_on()
    # Until the read service hears of the restore, the replica may answer as before it.
    drill.replica_has_what_is_lost = True
    with drill.disaster():
        backups.restore(drill.system, copy)


def dump_into_new_database(drill: Drill) -> None:
    """Reload a dump into a new database of the running server."""
    drill.copying()
    file = backups.dump(drill.system, drill.folder)
    drill.live_on()
    with drill.disaster():
        backups.reload_new_database(drill.system, file)


def dump_into_new_tables(drill: Drill) -> None:
    """Reload a dump into the running database, all tables dropped and created."""
    drill.copying()
    file = backups.dump(drill.system, drill.folder)
    drill.live_on()
    with drill.disaster():
        backups.reload_new_tables(drill.system, file)


def dump_into_the_same_tables(drill: Drill) -> None:
    """Reload the rows of a dump into the running database, which needs `fanfare recover`."""
    drill.copying()
    file = backups.dump(drill.system, drill.folder)
    drill.live_on()
    # Between the reload and the command nobody can notice, and commands go on.
    drill.event_ids_may_repeat = True
    with drill.disaster():
        backups.reload_rows(drill.system, file)
        recover(drill)


def redis_alone(drill: Drill) -> None:
    """Restore Redis from an older copy."""
    copy = backups.snapshot(drill.system, drill.folder, REDIS)
    drill.live_on()
    with drill.disaster():
        backups.restore(drill.system, copy)


def kafka_alone(drill: Drill) -> None:
    """Restore Kafka from an older copy, while records lie unread."""
    copy = backups.snapshot(drill.system, drill.folder, KAFKA)
    drill.live_on()
    drill.sleep()
    with drill.disaster():
        backups.restore(drill.system, copy)


def kafka_alone_beyond_notice(drill: Drill) -> None:
    """Restore Kafka from a copy that was taken while records lay unread, and `fanfare recover`.

    The workers find everything where they left it; only the records behind that are gone.
    """
    drill.live_on()
    drill.sleep()
    copy = backups.snapshot(drill.system, drill.folder, KAFKA)
    drill.traffic.wait_for_more(COMMANDS)
    drill.clients.wait_sent()
    with drill.disaster():
        backups.restore(drill.system, copy)
        recover(drill)


def redis_and_kafka(drill: Drill) -> None:
    """Restore Redis and Kafka from copies of the same moment, and `fanfare recover`.

    They agree with one another; what Postgres has sent since is in neither.
    """
    copies = backups.snapshot(drill.system, drill.folder, REDIS, KAFKA)
    drill.live_on()
    with drill.disaster():
        backups.restore(drill.system, copies)
        recover(drill)


def everything_of_one_moment(drill: Drill) -> None:
    """Restore Postgres, Redis and Kafka from copies of the same older moment."""
    drill.copying()
    copies = backups.snapshot(drill.system, drill.folder, POSTGRES, REDIS, KAFKA)
    drill.live_on()
    with drill.disaster():
        backups.restore(drill.system, copies)


def everything_of_moments(drill: Drill, order: Sequence[str]) -> None:
    """Restore Postgres, Redis and Kafka from three moments; order: the oldest first."""
    copies: dict[str, Path] = {}
    for name in order:
        if name == POSTGRES:
            drill.copying()
        copies |= backups.snapshot(drill.system, drill.folder, name)
        drill.traffic.wait_for_more(COMMANDS)
    drill.live_on()
    with drill.disaster():
        backups.restore(drill.system, copies)


def some_of_one_moment(drill: Drill, names: Sequence[str]) -> None:
    """Restore Postgres and another server from copies of the same moment."""
    drill.copying()
    copies = backups.snapshot(drill.system, drill.folder, *names)
    drill.live_on()
    with drill.disaster():
        backups.restore(drill.system, copies)


def database_begun_anew(drill: Drill) -> None:
    """Delete the folder of Postgres; keep Redis and Kafka."""
    drill.losing_everything()
    drill.live_on()
    with drill.disaster():
        backups.recreate_postgres(drill.system)


def recover(drill: Drill) -> None:
    """Run `fanfare recover`, which first says what it would do, and does no harm twice."""
    for arguments in (("--dry-run",), (), ()):
        done = drill.clients.command("recover", *arguments)
        if done.returncode != 0:
            told = done.stderr.strip().splitlines()[-1:]
            drill.outcome.faults.append(f"fanfare recover {' '.join(arguments)} failed: {told}")


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
    f"three moments: {told}": partial(everything_of_moments, order=order)
    for told, order in ORDERS.items()
}
SHORT: dict[str, Scenario] = {
    "base copy, records unread": base_copy_with_records_unread,
    "volume snapshot": volume_snapshot,
    "dump into the same tables": dump_into_the_same_tables,
    "Kafka alone, records unread": kafka_alone,
    **dict(list(MOMENTS.items())[:1]),
    "database begun anew": database_begun_anew,
}
LONG: dict[str, Scenario] = {
    "base copy": base_copy,
    "point in time": point_in_time,
    "dump into a new database": dump_into_new_database,
    "Redis alone": redis_alone,
    "all of one moment": everything_of_one_moment,
    "restart": restart,
    "cold copy": cold_copy,
    "dump into new tables": dump_into_new_tables,
    "Postgres and Redis": partial(some_of_one_moment, names=(POSTGRES, REDIS)),
    "Postgres and Kafka": partial(some_of_one_moment, names=(POSTGRES, KAFKA)),
    "Kafka alone, beyond notice": kafka_alone_beyond_notice,
    "Redis and Kafka": redis_and_kafka,
    **dict(list(MOMENTS.items())[1:]),
}
# In a system with a replica.
REPLICATED: dict[str, Scenario] = {"failover": failover}
LONG_REPLICATED: dict[str, Scenario] = {"a replica of the lost future": replica_of_the_lost_future}
if os.environ.get("RESTORE_DRILLS") == "all":
    SHORT |= LONG
    REPLICATED |= LONG_REPLICATED


class Systems:
    """Systems that drills share, as long as those before left them right."""

    def __init__(self, start: Callable[..., System]) -> None:
        self._start = start
        self._current: System | None = None
        self._replicated = False

    def system(self, *, replica: bool) -> System:
        """Return a system in order."""
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
    """Return systems for the drills, whose outcomes are printed at the end."""
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
            drill.go_on()
        drill.judge()
        if drill.event_ids_may_repeat:
            systems.discard()  # its topic has such ids now
    except BaseException:
        systems.discard()
        raise
    finally:
        drill.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", list(SHORT))
def test_answers_are_right_again(systems: Systems, tmp_path: Path, name: str) -> None:
    """Restored, and exact again; each promise about lost commands and tokens is kept."""
    _drill(systems, tmp_path, name, SHORT[name], replica=False)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", list(REPLICATED))
def test_answers_are_right_again_beside_a_replica(
    systems: Systems, tmp_path: Path, name: str
) -> None:
    """The same, where queries go to a replica."""
    _drill(systems, tmp_path, name, REPLICATED[name], replica=True)
