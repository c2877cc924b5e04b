"""One run: a seed decides who takes each step. At the end all is drained, and compared."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace

from model import commands
from model.chaos import FAULTS, RELAYS, WORKERS, Actor, Chaos
from model.checks import (
    check_absence,
    check_erased,
    check_exact,
    check_pagination,
    check_token,
    check_tweets,
    is_drained,
)
from model.events import PARTITIONS
from model.focus import FOCUSES, Focus
from model.relay import Relay
from model.rules import Rules
from model.worker import Worker
from model.world import Steps, ViolationError, World

MAX_STEPS = 30_000
TOKENS = 20
"""How many commands have their consistency token checked at the end, at most."""
ASKER = "asker"
ERASER = "eraser"
STEP_ROWS = (1, 2, 4, 100)
"""How many tweets and edges a step of an erasure may erase."""


@dataclass
class Result:
    """The result of a run."""

    seed: int
    violation: str | None
    steps: int
    figures: Counter[str]
    story: list[str] = field(default_factory=list)


def play(seed: int, rules: Rules, focus: str = "all", *, telling: bool = False) -> Result:
    """Play the run of a seed."""
    rng = random.Random(seed)
    about = FOCUSES[focus]
    world = World(
        rules,
        rng,
        pull_followers=rng.choice(about.pull_followers),
        unreadable=rng.choice(about.unreadable),
        undelivered=rng.choice(about.undelivered),
        batch_sizes=about.batch_sizes,
        chunk_sizes=about.chunk_sizes,
        local_lists=about.local_lists,
        partitions=about.partitions,
        telling=telling,
    )
    history = _History(world, about)
    violation = None
    try:
        history.run()
    except ViolationError as error:
        violation = str(error)
        world.tell("VIOLATION", violation)
    return Result(seed, violation, history.steps, world.figures, world.story)


class _History:
    def __init__(self, world: World, focus: Focus) -> None:
        self.world = world
        self.steps = 0
        rng = world.rng
        self._begin(range(1, rng.choice(focus.users) + 1))
        self._actors = [Actor(name, Relay(world, name).run()) for name in RELAYS]
        self._actors += [Actor(name, Worker(world, name).run()) for name in WORKERS]
        self._clients = [
            Actor(
                f"client {number}",
                _client(world, f"client {number}", rng.choice(focus.commands_each), focus),
            )
            for number in range(3)
        ]
        self._actors += self._clients
        self._actors += [Actor(f"reader {number}", _reader(world)) for number in range(3)]
        self._reads_by_id = focus.reads_by_id
        if focus.reads_by_id:
            self._actors += [Actor(f"by id {number}", _reader_by_id(world)) for number in range(3)]
        self._actors.append(Actor(ASKER, _asker(world)))
        self._chaos = Chaos(world, self._actors, focus.draw_faults(rng, list(FAULTS)))
        self._fault_rate = rng.choice(focus.fault_rates)
        self._replica_rate = rng.choice(focus.replica_rates)
        self._mood_rate = rng.choice((0.003, 0.01, 0.03))
        self._has_eraser = False

    def _begin(self, users: range) -> None:
        """Begin with users and some follow edges, for which there are no events."""
        rng = self.world.rng
        edges = frozenset(
            (follower, followed)
            for follower in users
            for followed in users
            if follower != followed and rng.random() < 0.4
        )
        postgres = self.world.postgres
        postgres.commit(lambda now: replace(now, users=frozenset(users), follows=edges))
        self.world.replica.replay(postgres.lsn)
        self.world.assigned = {p: rng.choice(WORKERS) for p in range(PARTITIONS)}

    def run(self) -> None:
        """Run until the clients are done, drain, and compare."""
        world, rng = self.world, self.world.rng
        after = rng.choice((20, 150, 400))
        while after:
            if not any(actor in self._actors for actor in self._clients):
                after -= 1
            if rng.random() < self._fault_rate:
                self._chaos.strike()
            if rng.random() < self._mood_rate:
                for actor in self._actors:
                    actor.weight = rng.choice((0.001, 0.3, 1, 1, 4))
            self._step()
        self._chaos.heal()
        world.quiet = True
        world.tell("", "---- draining")
        while any(_is_temporary(actor) for actor in self._actors) or not is_drained(world):
            self._step()
        world.tell("", "---- drained")
        self._compare()

    def _compare(self) -> None:
        """Compare all timelines with the oracle, and check consistency tokens."""
        world, rng = self.world, self.world.rng
        self._expire_unfinished()
        check_erased(world)
        users = sorted(world.postgres.now.users)
        for viewer in users:
            for _ in range(2):
                self._finish(check_exact(world, viewer, rng.randint(1, 4)))
        if self._reads_by_id:
            self._finish(check_tweets(world))
        for done in rng.sample(world.acknowledged, min(TOKENS, len(world.acknowledged))):
            self._finish(check_token(world, done, rng.choice(users)))

    def _step(self) -> None:
        """Let one actor take a step."""
        world, rng = self.world, self.world.rng
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise ViolationError("it never drains")
        while world.in_flight:
            self._actors.append(Actor("in flight", world.in_flight.pop()))
        if world.postgres.now.erasing and not self._has_eraser:
            self._has_eraser = True
            self._actors.append(Actor(ERASER, _eraser(world)))
        self._replicate()
        (actor,) = rng.choices(self._actors, list(map(self._weight, self._actors)))
        try:
            next(actor.steps)
        except StopIteration:
            self._actors.remove(actor)

    def _weight(self, actor: Actor) -> float:
        if self.world.quiet:
            return 1.0
        if actor.asleep:
            actor.asleep -= 1
            return 0.0
        return actor.weight

    def _replicate(self) -> None:
        replica, rng = self.world.replica, self.world.rng
        if replica.replayed < replica.source.lsn and rng.random() < self._replica_rate:
            replica.replay(rng.choice((1, 2, 4, 100)))

    def _expire_unfinished(self) -> None:
        """Expire the placeholders of builders that died."""
        for space in self.world.redis.spaces.values():
            for key, elements in list(space.lists.items()):
                if elements[-1].startswith(b"B"):
                    space.drop_list(key)

    def _finish(self, steps: Steps[None]) -> None:
        for _ in steps:
            self.steps += 1
            self._replicate()


def _is_temporary(actor: Actor) -> bool:
    return actor.name not in {*RELAYS, *WORKERS, ASKER, ERASER}


def _reader(world: World) -> Steps[None]:
    while not world.quiet:
        yield
        users = sorted(world.postgres.now.users)
        yield from check_pagination(world, world.rng.choice(users))


def _reader_by_id(world: World) -> Steps[None]:
    while not world.quiet:
        yield
        yield from check_absence(world)


def _asker(world: World) -> Steps[None]:
    """Ask the primary for its valid history, on behalf of the read service."""
    while True:
        yield
        if world.quiet or world.chance(0.3):
            known = world.postgres.valid_history()
            yield
            world.known = known


def _eraser(world: World) -> Steps[None]:
    """Erase deleted users in steps, on behalf of the write service."""
    while True:
        yield
        if erasing := sorted(world.postgres.now.erasing):
            step = commands.erase(world.rng.choice(erasing), world.rng.choice(STEP_ROWS))
            done = yield from commands.run(world, ERASER, step)
            world.figures["erasure steps"] += done is not None


def _client(world: World, who: str, count: int, focus: Focus) -> Steps[None]:
    for _ in range(count):
        yield
        command = _draw(world, focus)
        if command is None:
            continue
        done = yield from commands.run(world, who, command)
        if done is not None and world.chance(0.3):
            done = world.rng.choice([done, world.rng.choice(world.acknowledged)])
            users = sorted(world.postgres.now.users)
            yield from check_token(world, done, world.rng.choice(users))


def _draw(world: World, focus: Focus) -> commands.Command | None:
    """Return a random command, or None if there is nothing that it could change."""
    rng, now = world.rng, world.postgres.now
    users = sorted(now.users)
    (kind,) = rng.choices(list(focus.commands), list(focus.commands.values()))
    if kind == "create":
        return commands.create_tweet(world.clock, rng.choice(users), world.pull_followers)
    if kind in {"update", "delete"} and now.tweets:
        tweet = rng.choice(sorted(now.tweets))
        return (
            commands.update_tweet(world.clock, tweet)
            if kind == "update"
            else commands.delete_tweet(tweet)
        )
    if kind == "follow" and len(users) > 1:
        return commands.follow(*rng.sample(users, 2))
    if kind == "unfollow" and now.follows:
        return commands.unfollow(*rng.choice(sorted(now.follows)))
    if kind == "delete user" and len(users) > 3:
        return commands.delete_user(rng.choice(users), rng.choice(STEP_ROWS))
    return None
