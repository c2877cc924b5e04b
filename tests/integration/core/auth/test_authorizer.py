"""The access rules of the contract: every RPC is called by every kind of caller.

The calls are built from the descriptors, so a new RPC needs no line here, and an RPC without an
access rule fails.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fanfare.auth.v1 import access_pb2, auth_pb2
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from helpers.authentication import authorizer
from helpers.grpc_server import Silent, Unlimited, serving

from core.auth.access_tokens import Caller, Signer, create_key
from core.auth.authorizer import rule_of
from core.auth.call_context import Context
from core.rpc.validation import violations
from core.runtime.callers import CALLER

SERVICES = [
    write_pb2.DESCRIPTOR.services_by_name["WriteService"],
    read_pb2.DESCRIPTOR.services_by_name["ReadService"],
    auth_pb2.DESCRIPTOR.services_by_name["AuthService"],
]
METHODS = [method for service in SERVICES for method in service.methods]
OWNER, STRANGER, ADMIN, TWEET = 7, 9, 1, 70
VALUES: dict[str, Any] = {
    "user_id": OWNER,
    "follower_id": OWNER,
    "followed_id": STRANGER,
    "tweet_id": TWEET,
    "user_ids": [OWNER, OWNER],
    "tweet_ids": [TWEET],
    "username": "alice",
    "email": "alice@example.com",
    "password": "pass123",
    "current_password": "pass123",
    "content": "hello",
    "refresh_token": "x",
}
OK = grpc.StatusCode.OK
DENIED = grpc.StatusCode.PERMISSION_DENIED
UNKNOWN = grpc.StatusCode.UNAUTHENTICATED


class _Accounts:
    """A fake Postgres primary that knows one tweet and one administrator."""

    async def tweet_author(self, tweet_id: int) -> int | None:
        return OWNER if tweet_id == TWEET else None

    async def is_admin(self, user_id: int) -> bool:
        return user_id == ADMIN


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one key."""
    path = tmp_path_factory.mktemp("keys")
    create_key(path)
    return path


