"""The write service: each command is one transaction that also enqueues its events.

See write_service/store.py. A command locks its rows, decides what to change, draws ids for its
events, and commits some time later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from model.events import Event, Kind, Tweet
from model.postgres import Change, Clock, Row, SessionLostError, Snapshot
from model.world import Acknowledged, Steps, World

Locks = tuple[set[object], set[object]]
"""(shared, exclusive)"""


@dataclass(frozen=True)
class Effect:
    """What a command does, decided once its rows are locked."""

    change: Change
    events: list[Event]


@dataclass(frozen=True)
class Command:
    """A command: the rows that it locks, and its effect, which is None if nothing would change."""

    locks: Callable[[Snapshot], Locks]
    effect: Callable[[Snapshot], Effect | None]


def run(world: World, who: str, command: Command) -> Steps[Acknowledged | None]:
    """Run a command; return None if nothing was committed, or the client did not learn of it."""
    try:
        return (yield from _transaction(world, who, command))
    except SessionLostError:
        world.tell(who, "has lost its session")
        return None


def _transaction(world: World, who: str, command: Command) -> Steps[Acknowledged | None]:
    postgres, rules = world.postgres, world.rules
    session = object()
    if rules.history_before_event_ids:
        postgres.begin_history()
    history = postgres.now.relay.history
    postgres.inserting.add(session)
    ids = [] if rules.outbox_ids_after_locks else [postgres.draw_outbox_id()]
    yield
    while not postgres.lock(session, *command.locks(postgres.now)):
        yield
        postgres.check()
    effect = command.effect(postgres.now)
    yield
    lsn = None
    if effect is not None:
        while len(ids) < len(effect.events):
            ids.append(postgres.draw_outbox_id())
        while world.chance(0.4):
            yield
        postgres.check()
        if not world.chance(0.03):  # rolled back
            rows = [Row(id_, event) for id_, event in zip(ids, effect.events, strict=False)]
            postgres.commit(effect.change, rows)
            lsn = postgres.lsn
            world.figures["commands"] += 1
            world.tell(who, f"commits at {lsn}:", *(f"#{row.id}{row.event}" for row in rows))
    postgres.unlock(session)
    postgres.inserting.discard(session)
    yield
    if lsn is None:
        return None
    asked = world.postgres  # the token is read in a session of its own
    token = asked.moment()
    if rules.token_of_the_commits_history and token.history != history:
        world.tell(who, f"answers nothing: committed in {history}, and it is {token.history} now")
        return None
    done = Acknowledged(postgres, lsn, token)
    world.acknowledged.append(done)
    return done


def create_tweet(clock: Clock, author: int, pull_followers: int) -> Command:
    """Return the command that creates a tweet; it decides whether the tweet is pulled."""
    tweet = Tweet(clock.tick(), author)

    def effect(now: Snapshot) -> Effect | None:
        if author not in now.users:
            return None
        was = author in now.pulled
        crosses = not was and 0 < pull_followers < len(now.followers(author))
        pulled = was or crosses

        def change(then: Snapshot) -> Snapshot:
            return replace(
                then,
                tweets={**then.tweets, tweet.id: tweet},
                pulled=then.pulled | {author} if crosses else then.pulled,
            )

        event = Event(Kind.CREATED, author, tweet, pulled=pulled, became_pulled=crosses)
        return Effect(change, [event])

    return Command(lambda _: ({("user", author)}, set()), effect)


def update_tweet(clock: Clock, tweet_id: int) -> Command:
    """Return the command that gives a tweet a new text."""

    def effect(now: Snapshot) -> Effect | None:
        if tweet_id not in now.tweets or now.tweets[tweet_id].author not in now.users:
            return None
        old = now.tweets[tweet_id]
        new = old._replace(version=old.version + 1, text=clock.tick())
        return Effect(
            lambda then: replace(then, tweets={**then.tweets, tweet_id: new}),
            [Event(Kind.UPDATED, new.author, new)],
        )

    return Command(lambda _: (set(), {("tweet", tweet_id)}), effect)


def delete_tweet(tweet_id: int) -> Command:
    """Return the command that deletes a tweet."""

    def effect(now: Snapshot) -> Effect | None:
        if tweet_id not in now.tweets or now.tweets[tweet_id].author not in now.users:
            return None
        old = now.tweets[tweet_id]
        return Effect(
            lambda then: replace(
                then, tweets={id_: tweet for id_, tweet in then.tweets.items() if id_ != tweet_id}
            ),
            [Event(Kind.DELETED, old.author, old)],
        )

    return Command(lambda _: (set(), {("tweet", tweet_id)}), effect)


def follow(follower: int, followed: int) -> Command:
    """Return the command that makes a follow edge."""
    edge = (follower, followed)

    def effect(now: Snapshot) -> Effect | None:
        if edge in now.follows or not {*edge} <= now.users:
            return None
        return Effect(
            lambda then: replace(then, follows=then.follows | {edge}),
            [Event(Kind.FOLLOWED, followed, follower=follower)],
        )

    return Command(lambda _: _edge_locks(edge), effect)


def unfollow(follower: int, followed: int) -> Command:
    """Return the command that removes a follow edge."""
    edge = (follower, followed)

    def effect(now: Snapshot) -> Effect | None:
        if edge not in now.follows or not {*edge} <= now.users:
            return None
        return Effect(
            lambda then: replace(then, follows=then.follows - {edge}),
            [Event(Kind.UNFOLLOWED, followed, follower=follower)],
        )

    return Command(lambda _: _edge_locks(edge), effect)


def delete_user(user: int, rows: int) -> Command:
    """Return the command that deletes a user, and erases at most this many tweets and edges.

    If some are left, `erase` erases them.
    """

    def effect(now: Snapshot) -> Effect | None:
        if user not in now.users:
            return None
        step = _erasure(now, user, rows)
        events = [*step.events, Event(Kind.USER_DELETED, user)]

        def change(then: Snapshot) -> Snapshot:
            erasing = then.erasing if step.is_last else then.erasing | {user}
            return replace(step.change(then), users=then.users - {user}, erasing=erasing)

        return Effect(change, events)

    return Command(lambda now: _erasure_locks(now, user, rows), effect)


def erase(user: int, rows: int) -> Command:
    """Return the step that erases at most this many tweets and edges of a deleted user."""

    def effect(now: Snapshot) -> Effect | None:
        if user not in now.erasing:
            return None
        step = _erasure(now, user, rows)
        if not step.is_last:
            return Effect(step.change, step.events)

        def change(then: Snapshot) -> Snapshot:
            return replace(step.change(then), erasing=then.erasing - {user})

        return Effect(change, [*step.events, Event(Kind.USER_DELETED, user)])

    return Command(lambda now: _erasure_locks(now, user, rows), effect)


@dataclass(frozen=True)
class _Erasure(Effect):
    """A step of an erasure."""

    is_last: bool


def _erased(now: Snapshot, user: int, rows: int) -> tuple[list[Tweet], list[tuple[int, int]]]:
    """Return what a step erases: the newest tweets, then edges."""
    tweets = [now.tweets[id_] for id_ in now.tweets_of(user, rows)]
    edges = sorted(edge for edge in now.follows if user in edge)
    return tweets, edges[: rows - len(tweets)]


def _erasure_locks(now: Snapshot, user: int, rows: int) -> Locks:
    tweets, edges = _erased(now, user, rows)
    rows_locked = [("tweet", tweet.id) for tweet in tweets]
    return set(), {("user", user), *rows_locked, *(("edge", *edge) for edge in edges)}


def _erasure(now: Snapshot, user: int, rows: int) -> _Erasure:
    tweets, edges = _erased(now, user, rows)
    erased = {tweet.id for tweet in tweets}
    events = [Event(Kind.DELETED, user, tweet) for tweet in tweets]
    events += [Event(Kind.UNFOLLOWED, followed, follower=follower) for follower, followed in edges]

    def change(then: Snapshot) -> Snapshot:
        return replace(
            then,
            tweets={id_: tweet for id_, tweet in then.tweets.items() if id_ not in erased},
            follows=then.follows - set(edges),
        )

    after = change(now)
    is_left = after.tweets_of(user) or any(user in edge for edge in after.follows)
    return _Erasure(change, events, is_last=not is_left)


def _edge_locks(edge: tuple[int, int]) -> Locks:
    return {("user", user) for user in edge}, {("edge", *edge)}
