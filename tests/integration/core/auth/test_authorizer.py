"""The access rules of the contract: every RPC is called by every kind of caller.

The calls are built from the descriptors, so a new RPC needs no line here, and an RPC without an
access rule fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from fanfare.auth.v1 import access_pb2
from fanfare.write.v1 import write_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message
from helpers.authentication import authorizer
from helpers.contract_calls import (
    METHODS,
    OWNER,
    SERVICES,
    STRANGER,
    TWEET,
    VALUES,
    Accounts,
    bearer,
    fill,
    status_of,
)
from helpers.grpc_server import Silent, serving

from core.auth.access_tokens import Caller, Signer
from core.auth.authorizer import rule_of
from core.auth.call_context import Context
from core.rpc.validation import violations
from core.runtime.callers import CALLER

OK = grpc.StatusCode.OK
DENIED = grpc.StatusCode.PERMISSION_DENIED
UNKNOWN = grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture(scope="module")
async def channel(folder: Path) -> AsyncIterator[grpc.aio.Channel]:
    """Yield a channel to a server of all services."""
    checking = authorizer(folder, accounts=Accounts())
    async with (
        serving(*SERVICES, authorizer=checking) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield channel


def _expected(rule: access_pb2.AccessRule, caller: str) -> grpc.StatusCode:
    if rule.public:
        return OK
    allowed = {
        "owner": not rule.nobody,
        "stranger": False,
        "service": rule.services,
        "admin": rule.admins,
    }
    if caller not in allowed:
        return UNKNOWN
    return OK if allowed[caller] else DENIED


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.full_name))
async def test_every_method_for_every_caller(
    channel: grpc.aio.Channel,
    known: dict[str, list[tuple[str, str]]],
    broken: dict[str, list[tuple[str, str]]],
    method: MethodDescriptor,
) -> None:
    """Callers whom the rule does not name are refused; an invalid token counts as no token."""
    request = fill(method.input_type, VALUES)
    assert violations(request) == []
    rule = rule_of(method)
    callers = {"nobody": [], **known, **broken}
    got = {
        caller: await status_of(channel, method, request, metadata)
        for caller, metadata in callers.items()
    }
    assert got == {caller: _expected(rule, caller) for caller in callers}


async def test_all_in_a_batch_must_be_the_callers(
    channel: grpc.aio.Channel, known: dict[str, list[tuple[str, str]]]
) -> None:
    """A batch is refused as a whole if one of its items is another user's."""
    batch = write_pb2.BatchCreateTweetsRequest(
        requests=[
            write_pb2.CreateTweetRequest(user_id=user, content="x") for user in (OWNER, STRANGER)
        ]
    )
    method = SERVICES[0].methods_by_name["BatchCreateTweets"]
    assert await status_of(channel, method, batch, known["owner"]) is DENIED
    assert await status_of(channel, method, batch, known["service"]) is OK


async def test_statements_wait_in_the_turn_of_the_user(
    folder: Path, known: dict[str, list[tuple[str, str]]]
) -> None:
    """While a method runs, its task knows the address, and the user if there is one."""
    callers: list[tuple[str, ...]] = []

    class Noting(Silent):
        async def _answer(self, request: Message, context: Context) -> bytes:
            callers.append(CALLER.get())
            return await super()._answer(request, context)

    get_user = SERVICES[1].methods_by_name["GetUser"]
    request = fill(get_user.input_type, VALUES)
    async with (
        serving(SERVICES[1], servicer=Noting(), authorizer=authorizer(folder)) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        for metadata in (known["owner"], known["stranger"], known["service"], []):
            assert await status_of(channel, get_user, request, metadata) is OK
    address = "127.0.0.1"
    assert callers == [
        (address, caller) for caller in (str(OWNER), str(STRANGER), "a-service", address)
    ]


async def test_a_former_administrators_token_is_a_users(
    channel: grpc.aio.Channel, folder: Path
) -> None:
    """Before an administrator's deletion, Postgres is asked whether the user still is one."""
    token, _ = Signer(folder).sign(Caller(STRANGER, admin=True))
    for name, request in (
        ("DeleteTweet", write_pb2.DeleteTweetRequest(tweet_id=TWEET)),
        ("DeleteUser", write_pb2.DeleteUserRequest(user_id=OWNER)),
    ):
        method = SERVICES[0].methods_by_name[name]
        assert await status_of(channel, method, request, bearer(token)) is DENIED


async def test_a_tweet_that_is_not_there_is_not_denied(
    channel: grpc.aio.Channel, known: dict[str, list[tuple[str, str]]]
) -> None:
    """Any authenticated caller reaches the method, which then answers NOT_FOUND."""
    method = SERVICES[0].methods_by_name["DeleteTweet"]
    request = write_pb2.DeleteTweetRequest(tweet_id=TWEET + 1)
    assert await status_of(channel, method, request, known["stranger"]) is OK
    assert await status_of(channel, method, request, []) is UNKNOWN


def _method(options: Callable[[Any], None]) -> MethodDescriptor:
    """Return the only method of a separate contract, with these options."""
    file = descriptor_pb2.FileDescriptorProto(name="a.proto", package="a")
    message = file.message_type.add(name="M")
    message.field.add(name="name", number=1, type=9, label=1)
    method = file.service.add(name="S").method.add(name="Do", input_type=".a.M", output_type=".a.M")
    options(method.options)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName("a.S").methods_by_name["Do"]


def _public(options: Any, **fields: Any) -> None:
    rule = access_pb2.AccessRule(public=True, **fields)
    options.Extensions[access_pb2.access].CopyFrom(rule)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (lambda _: None, "no fanfare.auth.v1.access option"),
        (lambda o: o.Extensions[access_pb2.access].SetInParent(), "which users may call"),
        (
            lambda o: setattr(o.Extensions[access_pb2.access], "public", False),
            "which users may call",
        ),
        (
            lambda o: setattr(o.Extensions[access_pb2.access], "user_field", "nothing"),
            "has no field nothing",
        ),
        (
            lambda o: setattr(o.Extensions[access_pb2.access], "user_field", "name"),
            "not an id",
        ),
        (lambda o: _public(o, items_per_call=1), "both items_field and items_per_call"),
        (lambda o: _public(o, items_field="name"), "both items_field and items_per_call"),
        (lambda o: _public(o, items_field="nothing", items_per_call=1), "has no field nothing"),
        (lambda o: _public(o, address_fields=["nothing"]), "has no field nothing"),
    ],
)
def test_a_method_without_a_usable_rule_is_refused(
    folder: Path, options: Callable[[Any], None], reason: str
) -> None:
    """A server with such a method cannot be built."""
    with pytest.raises(ValueError, match=reason):
        authorizer(folder).of(_method(options))


def test_only_get_account_answers_with_an_email_address() -> None:
    """No response of another method contains a message with an email field."""

    def leads(message: Descriptor, seen: frozenset[str]) -> bool:
        inner = [field.message_type for field in message.fields if field.message_type]
        return "email" in message.fields_by_name or any(
            leads(each, seen | {each.full_name}) for each in inner if each.full_name not in seen
        )

    methods = [method for method in METHODS if leads(method.output_type, frozenset())]
    assert [method.name for method in methods] == ["GetAccount"]
