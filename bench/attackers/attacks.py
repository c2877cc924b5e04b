"""The attacks. Each makes legal calls until its process is ended.

Those of a round come from one address, with the tokens of accounts that anybody can create. Most
make the calls that the limits of the contract allow; the calls that are refused are part of the
attack. Each round has another address, and other accounts where the limit of a user is low, so that
no round finds the limits used up by the one before.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from multiprocessing.synchronize import Event
from typing import Any

import grpc
from fanfare.read.v1 import read_pb2 as r
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from fanfare.write.v1 import write_pb2 as w
from fanfare.write.v1.write_pb2_grpc import WriteServiceStub

from bench.attackers.people import PASSWORD, People
from core.auth.addresses import FORWARDED_KEY
from core.auth.authorizer import METADATA_KEY
from core.rpc.tls import open_channel

CONNECT_SECONDS = 10.0
# What the contract allows one user per second, for methods of 1,200, 600 and 60 calls a minute.
READS = 20.0
WRITES = 10.0
UPDATES = 1.0
# How many accounts take part where one account's limit is low.
SOME_ACCOUNTS = 5
HELD_CONNECTIONS = 200
# How many connections to open per second.
CONNECTIONS = 200.0
SLOW_BODIES = 200
LARGE_BODY_BYTES = 4 * 1024 * 1024

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Target:
    """The attacked system, and the accounts to attack it with."""

    read: str
    """host:port of the read service's gRPC port."""
    write: str
    """host:port of the write service's gRPC port."""
    rest_read: int
    rest_write: int
    people: People
    tokens: list[str]
    """An access token of each account."""
    doomed: int
    """The account to delete in this round."""
    doomed_token: str
    round_number: int

    @property
    def address(self) -> str:
        """Where the attack comes from."""
        return f"203.0.113.{self.round_number + 1}"

    @cached_property
    def readers(self) -> ReadServiceStub:
        """A client of the read service."""
        return ReadServiceStub(open_channel(self.read, None))

    @cached_property
    def writers(self) -> WriteServiceStub:
        """A client of the write service."""
        return WriteServiceStub(open_channel(self.write, None))


def read_wide_timeline(target: Target) -> None:
    """Read the home timeline of somebody who follows thousands of authors."""
    request = r.GetHomeTimelineRequest(user_id=target.people.accounts[0], limit=100)
    _repeat(lambda _: target.readers.GetHomeTimeline(request, metadata=_as(target)), READS)


def read_absent_tweets(target: Target) -> None:
    """Ask for a thousand tweets that do not exist, always others, without a token."""

    def call(number: int) -> None:
        ids = range(number * 1000 + 1, number * 1000 + 1001)
        request = r.BatchGetTweetsRequest(tweet_ids=ids)
        target.readers.BatchGetTweets(request, metadata=_as(target, None))

    _repeat(call, READS)


def read_deep_offsets(target: Target) -> None:
    """Read pages at the highest offset, of every list that takes one."""
    own, celebrity = target.people.accounts[0], target.people.authors[0]
    page: dict[str, Any] = {"limit": 100, "offset": 10_000}
    calls: list[Callable[[], object]] = [
        lambda: target.readers.GetHomeTimeline(
            r.GetHomeTimelineRequest(user_id=own, **page), metadata=_as(target)
        ),
        lambda: target.readers.ListFollowers(
            r.ListFollowersRequest(user_id=celebrity, **page), metadata=_as(target)
        ),
        lambda: target.readers.ListFollowing(
            r.ListFollowingRequest(user_id=own, **page), metadata=_as(target)
        ),
        lambda: target.readers.ListUsers(r.ListUsersRequest(**page), metadata=_as(target)),
        lambda: target.readers.ListUserTweets(
            r.ListUserTweetsRequest(user_id=target.doomed, **page), metadata=_as(target)
        ),
    ]
    _repeat(lambda number: calls[number % len(calls)](), READS * len(calls))


def change_passwords(target: Target) -> None:
    """Change the passwords of many accounts."""
    accounts = target.people.accounts

    def call(number: int) -> None:
        account = number % len(accounts)
        request = w.UpdateUserRequest(
            user_id=accounts[account], password=PASSWORD, current_password=PASSWORD
        )
        target.writers.UpdateUser(request, metadata=_as(target, account))

    _repeat(call, UPDATES * len(accounts), threads=16)


def create_batches(target: Target) -> None:
    """Create a thousand tweets with each call, from a few accounts."""

    def call(number: int) -> None:
        account = _some_account(target, number)
        item = w.CreateTweetRequest(user_id=target.people.accounts[account], content="x" * 280)
        request = w.BatchCreateTweetsRequest(requests=[item] * 1000)
        target.writers.BatchCreateTweets(request, metadata=_as(target, account))

    # Six a minute are allowed, at any time, so all of them at once.
    _repeat(call, None, calls=6 * SOME_ACCOUNTS)


