"""The relay: outbox -> Kafka. See write_service/relay.py, cli/replay.py and cli/dlq.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from model.kafka import Record
from model.postgres import Row
from model.world import Steps, World


class SessionLostError(Exception):
    """Postgres has ended the session."""


@dataclass
class Relay:
    """A relay, which runs for as long as nobody kills it."""

    world: World
    name: str

    def run(self) -> Steps[None]:
        """Compete for the lock, and relay while it is held."""
        while True:
            session = object()
            while self.world.postgres.relay_lock is not None:
                yield
            self.world.postgres.relay_lock = session
            try:
                yield from self._relay(session)
            except SessionLostError:
                self.world.tell(self.name, "has lost its session, starts again")

    def _relay(self, session: object) -> Steps[None]:
        postgres = self.world.postgres
        epoch = 0
        cursor = 0  # for the rule left out
        while True:
            if not epoch or self.world.rules.new_producer_new_epoch:
                epoch = self._next_epoch(session)
            delivered = True
            while delivered:
                yield
                self._check(session)
                early = postgres.position
                if not self.world.rules.position_after_selection:
                    yield
                rows = postgres.unsent()
                if not self.world.rules.unsent_rows:
                    rows = [row for row in rows if row.id > cursor]
                rows = rows[: self.world.rng.choice((1, 2, 4, 100))]
                yield
                if rows:
                    self._check(session)
                    late = self.world.rules.position_after_selection
                    position = postgres.position if late else early
                    yield
                    delivered = yield from self._send(rows, position, epoch)
                    if delivered:
                        self._mark(session, rows, epoch)
                        cursor = rows[-1].id

    def _send(self, rows: Sequence[Row], position: int, epoch: int) -> Steps[bool]:
        """Send the rows; return False if their delivery was not reported."""
        for sent, row in enumerate(rows):
            if self.world.chance(self.world.undelivered):
                # What is on its way may arrive yet.
                rest = rows[sent:] if self.world.chance(0.7) else []
                self.world.in_flight.append(_late(self.world, rest, position, epoch))
                self.world.tell(self.name, f"gives up its producer of epoch {epoch}")
                self.world.figures["fault: producer rebuilt"] += 1
                return False
            _append(self.world, self.name, row, position, epoch)
            yield
        return True

    def _mark(self, session: object, rows: Sequence[Row], epoch: int) -> None:
        self._check(session)
        postgres = self.world.postgres
        if self.world.rules.newest_epoch_marks and epoch != postgres.epoch:
            postgres.relay_lock = None
            raise SessionLostError
        postgres.marked += 1
        for row in rows:
            row.sent_at = postgres.marked
        self.world.tell(self.name, "marks", [row.id for row in rows], "as sent")

    def _next_epoch(self, session: object) -> int:
        self._check(session)
        self.world.postgres.epoch += 1
        self.world.tell(self.name, f"runs with epoch {self.world.postgres.epoch}")
        return self.world.postgres.epoch

    def _check(self, session: object) -> None:
        """Raise SessionLostError if the session, and with it the lock, is gone."""
        if self.world.postgres.relay_lock is not session:
            raise SessionLostError


def _append(world: World, who: str, row: Row, position: int, epoch: int) -> None:
    readable = not world.chance(world.unreadable)
    offset = world.kafka.append(Record(row.event, position, epoch, readable))
    world.figures["records"] += 1
    world.figures["fault: unreadable record"] += not readable
    world.tell(
        who,
        f"sends #{row.id}{row.event} to {row.event.partition}/{offset},",
        f"epoch {epoch}, position {position}",
        "" if readable else "UNREADABLE",
    )
    row.place = (world.kafka.topic_id, offset)


def _late(world: World, rows: Sequence[Row], position: int, epoch: int) -> Steps[None]:
    """Deliver what a producer that was given up had on its way."""
    topic = world.kafka.topic_id
    for row in rows:
        yield
        if world.kafka.topic_id == topic:
            _append(world, "in flight", row, position, epoch)


def replay_since(world: World) -> Steps[None]:
    """Unmark the rows sent lately, so that the relay sends them again in their order."""
    postgres = world.postgres
    if not world.rules.replay_takes_epoch:
        yield
    else:
        postgres.epoch += 1
    since = world.rng.randint(0, postgres.marked)
    again = [row for row in postgres.outbox if row.sent_at is not None and row.sent_at > since]
    for row in again:
        row.sent_at = None
    world.tell("operator", "replays", [row.id for row in again])
    world.figures["fault: replay"] += 1


def replay_dead_letters(world: World) -> Steps[None]:
    """Send some dead letters again, at the primary's position of now."""
    letters = [letter for letter in world.kafka.dead_letters if world.rng.random() < 0.6]
    position = world.postgres.position
    for letter in letters:
        yield
        again = replace(letter, wal_position=position, readable=True, replayed=True)
        offset = world.kafka.append(again)
        place = f"{letter.event.partition}/{offset}"
        world.tell("operator", f"replays the dead letter {letter.event} to {place}")
        world.figures["fault: dead letter replayed"] += 1
