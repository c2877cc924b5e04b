"""Commands that run while servers are restored, each remembered with what shows that it happened.

A *thing* is a tweet, a user or a follow edge. Each command brings one thing into a state that it
never was in before: a tweet's content and a user's bio name the command. So whatever is in the
database later tells which commands it has, and which it has lost.
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
PAUSE_SECONDS = 0.02
# Half of the commands create tweets; the others are drawn by these weights.
KINDS = {"tweet": 8, "edit": 5, "delete": 2, "follow": 2, "unfollow": 2, "user": 1, "bio": 1}
# What a server that is being restored may cost a call.
EXCUSED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND)
FOLLOWED = "followed"

# ("tweet", id), ("user", id) or ("edge", follower, followed).
Thing = tuple[Any, ...]


@dataclass(frozen=True)
class Deed:
    """A command that was acknowledged."""

    kind: str
    thing: Thing
    place: int
    """Where the state that it made stands among the states of the thing."""
    token: str
    acknowledged_at: float


class Traffic:
    """Random commands and reads, one after another, from two threads."""

    def __init__(self, clients: Fanfare, seed: int) -> None:
        """Prepare the traffic; begin() populates the system, running() lets it flow."""
        self.clients = clients
        self.users: list[int] = []
        """Those who act; a user of a future that was lost is among them no more."""
        self.names: list[str] = []
        """The names of all users who were created, or perhaps were."""
        self.states: dict[Thing, list[str | None]] = defaultdict(list)
        """The states that each thing was to have, in order, the last one perhaps in vain."""
        self.deeds: list[Deed] = []
        self.surprises: Counter[str] = Counter()
        """Failures that no restore excuses."""
        self.only_tweets = threading.Event()
        """Set while what commands before the restore did must not be done over."""
        self._gone: set[Thing] = set()
        self._chance = random.Random(seed)
        self._numbers = itertools.count(1)
        self._stopping = threading.Event()

    def begin(self, users: int, tweets: int) -> None:
        """Create users, the first of them followed by all, and tweets, acknowledged each."""
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
        """Let commands and reads flow."""
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
        """Wait until so many more commands were acknowledged."""
        wanted = len(self.deeds) + count
        wait_until(lambda: len(self.deeds) >= wanted, "commands are acknowledged again", 180)

    def command(self, kind: str, *about: int) -> Deed | None:
        """Send a command; return what it did if it was acknowledged."""
        request, thing, state = self._request(kind, *about)
        place = self._add(thing, state) if thing is not None else 0
        method = getattr(self.clients.write, type(request).__name__.removesuffix("Request"))
        try:
            answer = method(request, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            self._failed(kind, error)
            return None
        if isinstance(answer, w.CreateTweetResponse):
            thing = ("tweet", answer.tweet.id)
            place = self._add(thing, state)
        elif isinstance(answer, w.CreateUserResponse):
            thing = ("user", answer.user.id)
            place = self._add(thing, state)
            self.users.append(answer.user.id)
        assert thing is not None
        deed = Deed(kind, thing, place, answer.consistency_token, time.monotonic())
        self.deeds.append(deed)
        return deed

    def forget(self, things: Iterable[Thing]) -> None:
        """Send no more commands about things of a future that was lost."""
        self._gone |= set(things)
        self.users = [user for user in self.users if ("user", user) not in self._gone]

    def known(self, kind: str) -> list[Thing]:
        """Return all things of a kind there ever were."""
        return [thing for thing in list(self.states) if thing[0] == kind]

    # What there is ----------------------------------------------------------------------------

    def in_database(self) -> dict[Thing, str | None]:
        """Return the states of all things, as SQL has them."""
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
        """Return whether a thing in this state has what the command did."""
        return state in self.states[deed.thing][deed.place :]

    def read(self, deed: Deed) -> str | None:
        """Return the state of a command's thing, by a read with the command's token."""
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
        self._gone.discard(thing)  # a new user may have the id of a lost one
        self.states[thing].append(state)
        return len(self.states[thing]) - 1

    def _write(self) -> None:
        kinds, weights = list(KINDS), list(KINDS.values())
        while not self._stopping.wait(PAUSE_SECONDS):
            kind = self._chance.choices(kinds, weights)[0]
            if not self.users:
                kind = "user"
            elif self.only_tweets.is_set():
                kind = "tweet"
            self.command(kind)

    def _read(self) -> None:
        chance = random.Random(0)
        while not self._stopping.wait(PAUSE_SECONDS):
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
        """Return a command, the thing that it is about if that is there, and its new state."""
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
        """Return a tweet that was not deleted."""
        tweets = [thing for thing in self.known("tweet") if thing not in self._gone]
        there = [thing for thing in tweets if self.states[thing][-1] is not None]
        return self._chance.choice(there) if there else None

    def _edge(self, kind: str, *about: int) -> Thing | None:
        """Return the edge of these users, or one that was not followed or unfollowed before."""
        if about:
            return ("edge", *about)
        if kind == "unfollow":
            edges = [edge for edge in self.known("edge") if edge not in self._gone]
            free = [edge for edge in edges if self.states[edge] == [FOLLOWED]]
        else:
            edges = [("edge", *pair) for pair in itertools.permutations(self.users, 2)]
            free = [edge for edge in edges if edge in self._gone or edge not in self.states]
        return self._chance.choice(free) if free else None