def follow_and_unfollow(target: Target) -> None:
    """Follow and unfollow a celebrity, from a few accounts."""
    celebrity = target.people.authors[0]

    def call(number: int) -> None:
        account = _some_account(target, number)
        own = target.people.accounts[account]
        follow = w.FollowUserRequest(follower_id=own, followed_id=celebrity)
        unfollow = w.UnfollowUserRequest(follower_id=own, followed_id=celebrity)
        target.writers.FollowUser(follow, metadata=_as(target, account))
        target.writers.UnfollowUser(unfollow, metadata=_as(target, account))

    _repeat(call, WRITES * SOME_ACCOUNTS)


def delete_account(target: Target) -> None:
    """Delete an account with many tweets."""
    request = w.DeleteUserRequest(user_id=target.doomed)
    headers = _headers(target, target.doomed_token)
    _repeat(lambda _: target.writers.DeleteUser(request, metadata=headers), None, calls=1)


def send_large_bodies(target: Target) -> None:
    """Send megabytes of JSON to a path that anybody may use, on four connections."""
    body = json.dumps({"username": "x" * LARGE_BODY_BYTES}).encode()[:LARGE_BODY_BYTES]
    request = _head(target, "/sessions", len(body)) + body

    def call(_number: int) -> None:
        with _connect(target.rest_write) as connection:
            with suppress(OSError):  # the server may answer before it has read everything
                connection.sendall(request)
            connection.recv(1 << 16)

    _repeat(call, None, threads=4)


def guess_page_tokens(target: Target) -> None:
    """Send page tokens that are none, as fast as possible, without a token of a user."""

    def call(number: int) -> None:
        token = base64.urlsafe_b64encode(number.to_bytes(48, "big")).decode().rstrip("=")
        request = r.ListUserTweetsRequest(user_id=target.people.authors[0], page_token=token)
        target.readers.ListUserTweets(request, metadata=_as(target, None))

    _repeat(call, None, threads=4)


def hold_connections(target: Target) -> None:
    """Keep 200 connections to each port, and replace the oldest ones, 200 a second."""
    ports = [
        target.rest_read,
        target.rest_write,
        *(int(each.rpartition(":")[2]) for each in (target.read, target.write)),
    ]
    held: list[socket.socket] = []

    def call(number: int) -> None:
        held.append(_connect(ports[number % len(ports)]))
        if len(held) > HELD_CONNECTIONS * len(ports):
            held.pop(0).close()

    _repeat(call, CONNECTIONS, threads=1)


def send_slow_bodies(target: Target) -> None:
    """Send a byte of a body now and then, on 200 connections to each REST port."""
    held = []
    for port, path in ((target.rest_write, "/tweets"), (target.rest_read, "/users:batchGet")):
        for _ in range(SLOW_BODIES):
            connection = _connect(port)
            connection.sendall(_head(target, path, 1000))
            held.append(connection)
    _repeat(lambda number: held[number % len(held)].send(b" "), 2.0 * len(held), threads=1)


ATTACKS: dict[str, Callable[[Target], None]] = {
    "wide timeline": read_wide_timeline,
    "absent tweets": read_absent_tweets,
    "deep offsets": read_deep_offsets,
    "password changes": change_passwords,
    "batches": create_batches,
    "follow churn": follow_and_unfollow,
    "large deletion": delete_account,
    "large bodies": send_large_bodies,
    "page tokens": guess_page_tokens,
    "idle connections": hold_connections,
    "slow bodies": send_slow_bodies,
}


# The attacks that end by themselves. All others go on until their process is ended.
ENDING = {"batches", "large deletion"}


def run(name: str, target: Target, begun: Event) -> None:
    """Attack; the work of the attackers themselves has the lowest priority of the machine."""
    os.nice(19)
    begun.set()
    ATTACKS[name](target)


def _repeat(
    call: Callable[[int], object],
    per_second: float | None,
    *,
    threads: int = 8,
    calls: int | None = None,
) -> None:
    """Make calls in several threads; failures are part of the attack.

    Args:
        call: makes the call of a number.
        per_second: how many calls to start per second; None for as many as possible.
        threads: how many calls are in progress at a time, at most.
        calls: how many calls to make; None for as many as there is time for.
    """
    numbers = count()
    start = time.perf_counter()

    def work() -> None:
        for number in numbers:
            if calls is not None and number >= calls:
                return
            if per_second is not None:
                time.sleep(max(0.0, start + number / per_second - time.perf_counter()))
            with suppress(grpc.RpcError, OSError):
                call(number)

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(work) for _ in range(threads)]:
            future.result()


def _some_account(target: Target, number: int) -> int:
    """Return one of the few accounts that take part in this round."""
    before = target.round_number * SOME_ACCOUNTS
    return (before + number % SOME_ACCOUNTS) % len(target.people.accounts)


def _as(target: Target, account: int | None = 0) -> Headers:
    """Return the metadata of a call by an account; None for a call without a token."""
    return _headers(target, "" if account is None else target.tokens[account])


def _headers(target: Target, token: str) -> Headers:
    address = (FORWARDED_KEY, target.address)
    return (address, (METADATA_KEY, f"Bearer {token}")) if token else (address,)


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=CONNECT_SECONDS)


def _head(target: Target, path: str, length: int) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"X-Forwarded-For: {target.address}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()
