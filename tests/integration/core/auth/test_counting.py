"""What calls are counted as, and by whom, for every RPC of the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from helpers.authentication import authorizer
from helpers.contract_calls import (
    METHODS,
    OWNER,
    SERVICES,
    VALUES,
    Accounts,
    bearer,
    fill,
    status_of,
)
from helpers.grpc_server import Unlimited, serving

from core.auth.access_tokens import Caller, Signer
from core.auth.authorizer import rule_of

OK = grpc.StatusCode.OK


class Counting(Unlimited):
    """Allows every call, and notes what it was counted as."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, str, int]] = []

    async def take(self, method: str, caller: str, per_minute: int, cost: int = 1) -> None:
        """Note the call."""
        assert 0 < cost <= per_minute
        self.counted.append((method, caller, cost))


@asynccontextmanager
async def _counting(folder: Path) -> AsyncIterator[tuple[Counting, grpc.aio.Channel]]:
    limits = Counting()
    checking = authorizer(folder, limits=limits, accounts=Accounts())
    async with (
        serving(*SERVICES, authorizer=checking) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield limits, channel


ADDRESS = "127.0.0.1"
BY_ADDRESS = {"CreateUser", "CreateSession", "RefreshSession", "RevokeSession"}
ALSO_BY_ADDRESS = {
    "UpdateUser",
    "DeleteUser",
    "BatchCreateTweets",
    "BatchGetUsers",
    "BatchGetTweets",
}


async def test_what_gives_accounts_is_counted_by_address(folder: Path) -> None:
    """Methods that give out accounts or tokens count calls by address, the others by user.

    Methods that cost much also count the calls of all users of an address together.
    """
    token, _ = Signer(folder).sign(Caller(OWNER))
    async with _counting(folder) as (limits, channel):
        for method in METHODS:
            await status_of(channel, method, fill(method.input_type, VALUES), bearer(token))
    by_caller = [
        (method.name, ADDRESS if method.name in BY_ADDRESS else str(OWNER), 1)
        for method in METHODS
        if method.name != "GetPublicKeys"
    ]
    by_address = [
        (f"{method.name}:users", ADDRESS, 1) for method in METHODS if method.name in ALSO_BY_ADDRESS
    ]
    assert sorted(limits.counted) == sorted(by_caller + by_address)


async def test_only_a_new_password_counts_by_address(folder: Path) -> None:
    """Other changes of an account are counted by user alone."""
    token, _ = Signer(folder).sign(Caller(OWNER))
    method = SERVICES[0].methods_by_name["UpdateUser"]
    async with _counting(folder) as (limits, channel):
        for change in ({"bio": "hello"}, {"password": "pass456"}):
            request = write_pb2.UpdateUserRequest(user_id=OWNER, **change)
            assert await status_of(channel, method, request, bearer(token)) is OK
    assert limits.counted == [
        ("UpdateUser", str(OWNER), 1),
        ("UpdateUser", str(OWNER), 1),
        ("UpdateUser:users", ADDRESS, 1),
    ]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.full_name))
async def test_calls_that_fail_are_counted(
    folder: Path, broken: dict[str, list[tuple[str, str]]], method: MethodDescriptor
) -> None:
    """Neither an unusable request nor an unusable token makes a call free."""
    if not rule_of(method).calls_per_minute:
        return
    path = f"/{method.containing_service.full_name}/{method.name}"
    valid = fill(method.input_type, VALUES).SerializeToString()
    metadata = [[], *broken.values()]
    async with _counting(folder) as (limits, channel):
        call: Any = channel.unary_unary(path)
        for request in (b"\xff", valid):
            for each in metadata:
                await call(request, metadata=each, timeout=20).code()
    # Broken calls count by address, once each.
    assert limits.counted == [(method.name, ADDRESS, 1)] * 2 * len(metadata)


@pytest.mark.parametrize(
    ("name", "request_", "cost"),
    [
        ("BatchGetTweets", read_pb2.BatchGetTweetsRequest(tweet_ids=range(1, 51)), 1),
        ("BatchGetTweets", read_pb2.BatchGetTweetsRequest(tweet_ids=range(1, 52)), 2),
        ("BatchGetTweets", read_pb2.BatchGetTweetsRequest(tweet_ids=range(1, 1001)), 20),
        ("BatchGetUsers", read_pb2.BatchGetUsersRequest(user_ids=range(1, 1001)), 20),
        ("BatchGetHomeTimelines", read_pb2.BatchGetHomeTimelinesRequest(user_ids=[OWNER] * 21), 3),
        ("GetHomeTimeline", read_pb2.GetHomeTimelineRequest(user_id=OWNER, offset=500), 1),
        ("GetHomeTimeline", read_pb2.GetHomeTimelineRequest(user_id=OWNER, offset=10_000), 20),
        ("ListUsers", read_pb2.ListUsersRequest(offset=10_000), 20),
        ("ListUserTweets", read_pb2.ListUserTweetsRequest(user_id=OWNER, offset=10_000), 20),
        ("ListFollowers", read_pb2.ListFollowersRequest(user_id=OWNER, offset=10_000), 20),
        ("ListFollowing", read_pb2.ListFollowingRequest(user_id=OWNER, offset=10_000), 20),
        (
            "BatchCreateTweets",
            write_pb2.BatchCreateTweetsRequest(
                requests=[write_pb2.CreateTweetRequest(user_id=OWNER, content="x")] * 1000
            ),
            10,
        ),
    ],
)
async def test_a_call_counts_as_much_as_it_costs(
    folder: Path, name: str, request_: Message, cost: int
) -> None:
    """Many items, or many rows that are read to be skipped, count as several calls."""
    token, _ = Signer(folder).sign(Caller(OWNER))
    method = next(method for method in METHODS if method.name == name)
    async with _counting(folder) as (limits, channel):
        assert await status_of(channel, method, request_, bearer(token)) is OK
    assert sum(cost for method, _, cost in limits.counted if method == name) == cost
    together = [cost for method, _, cost in limits.counted if method == f"{name}:users"]
    assert together == [cost] * (name in ALSO_BY_ADDRESS)


def test_every_field_that_multiplies_the_work_is_counted() -> None:
    """A method that takes a list or an offset says how many of them are one call."""
    for method in METHODS:
        multiplies = [
            field.name
            for field in method.input_type.fields
            if field.is_repeated or field.name == "offset"
        ]
        rule = rule_of(method)
        assert [rule.items_field] == (multiplies or [""])
        if multiplies:
            # The most expensive call must be possible.
            assert rule.items_per_call * rule.calls_per_minute >= MOST[multiplies[0]]


MOST = {"offset": 10_000, "user_ids": 1000, "tweet_ids": 1000, "requests": 1000}
