"""The faults in which a server is restored from an older copy, or a replica is promoted."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from helpers import backups
from helpers.backups import KAFKA, POSTGRES, REDIS
from torture.redis_faults import RedisFaults
from torture.world import Cast, World

DUMP = "dump"
# Servers that are copied at the same moment. Copies of several moments may be restored together.
COPIED: tuple[tuple[str, ...], ...] = (
    (POSTGRES,),
    (DUMP,),
    (POSTGRES, REDIS, KAFKA),
    (POSTGRES, REDIS),
    (REDIS, KAFKA),
    (POSTGRES, KAFKA),
    (KAFKA,),
)
# Faults after which the database may lack commands that were acknowledged.
LOSSY = ("restore_servers", "fail_over", "recreate_database")
LEAST_USERS = 2
EVICT_SECONDS = 0.2


class RestoreFaults(RedisFaults):
    """Restores the servers of a story."""

    def __init__(self, world: World, cast: Cast) -> None:
        super().__init__(world, cast)
        self._copies: dict[str, Path] = {}

    def copy_servers(self, which: int) -> bool:
        """Copy some servers at one moment, for later: by snapshots, pg_basebackup or pg_dump."""
        world = self._world
        names = COPIED[which % len(COPIED)]
        folder = world.system.settings.state_dir / "copies" / str(time.monotonic_ns())
        if names == (DUMP,):
            folder.mkdir(parents=True)
            self._keep({DUMP: backups.dump(world.system, folder)})
        elif names == (POSTGRES,) and which % 2:
            folder.mkdir(parents=True)
            self._keep(backups.base_copy(world.system, folder))
        elif REDIS in names and not world.redis_up:
            return False
        else:
            self._keep(backups.snapshot(world.system, folder, *names))
        return True

    def restore_servers(self, which: int) -> bool:
        """Kill the servers of which there are copies, and start them from the copies.

        If Postgres is restored, the replica still has what the primary has lost. It is rebuilt at
        once, or at the end of the story.
        """
        copies, self._copies = self._copies, {}
        if not copies:
            return False
        self._world.release_replica()
        dump = copies.pop(DUMP, None)
        if copies:
            backups.restore(self._world.system, copies)
            self._world.redis_full &= REDIS not in copies
        if KAFKA in copies:
            self._world.reconnect_restored_kafka()
        if POSTGRES in copies:
            self._world.replica_lost = True
            if which % 2:
                self._world.repair_replica()
        elif dump is not None:
            self._reload(dump, which)
        elif KAFKA in copies:
            # Fanfare cannot notice the loss of records that no worker had read.
            self._operator("recover")
        if POSTGRES in copies or dump is not None:
            self._adopt_restored_users()
        for copy in (*copies.values(), *([dump] if dump else [])):
            shutil.rmtree(copy.parent, ignore_errors=True)
        return True

    def hold_replication(self, _: int) -> bool:
        """Stop replication: what is written from now on is lost if the replica is promoted."""
        world = self._world
        if world.held_sender is not None or not self._replica_streams():
            return False
        world.held_sender = backups.hold_replication(world.system)
        return True

    def fail_over(self, _: int) -> bool:
        """Lose the primary and promote the replica, even if it has not received all commits."""
        world = self._world
        if not self._replica_streams() and world.held_sender is None:
            return False
        sender, world.held_sender = world.held_sender, None
        if sender is None:
            sender = backups.hold_replication(world.system)
        backups.fail_over(world.system, sender)
        world.replay_paused = False
        self._adopt_restored_users()
        return True

    def use_copies(self) -> bool:
        """Restore the copies that are left, and fail over if replication was stopped."""
        faults = self._world.figures.faults
        restored = self.restore_servers(1)
        faults["restore_servers"] += restored
        failed_over = self._world.held_sender is not None and self.fail_over(0)
        faults["fail_over"] += failed_over
        return restored or failed_over

    def recreate_database(self, _: int) -> bool:
        """Start Postgres with an empty database, while Redis and Kafka keep their data."""
        self._world.release_replica()
        self._copies.pop(DUMP, None)  # it needs the database that is deleted
        backups.recreate_postgres(self._world.system)
        backups.rebuild_replica(self._world.system)
        self._world.replay_paused = False
        self._adopt_restored_users()
        return True

    def evict(self, which: int) -> bool:
        """Limit the memory of Redis for a moment, so that it evicts keys and may refuse writes."""
        if not self._world.redis_up or self._world.redis_full:
            return False
        redis: Any = self._world.clients.redis
        used = int(redis.info("memory")["used_memory"])
        before = int(redis.info("stats")["evicted_keys"])
        redis.config_set("maxmemory", 1 if which % 2 else max(1, used - 1000 * which))
        try:
            deadline = time.monotonic() + EVICT_SECONDS
            while time.monotonic() < deadline and redis.info("stats")["evicted_keys"] == before:
                time.sleep(0.005)
        finally:
            redis.config_set("maxmemory", 0)
        return bool(redis.info("stats")["evicted_keys"] > before)

    # Parts of the above ----------------------------------------------------------------------

    def _keep(self, copies: dict[str, Path]) -> None:
        """Remember the newest copy of each server; for Postgres, either a dump or a copy."""
        if POSTGRES in copies:
            self._copies.pop(DUMP, None)
        if DUMP in copies:
            self._copies.pop(POSTGRES, None)
        self._copies |= copies

    def _reload(self, dump: Path, which: int) -> None:
        system = self._world.system
        if which % 3 == 0:
            backups.reload_new_database(system, dump)
        elif which % 3 == 1:
            backups.reload_new_tables(system, dump)
        else:
            backups.reload_rows(system, dump)
            self._operator("recover")

    def _operator(self, *arguments: str) -> None:
        done = self._world.clients.command(*arguments)
        assert done.returncode == 0, f"fanfare {' '.join(arguments)}: {done.stderr}"

    def _replica_streams(self) -> bool:
        world = self._world
        if world.replica_lost or not world.system.stack.replica.running:
            return False
        return bool(world.clients.sql("SELECT 1 FROM pg_stat_replication"))

    def _adopt_restored_users(self) -> None:
        """Update the cast to what the database has now, and add users if too few are left."""
        world, cast = self._world, self._cast
        world.postgres_crashed_at = time.monotonic()
        world.forget_lost_crowd()
        known = [*cast.users, *cast.deleted]
        query = "SELECT id FROM users WHERE id = ANY(%s) ORDER BY id"
        there = [row[0] for row in world.clients.sql(query, known)]
        cast.users[:] = there
        cast.deleted[:] = sorted(set(known) - set(there))
        cast.stars &= set(there)
        query = "SELECT id FROM tweets WHERE id = ANY(%s) ORDER BY id"
        cast.tweets[:] = [row[0] for row in world.clients.sql(query, cast.all_tweets)]
        missing = LEAST_USERS - len(cast.users)
        if missing > 0:
            cast.users += world.new_users(missing)
            cast.deleted[:] = sorted(set(cast.deleted) - set(cast.users))
