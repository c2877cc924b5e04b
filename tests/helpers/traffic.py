"""Traffic for restore drills: random commands, and a record of what each of them changed.

A *thing* is a tweet, a user or a follow edge. Each command brings one thing into a state that the
thing never had before, since contents and bios name the command. So the state of a thing in the
database tells which commands the database has and which it has lost.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from fanfare.read.v1 import read_pb2 as r
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.grpc_client import reason
from helpers.leaks import SECRET
from helpers.waiting import wait_until

CALL_SECONDS = 60.0
COMMAND_PAUSE_SECONDS = 0.005
READ_PAUSE_SECONDS = 0.02
# Half of the commands create tweets; the others are drawn by these weights.
KINDS = {"tweet": 8, "edit": 5, "delete": 2, "follow": 2, "unfollow": 2, "user": 1, "bio": 1}
# Errors that calls may get while a server is restored.
EXCUSED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND)
FOLLOWED = "followed"

# ("tweet", id), ("user", id) or ("edge", follower, followed).
Thing = tuple[Any, ...]


@dataclass(frozen=True)
class Deed:
    """A command that was acknowledged, and the state that it brought a thing into."""

    kind: str
    thing: Thing
    index: int
    """The index of this state in Traffic.states."""
    token: str
    acknowledged_at: float


class Traffic:
    """Random commands from one thread, and random reads from another."""

    def __init__(self, clients: Fanfare, seed: int) -> None:
        """Prepare the traffic: begin() creates users and tweets, running() runs it."""
        self.clients = clients
        self.users: list[int] = []
        """The users that commands may be about; those that a restore has lost are removed."""
        self.names: list[str] = []
        """The names of all users whom a command created, whether it was acknowledged or not."""
        self.states: dict[Thing, list[str | None]] = defaultdict(list)
        """The states of each thing, in order; the command for the last one may have failed."""
        self.deeds: list[Deed] = []
        self.surprises: Counter[str] = Counter()
        """Errors that a restore does not excuse, and how often they occurred."""
        self.only_tweets = threading.Event()
        """Set during a restore: commands must not change things whose loss is to be found out."""
        self._gone: set[Thing] = set()
        self._chance = random.Random(seed)
        self._numbers = itertools.count(1)
        self._stopping = threading.Event()

    def begin(self, users: int, tweets: int) -> None:
        """Create users, all of whom follow the first, and tweets."""
        for _ in range(users):
            self.command("user")
        for follower in self.users:
            chosen = {self.users[0], *self._chance.sample(self.users, 4)} - {follower}
            for followed in sorted(chosen):
                self.command("follow", follower, followed)
        for _ in range(tweets):
            self.command("tweet")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run commands and reads during the body of the `with` statement."""
        self._stopping.clear()
        threads = [threading.Thread(target=run) for run in (self._write, self._read)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()

    def wait_for_more(self, count: int) -> None:
        """Wait until `count` more commands have been acknowledged."""
        wanted = len(self.deeds) + count
        wait_until(
            lambda: len(self.deeds) >= wanted, f"{count} more commands are acknowledged", 180
        )

    def command(self, kind: str, *about: int) -> Deed | None:
        """Send a command; return what it did, None if it failed."""
        request, thing, state = self._request(kind, *about)
        index = self._add(thing, state) if thing is not None else 0
        method = getattr(self.clients.write, type(request).__name__.removesuffix("Request"))
        try:
            answer = method(request, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            self._failed(kind, error)
            return None
        if isinstance(answer, w.CreateTweetResponse):
            thing = ("tweet", answer.tweet.id)
            index = self._add(thing, state)
        elif isinstance(answer, w.CreateUserResponse):
            thing = ("user", answer.user.id)
            index = self._add(thing, state)
            self.users.append(answer.user.id)
        assert thing is not None
        deed = Deed(kind, thing, index, answer.consistency_token, time.monotonic())
        self.deeds.append(deed)
        return deed

    def forget(self, things: Iterable[Thing]) -> None:
        """Send no more commands about things that are lost."""
        self._gone |= set(things)
        self.users = [user for user in self.users if ("user", user) not in self._gone]

    def known(self, kind: str) -> list[Thing]:
        """Return all things of a kind, lost ones too."""
        return [thing for thing in list(self.states) if thing[0] == kind]

    # What is in the database -------------------------------------------------------------------

    def in_database(self) -> dict[Thing, str | None]:
        """Return the current state of each thing, None if it does not exist."""
        tweets, users, edges = (
            [thing[1:] for thing in self.known(kind)] for kind in ("tweet", "user", "edge")
        )
        found: dict[Thing, str | None] = dict.fromkeys(list(self.states))
        sql = self.clients.sql
        for row in sql("SELECT id, content FROM tweets WHERE id = ANY(%s)", [t[0] for t in tweets]):
            found["tweet", row[0]] = row[1]
        for row in sql("SELECT id, bio FROM users WHERE id = ANY(%s)", [u[0] for u in users]):
            found["user", row[0]] = row[1]
        for row in sql(
            "SELECT follower_id, followed_id FROM follows WHERE follower_id = ANY(%s)",
            [edge[0] for edge in edges],
        ):
            found["edge", row[0], row[1]] = FOLLOWED
        return found

    def done(self, deed: Deed, state: str | None) -> bool:
        """Return whether the state is that of the command or of a later one."""
        return state in self.states[deed.thing][deed.index :]

    def read(self, deed: Deed) -> str | None:
        """Return the state of a command's thing, read with the command's token."""
        read, (kind, *ids) = self.clients.read, deed.thing
        token = {"consistency_token": deed.token}
        try:
            if kind == "tweet":
                tweet = r.GetTweetRequest(tweet_id=ids[0], **token)
                return read.GetTweet(tweet, timeout=CALL_SECONDS).tweet.content
            if kind == "user":
                user = r.GetUserRequest(user_id=ids[0], **token)
                return read.GetUser(user, timeout=CALL_SECONDS).user.bio
            edge = r.GetFollowRequest(follower_id=ids[0], followed_id=ids[1], **token)
            read.GetFollow(edge, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return None
            raise
        else:
            return FOLLOWED

    # Parts of the above -----------------------------------------------------------------------

    def _add(self, thing: Thing, state: str | None) -> int:
        self._gone.discard(thing)  # a new user may get the id of a lost one
        self.states[thing].append(state)
        return len(self.states[thing]) - 1

    def _write(self) -> None:
        kinds, weights = list(KINDS), list(KINDS.values())
        while not self._stopping.wait(COMMAND_PAUSE_SECONDS):
            kind = self._chance.choices(kinds, weights)[0]
            if not self.users:
                kind = "user"
            elif self.only_tweets.is_set():
                kind = "tweet"
            self.command(kind)

    def _read(self) -> None:
        chance = random.Random(0)
        while not self._stopping.wait(READ_PAUSE_SECONDS):
            users = list(self.users) or [1]
            request = r.GetHomeTimelineRequest(user_id=chance.choice(users), limit=50)
            try:
                self.clients.read.GetHomeTimeline(request, timeout=CALL_SECONDS)
            except grpc.RpcError as error:
                self._failed("read", error)

    def _failed(self, kind: str, error: grpc.RpcError) -> None:
        if error.code() not in EXCUSED:
            self.surprises[f"{kind}: {error.code().name}, {reason(error)}"] += 1

    def _request(self, kind: str, *about: int) -> tuple[Any, Thing | None, str | None]:
        """Return a command, the thing it changes (None if it creates one), and the new state."""
        state = f"{kind} {next(self._numbers)} of {uuid.uuid4().hex[:8]}"
        if kind == "user":
            name = f"r_{uuid.uuid4().hex[:20]}"
            self.names.append(name)
            new = {"username": name, "email": f"{name}@example.com", "bio": state}
            return w.CreateUserRequest(password=SECRET, **new), None, state
        if kind == "bio":
            user = self._chance.choice(self.users)
            return w.UpdateUserRequest(user_id=user, bio=state), ("user", user), state
        thing = self._tweet() if kind in {"edit", "delete"} else None
        if thing is not None:
            if kind == "edit":
                return w.UpdateTweetRequest(tweet_id=thing[1], content=state), thing, state
            return w.DeleteTweetRequest(tweet_id=thing[1]), thing, None
        edge = self._edge(kind, *about) if kind in {"follow", "unfollow"} else None
        if edge is None:
            author = about[0] if about else self._chance.choice(self.users)
            return w.CreateTweetRequest(user_id=author, content=state), None, state
        request = w.FollowUserRequest if kind == "follow" else w.UnfollowUserRequest
        made = request(follower_id=edge[1], followed_id=edge[2])
        return made, edge, FOLLOWED if kind == "follow" else None

    def _tweet(self) -> Thing | None:
        """Return a tweet that exists, None if there is none."""
        tweets = [thing for thing in self.known("tweet") if thing not in self._gone]
        there = [thing for thing in tweets if self.states[thing][-1] is not None]
        return self._chance.choice(there) if there else None

    def _edge(self, kind: str, *about: int) -> Thing | None:
        """Return the given edge, or one to which no such command was sent before."""
        if about:
            return ("edge", *about)
        if kind == "unfollow":
            edges = [edge for edge in self.known("edge") if edge not in self._gone]
            free = [edge for edge in edges if self.states[edge] == [FOLLOWED]]
        else:
            edges = [("edge", *pair) for pair in itertools.permutations(self.users, 2)]
            free = [edge for edge in edges if edge in self._gone or edge not in self.states]
        return self._chance.choice(free) if free else None
