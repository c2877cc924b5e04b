"""The other users: what they call, and how long their calls take."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count

import grpc
from fanfare.auth.v1 import auth_pb2 as a
from fanfare.auth.v1.auth_pb2_grpc import AuthServiceStub
from fanfare.read.v1 import read_pb2 as r
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from fanfare.write.v1 import write_pb2 as w
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub

from bench.attackers.people import PASSWORD, People
from core.auth.access_tokens import Caller, Signer
from core.auth.addresses import FORWARDED_KEY
from core.auth.authorizer import METADATA_KEY

# A call that fails counts as one that takes this long.
CALL_SECONDS = 10.0
# How many calls of one method are in progress at a time, at most.
CONCURRENT_CALLS = 16
_HUNDRED_PERCENT = 100

Headers = tuple[tuple[str, str], ...]


@dataclass
class Latencies:
    """How long the calls of one method took."""

    milliseconds: list[float] = field(default_factory=list)
    failed: int = 0

    def p95(self) -> float:
        """Return the 95th percentile."""
        ordered = sorted(self.milliseconds)
        return ordered[len(ordered) * 95 // _HUNDRED_PERCENT]


class Others:
    """Makes the calls of users who attack nobody, at a steady rate."""

    def __init__(self, people: People, read: ReadServiceStub, channel: grpc.Channel) -> None:
        """Take the users and the services.

        Args:
            people: whose calls to make.
            read: the read service.
            channel: a channel to the write service.
        """
        self._people = people
        self._read = read
        self._write = WriteServiceStub(channel)
        self._auth = AuthServiceStub(channel)
        self._tokens: list[str] = []
        self._numbers = count()
        # Calls per second of each method. None comes near a rate limit of the contract, because
        # many users share the calls, and each sign-in comes from another address.
        self._calls: dict[str, tuple[float, Callable[[int], object]]] = {
            "GetUser": (20.0, self._get_user),
            "GetHomeTimeline": (20.0, self._get_home_timeline),
            "CreateTweet": (10.0, self._create_tweet),
            "CreateSession": (4.0, self._create_session),
        }

    @property
    def methods(self) -> list[str]:
        """The names of the methods that are measured."""
        return list(self._calls)

    def sign_in(self, signer: Signer) -> None:
        """Replace the access tokens, which are valid for ten minutes."""
        self._tokens = [signer.sign(Caller(user))[0] for user in self._people.others]

    def measure(self, seconds: float) -> dict[str, Latencies]:
        """Make calls for the given time; return how long those of each method took."""
        with ThreadPoolExecutor(len(self._calls)) as pool:
            running = {
                name: pool.submit(_measure, call, per_second, seconds)
                for name, (per_second, call) in self._calls.items()
            }
            return {name: future.result() for name, future in running.items()}

    def _get_user(self, number: int) -> None:
        request = r.GetUserRequest(user_id=self._user(number))
        self._read.GetUser(request, metadata=self._headers(number), timeout=CALL_SECONDS)

    def _get_home_timeline(self, number: int) -> None:
        request = r.GetHomeTimelineRequest(user_id=self._user(number), limit=20)
        self._read.GetHomeTimeline(request, metadata=self._headers(number), timeout=CALL_SECONDS)

    def _create_tweet(self, number: int) -> None:
        request = w.CreateTweetRequest(user_id=self._user(number), content=f"tweet {number}")
        self._write.CreateTweet(request, metadata=self._headers(number), timeout=CALL_SECONDS)

    def _create_session(self, number: int) -> None:
        names = self._people.names
        request = a.CreateSessionRequest(username=names[number % len(names)], password=PASSWORD)
        unique = next(self._numbers)
        address = f"198.18.{unique >> 8 & 255}.{unique & 255}"
        headers = ((FORWARDED_KEY, address),)
        self._auth.CreateSession(request, metadata=headers, timeout=CALL_SECONDS)

    def _user(self, number: int) -> int:
        return self._people.others[number % len(self._people.others)]

    def _headers(self, number: int) -> Headers:
        token = self._tokens[number % len(self._tokens)]
        return ((METADATA_KEY, f"Bearer {token}"), (FORWARDED_KEY, "198.51.100.1"))


def _measure(call: Callable[[int], object], per_second: float, seconds: float) -> Latencies:
    """Make calls, each in a thread of its own when it is due, as if by users who do not wait.

    A call that finds no free thread took as long as its caller waited, so that a stall counts for
    all calls that were due in it.
    """
    found = Latencies()
    start = time.perf_counter()

    def make(number: int, due: float) -> None:
        try:
            call(number)
        except grpc.RpcError:
            found.failed += 1
            found.milliseconds.append(CALL_SECONDS * 1000)
        else:
            found.milliseconds.append((time.perf_counter() - due) * 1000)

    with ThreadPoolExecutor(CONCURRENT_CALLS) as pool:
        for number in range(max(1, int(seconds * per_second))):
            due = start + number / per_second
            time.sleep(max(0.0, due - time.perf_counter()))
            pool.submit(make, number, due)
    return found