@pytest.fixture(scope="module")
async def channel(folder: Path) -> AsyncIterator[grpc.aio.Channel]:
    """Yield a channel to a server of all services."""
    checking = authorizer(folder, accounts=_Accounts())
    async with (
        serving(*SERVICES, authorizer=checking) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield channel


def _bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


def _unsigned(token: str, **header: object) -> str:
    """Return the token with this header instead of its own, and the same claims and signature."""
    _, claims, signature = token.split(".")
    text = json.dumps(header).encode()
    return f"{base64.urlsafe_b64encode(text).rstrip(b'=').decode()}.{claims}.{signature}"


@pytest.fixture(scope="module")
def broken(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Return metadata that must not authenticate anybody, although it resembles the owner's."""
    private = next(folder.glob("*.private.pem")).read_bytes()
    public = next(folder.glob("*.public.pem")).read_bytes()
    kid = next(folder.glob("*.private.pem")).name.removesuffix(".private.pem")
    token, _ = Signer(folder).sign(Caller(OWNER, admin=True))
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": "fanfare",
        "aud": "fanfare",
        "sub": str(OWNER),
        "jti": "1",
        "iat": now,
        "exp": now + 60,
        "admin": True,
    }
    others = Ed25519PrivateKey.generate()

    def signed(key: Any = private, kid: Any = kid, **changed: Any) -> list[tuple[str, str]]:
        left = {name: value for name, value in (claims | changed).items() if value is not None}
        return _bearer(jwt.encode(left, key, algorithm="EdDSA", headers={"kid": kid}))

    hmac_key = jwt.utils.base64url_encode(public).decode()
    cases = {
        "expired": signed(iat=now - 700, exp=now - 100),
        "forged": signed(key=others),
        "wrong kid": signed(kid="another"),
        "kid as a path": signed(kid=f"../{folder.name}/{kid}"),
        "wrong audience": signed(aud="another"),
        "audience among others": signed(aud=["fanfare", "another"]),
        "wrong issuer": signed(iss="another"),
        "from the future": signed(iat=now + 600, exp=now + 700),
        "no subject": signed(sub=None),
        "subject is no user": signed(sub="alice"),
        "alg=none": _bearer(_unsigned(token, alg="none", kid=kid).rpartition(".")[0] + "."),
        "alg=none, signed": _bearer(_unsigned(token, alg="none", kid=kid)),
        "alg=HS256": _bearer(jwt.encode(claims, hmac_key, algorithm="HS256", headers={"kid": kid})),
        "claims changed": _bearer(token[:60] + ("A" if token[60] != "A" else "B") + token[61:]),
        "no signature": _bearer(token.rpartition(".")[0]),
        "garbage": _bearer("a.b.c"),
        "empty": _bearer(""),
        "too long": _bearer(token + "A" * 4000),
        "two": _bearer(token) * 2,
        "another scheme": [("authorization", f"Basic {token}")],
        "no scheme": [("authorization", token)],
        "elsewhere": [("x-authorization", f"Bearer {token}")],
    }
    for name in ("iss", "aud", "exp", "iat", "jti"):
        cases[f"no {name}"] = signed(**{name: None})
    return cases


@pytest.fixture(scope="module")
def known(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Return the metadata of callers with valid access tokens."""
    sign = Signer(folder).sign
    return {
        "owner": _bearer(sign(Caller(OWNER))[0]),
        "stranger": _bearer(sign(Caller(STRANGER))[0]),
        "admin": _bearer(sign(Caller(ADMIN, admin=True))[0]),
        "service": _bearer(sign(Caller(service="a-service"))[0]),
    }


def _fill(descriptor: Descriptor, values: dict[str, Any]) -> Message:
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.message_type is not None and field.is_repeated:
            getattr(message, field.name).append(_fill(field.message_type, values))
        elif field.name in values and field.is_repeated:
            getattr(message, field.name).extend(values[field.name])
        elif field.name in values:
            setattr(message, field.name, values[field.name])
    return message


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


async def _code(
    channel: grpc.aio.Channel, method: MethodDescriptor, request: Message, metadata: Any
) -> grpc.StatusCode:
    call: Any = channel.unary_unary(f"/{method.containing_service.full_name}/{method.name}")
    answer = call(request.SerializeToString(), metadata=metadata, timeout=20)
    code: grpc.StatusCode = await answer.code()
    return code


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.full_name))
async def test_every_method_for_every_caller(
    channel: grpc.aio.Channel,
    known: dict[str, list[tuple[str, str]]],
    broken: dict[str, list[tuple[str, str]]],
    method: MethodDescriptor,
) -> None:
    """Callers whom the rule does not name are refused; an invalid token counts as no token."""
    request = _fill(method.input_type, VALUES)
    assert violations(request) == []
    rule = rule_of(method)
    callers = {"nobody": [], **known, **broken}
    got = {
        caller: await _code(channel, method, request, metadata)
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
    assert await _code(channel, method, batch, known["owner"]) is DENIED
    assert await _code(channel, method, batch, known["service"]) is OK


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
    checking = authorizer(folder, limits=limits, accounts=_Accounts())
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
            await _code(channel, method, _fill(method.input_type, VALUES), _bearer(token))
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
            assert await _code(channel, method, request, _bearer(token)) is OK
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
    valid = _fill(method.input_type, VALUES).SerializeToString()
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
        assert await _code(channel, method, request_, _bearer(token)) is OK
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
    request = _fill(get_user.input_type, VALUES)
    async with (
        serving(SERVICES[1], servicer=Noting(), authorizer=authorizer(folder)) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        for metadata in (known["owner"], known["stranger"], known["service"], []):
            assert await _code(channel, get_user, request, metadata) is OK
    assert callers == [
        (ADDRESS, caller) for caller in (str(OWNER), str(STRANGER), "a-service", ADDRESS)
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
        assert await _code(channel, method, request, _bearer(token)) is DENIED


async def test_a_tweet_that_is_not_there_is_not_denied(
    channel: grpc.aio.Channel, known: dict[str, list[tuple[str, str]]]
) -> None:
    """Any authenticated caller reaches the method, which then answers NOT_FOUND."""
    method = SERVICES[0].methods_by_name["DeleteTweet"]
    request = write_pb2.DeleteTweetRequest(tweet_id=TWEET + 1)
    assert await _code(channel, method, request, known["stranger"]) is OK
    assert await _code(channel, method, request, []) is UNKNOWN


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
