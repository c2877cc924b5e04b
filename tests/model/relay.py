"""The relay: outbox -> Kafka. See write_service/relay.py, ops/replay.py and ops/dead_letters.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from model.kafka import Record
from model.postgres import OUTBOX_PARTITIONS, Postgres, Row, SessionLostError
from model.world import Steps, ViolationError, World

from core.feed.history import Lsn
from write_service.low_water_mark import LowWaterMark

_UNKNOWN = Lsn(0)


@dataclass(frozen=True)
class Stamp:
    """What a relay puts on its records."""

    history: str
    epoch: int
    lsn: Lsn = _UNKNOWN


@dataclass
class Relay:
    """A relay that runs until it is killed."""

    world: World
    name: str

    def run(self) -> Steps[None]:
        """Compete for the lock, and relay while it is held."""
        while True:
            yield
            postgres = self.world.postgres
            session = object()
            try:
                while postgres.relay_lock is not None:
                    yield
                    postgres.check()
                postgres.relay_lock = session
                yield from self._relay(postgres, session)
            except SessionLostError:
                self.world.tell(self.name, "has lost its session, starts again")

    def _relay(self, postgres: Postgres, session: object) -> Steps[None]:
        rules = self.world.rules
        stamp = Stamp("", 0)
        cursor = 0  # used only if the rule unsent_rows is left out
        low_water_mark = LowWaterMark()
        while True:
            if not stamp.epoch or rules.new_producer_new_epoch:
                _check(postgres, session)
                stamp = Stamp(*postgres.next_epoch())
                if rules.mark_ends_with_epoch:
                    low_water_mark = LowWaterMark()
                self.world.tell(self.name, f"runs with epoch {stamp.epoch} of {stamp.history}")
            delivered = True
            while delivered:
                yield
                _check(postgres, session)
                if self.world.chance(0.1) and _may_beat(postgres, stamp):
                    postgres.heartbeat()
                yield from self._empty_partition(postgres, session)
                early = postgres.lsn
                if not rules.lsn_after_selection:
                    yield
                rows = self._fetch(postgres, low_water_mark, stamp)
                if not rules.unsent_rows:
                    rows = [row for row in rows if row.id > cursor]
                rows = rows[: self.world.rng.choice((1, 2, 4, 100))]
                yield
                if rows:
                    _check(postgres, session)
                    lsn = postgres.lsn if rules.lsn_after_selection else early
                    yield
                    delivered = yield from self._send(rows, replace(stamp, lsn=lsn))
                    if delivered:
                        self._mark(postgres, session, rows, stamp)
                        cursor = rows[-1].id

    def _fetch(self, postgres: Postgres, low_water_mark: LowWaterMark, stamp: Stamp) -> list[Row]:
        """Return the unsent rows from the low-water mark on, and raise the mark if possible.

        If there are none, notice whether the epoch is still the newest, as each heartbeat does.
        """
        rows = [row for row in postgres.unsent() if row.id >= low_water_mark.id]
        low_water_mark.note_unsent(rows[0].id if rows else None)
        inserting = {str(id(session)) for session in postgres.inserting}
        if not self.world.rules.mark_waits_for_transactions:
            inserting = set()
        low_water_mark.note_transactions(postgres.last_outbox_id, inserting)
        if not rows:
            self._refuse_fenced(postgres, stamp)
        return rows

    def _empty_partition(self, postgres: Postgres, session: object) -> Steps[None]:
        """Sometimes, empty a partition of the outbox if all rows in it are sent."""
        if not self.world.partitions or not self.world.chance(0.2):
            return
        partition = self.world.rng.randrange(OUTBOX_PARTITIONS)
        if any(row.partition == partition for row in postgres.unsent()):
            return
        if not self.world.rules.partitions_locked:
            yield
            _check(postgres, session)
        postgres.empty_partition(partition)
        self.world.tell(self.name, f"empties partition {partition} of the outbox")
        self.world.figures["partitions emptied"] += 1

    def _send(self, rows: Sequence[Row], stamp: Stamp) -> Steps[bool]:
        """Send the rows; return whether Kafka reported all deliveries."""
        for sent, row in enumerate(rows):
            if self.world.chance(self.world.undelivered):
                # Records in flight may still arrive.
                rest = rows[sent:] if self.world.chance(0.7) else []
                self.world.in_flight.append(_late(self.world, rest, stamp))
                self.world.tell(self.name, f"gives up its producer of epoch {stamp.epoch}")
                self.world.figures["fault: producer rebuilt"] += 1
                return False
            _append(self.world, self.name, row, stamp)
            yield
        return True

    def _mark(self, postgres: Postgres, session: object, rows: Sequence[Row], stamp: Stamp) -> None:
        _check(postgres, session)
        self._refuse_fenced(postgres, stamp)
        ids = [row.id for row in rows]
        postgres.mark(ids, postgres.lsn)
        self.world.tell(self.name, "marks", ids, "as sent")

    def _refuse_fenced(self, postgres: Postgres, stamp: Stamp) -> None:
        """Raise SessionLostError if the epoch is not the newest, or the history has ended."""
        rules, newest = self.world.rules, postgres.now.relay
        if (rules.newest_epoch_marks and stamp.epoch != newest.epoch) or (
            rules.marks_by_history and stamp.history != newest.history
        ):
            postgres.relay_lock = None
            raise SessionLostError


def _check(postgres: Postgres, session: object) -> None:
    """Raise SessionLostError if the session, and with it the lock, is gone."""
    if postgres.relay_lock is not session:
        raise SessionLostError


def _may_beat(postgres: Postgres, stamp: Stamp) -> bool:
    """Return whether this relay should write a heartbeat now."""
    relay = postgres.now.relay
    newest = (stamp.history, stamp.epoch) == (relay.history, relay.epoch)
    return newest and postgres.lsn > relay.lsn + 1


def _append(world: World, who: str, row: Row, stamp: Stamp) -> None:
    if world.events.setdefault(row.id, row.event) is not row.event:
        raise ViolationError(f"event {row.id} is {world.events[row.id]} and {row.event}")
    readable = not world.chance(world.unreadable)
    offset = world.kafka.append(
        Record(row.id, row.event, stamp.history, stamp.lsn, stamp.epoch, readable)
    )
    world.figures["records"] += 1
    world.figures["fault: unreadable record"] += not readable
    world.tell(
        who,
        f"sends #{row.id}{row.event} to {row.event.partition}/{offset},",
        f"epoch {stamp.epoch} of {stamp.history}, LSN {stamp.lsn}",
        "" if readable else "UNREADABLE",
    )
    world.places[stamp.history, row.id] = (world.kafka.topic_id, offset)


def _late(world: World, rows: Sequence[Row], stamp: Stamp) -> Steps[None]:
    """Deliver the records that a producer had in flight when the relay gave it up."""
    kafka = world.kafka
    connection = (kafka.topic_id, kafka.restored)
    for row in rows:
        yield
        if (kafka.topic_id, kafka.restored) == connection:
            _append(world, "in flight", row, stamp)


def replay_since(world: World) -> Steps[None]:
    """Unmark recently sent rows, so that the relay sends them again in order."""
    if not world.rules.replay_takes_epoch:
        yield
    postgres = world.postgres
    if world.rules.replay_takes_epoch:
        postgres.take_epoch()
    since = world.rng.randint(0, postgres.lsn)
    if world.rules.replay_after_removed:
        since = max([since, *(row.sent_at or 0 for row in postgres.now.expired.values())])
    rows = postgres.now.outbox.values()
    again = [row.id for row in rows if row.sent_at is not None and row.sent_at > since]
    postgres.mark(again, None)
    world.tell("operator", "replays", again)
    world.figures["fault: replay"] += 1


def replay_dead_letters(world: World) -> Steps[None]:
    """Send some dead letters again, at the primary's current LSN."""
    letters = [letter for letter in world.kafka.dead_letters if world.rng.random() < 0.6]
    now = world.postgres.moment()
    for letter in letters:
        yield
        again = replace(letter, history=now.history, lsn=now.lsn, readable=True, replayed=True)
        offset = world.kafka.append(again)
        place = f"{letter.event.partition}/{offset}"
        world.tell("operator", f"replays the dead letter {letter.event} to {place}")
        world.figures["fault: dead letter replayed"] += 1
