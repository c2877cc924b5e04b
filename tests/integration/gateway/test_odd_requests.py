"""Requests that no honest client sends; no answer to them may be a server error."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import uuid
from pathlib import Path

import pytest
from fanfare.common.v1.common_pb2 import User
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from helpers.grpc_server import WRITE
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import InvalidRequestError, MalformedRequestError
from core.rpc.tls import Certificates, client_context
from gateway.cors import Cors
from gateway.requests import RequestReader
from gateway.router import Router
from gateway.routes import routes
from ops.certificates import Authority

from .fakes import Client, Fake, rest

DEADLINE_SECONDS = 10.0
READERS = [RequestReader(route) for route in routes(WRITE)]
PATH = {"user_id": "1", "tweet_id": "1", "follower_id": "1", "followed_id": "2"}
NAMES = st.sampled_from(["user_id", "userId", "content", "username", "bio", "requests"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(NAMES | st.text(st.characters()), inner),
)

ODD_BODIES = [
    b"[]", b"null", b"1", b'""', b"{", b"\xff\xfe", b"\xef\xbb\xbf{}", b"\0", b"NaN",
    b'{"user_id": NaN}', b'{"user_id": 1e400}', b'{"user_id": -Infinity}', b'{"user_id": 1.5}',
    b'{"user_id": true}', b'{"user_id": [1]}', b'{"user_id": {}}', b'{"user_id": "x"}',
    b'{"user_id": 9223372036854775808}', b'{"user_id": ' + b"9" * 10_000 + b"}",
    b'{"user_id": "' + b"9" * 10_000 + b'"}', b'{"user_id": 1, "user_id": 1}',
    b'{"user_id": 1, "userId": 1}', b'{"content": 5}', b'{"content": "\\ud800"}',
    b'{"content": "\\u0000"}', b'{"\\ud800": 1}', b'{"\xff": 1}', b'{"content": {"a": 1}}',
    b'{"[a.b]": 1}', b'{"requests": 1}', b"[" * 100_000, b'{"a":' * 20_000, b'{"a": "\n"}',
]  # fmt: skip


@pytest.mark.parametrize("body", ODD_BODIES, ids=lambda body: repr(body[:30]))
@pytest.mark.parametrize("path", ["/tweets", "/tweets:batchCreate"])
async def test_odd_bodies_are_400(commands: Client, path: str, body: bytes) -> None:
    """The answer is a short 400, in the same form as every error."""
    reply = await commands.send("POST", path, body)
    assert (reply.status, reply.json["code"]) == (400, 3)
    assert reply.reason in {"MALFORMED_REQUEST", "INVALID_REQUEST"}
    assert len(reply.body) < 2000


def _reader(verb: str, path: str) -> RequestReader:
    return next(
        reader
        for reader, route in zip(READERS, routes(WRITE), strict=True)
        if (route.verb, route.path) == (verb, path)
    )


@pytest.mark.parametrize(("left", "right"), [(b"[", b"]"), (b'{"requests": ', b"}")])
def test_nesting_of_every_depth_is_refused(left: bytes, right: bytes) -> None:
    """At every depth the error is a MalformedRequestError; above 32 it says that this is too deep.

    This includes depths that only one of the two parsers, json and protobuf, can parse.
    """
    reader = _reader("POST", "/tweets:batchCreate")
    for depth in (*range(3, 1100), 100_000):
        body = b'{"requests": ' + left * (depth - 1) + b"1" + right * (depth - 1) + b"}"
        with pytest.raises(MalformedRequestError) as error:
            reader.read({}, [], body)
        assert ("deeper than 32 levels" in str(error.value)) == (depth > 32), depth


@pytest.mark.parametrize("character", [",", '"', "\\", "{"])
def test_the_largest_batch_is_read_whatever_its_texts_hold(character: str) -> None:
    """A batch of 1,000 tweets is read even if all their 280 characters are JSON syntax."""
    item = {"user_id": str(2**62), "content": character * 280, "request_id": str(uuid.UUID(int=0))}
    body = json.dumps({"requests": [item] * 1000}).encode()
    message = _reader("POST", "/tweets:batchCreate").read({}, [], body)
    assert isinstance(message, write_pb2.BatchCreateTweetsRequest)
    assert {request.content for request in message.requests} == {item["content"]}


@pytest.mark.parametrize(
    "body",
    [
        b'{"requests": [' + b",".join([b"{}"] * 20_000) + b"]}",
        b'{"requests": [' + b",".join([b"1"] * 2_000_000) + b"]}",
        b'{"requests": [' + b",".join([b'","'] * 20_000) + b"]}",
        b'{"requests": [' + b",".join([b'""'] * 300_000) + b"]}",
    ],
    ids=["objects", "numbers", "texts", "many texts"],
)
def test_a_body_of_too_many_values_is_not_parsed(
    monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    """Parsing such a body would block the interpreter for all other calls of the process."""
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(MalformedRequestError, match="more than 10000 values"):
        _reader("POST", "/tweets:batchCreate").read({}, [], body)


ODD_TARGETS = [
    "/users/%2B1", "/users/+1", "/users/1_0", "/users/%201", "/users/%D9%A1", "/users/1e3",
    "/users/1.0", "/users/0x1", "/users/9223372036854775808", "/users/" + "9" * 2000,
    "/users/%00", "/users/%FF", "/users/%ED%A0%80", "/users/-", "/users/1%2F2",
    "/users/username/%FF", "/users/username/a%00b", "/users/username/%2F", "/users/true",
    "/users?limit=", "/users?limit", "/users?limit=x", "/users?limit=1&limit=2",
    "/users?limit=2147483648", "/users?limit=%2B1", "/users?limit=+1", "/users?limit=1.0",
    "/users?Limit=1", "/users?pageToken=x", "/users?page=1", "/users?=1", "/users?%FF=1",
    "/users?a[]=1", "/users/1?user_id=1",
    "/users:batchGet?user_ids=1,2", "/users:batchGet?user_ids=", "/users:batchGet?user_ids[]=1",
]  # fmt: skip


@pytest.mark.parametrize("target", ODD_TARGETS, ids=lambda target: repr(target[:40]))
async def test_odd_targets_are_400(queries: Client, target: str) -> None:
    """A path or query that does not fit the request message is refused with the reason."""
    reply = await queries.send("GET", target)
    assert (reply.status, reply.json["code"]) == (400, 3), reply.body
    assert len(reply.body) < 2000


async def _raw(port: int, request: bytes) -> bytes:
    """Send bytes; return everything until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await reader.read()
    finally:
        writer.close()


async def test_bytes_that_are_not_utf8_in_the_target(queries: Client) -> None:
    """HTTP allows only ASCII in the path and the query, so other bytes are answered with 400."""
    for target in (b"/users/username/\xff", b"/users?page_token=\xff", b"/users?\xff=1"):
        request = b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert (await _raw(queries.port, request)).split()[1] == b"400"


@pytest.mark.parametrize(
    "headers", [b"X: " + b"a" * 9000, b"\r\n".join(b"X%d: a" % n for n in range(200))]
)
async def test_too_many_and_too_long_headers_are_400(queries: Client, headers: bytes) -> None:
    """Such headers are refused before the request is read."""
    request = b"GET /users/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers
    answer = await _raw(queries.port, request + b"\r\n\r\n")
    assert answer.split()[1] == b"400"


@pytest.mark.parametrize("headers", [1, 100])
async def test_more_authorization_than_grpc_takes_is_401(queries: Client, headers: int) -> None:
    """This holds for one long header and for many short ones, since no token is that long."""
    line = b"Authorization: Bearer " + b"a" * (4000 if headers == 1 else 200) + b"\r\n"
    request = b"GET /users/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + line * headers
    answer = await _raw(queries.port, request + b"\r\n")
    assert answer.split()[1] == b"401"


@pytest.mark.parametrize("start", [b"", b"GET /users/1 HTTP/1.1\r\nHost:"])
async def test_a_connection_without_a_request_is_closed(
    read: Fake, cors: Cors, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    """A client that sends nothing, or half of a request, cannot hold its connection for ever."""
    monkeypatch.setattr("gateway.server.IDLE_SECONDS", 0.05)
    async with rest(read, cors) as port:
        assert await _raw(port, start) == b""


async def test_one_connection_too_many_is_told_so(
    queries: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It gets 503; open connections go on, and when one closes, a new one is accepted."""
    monkeypatch.setattr("gateway.listener.MAX_CONNECTIONS", 1)
    request = b"GET /users/1 HTTP/1.1\r\nHost: x\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", queries.port)
    async with asyncio.timeout(DEADLINE_SECONDS):
        for _ in range(2):
            writer.write(request)
            assert (await reader.readuntil(b"\r\n\r\n{}")).split()[1] == b"200"
            answers = [await _raw(queries.port, request) for _ in range(2)]
            for answer in answers:
                head, _, body = answer.partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 503 ")
                assert b"\r\nRetry-After: " in head
                assert b"\r\nX-Content-Type-Options: nosniff" in head
                assert json.loads(body)["details"][0]["reason"] == "TOO_MANY_CALLS"
        writer.close()
        await writer.wait_closed()
        while b" 200 " not in await _raw(
            queries.port, request.replace(b"x", b"x\r\nConnection: close")
        ):
            pass
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


async def test_handshakes_are_bounded_too(
    read: Fake, cors: Cors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that connects and does not speak TLS counts as a connection, until a timeout."""
    monkeypatch.setattr("gateway.listener.MAX_CONNECTIONS", 3)
    monkeypatch.setattr("gateway.listener.HANDSHAKE_SECONDS", 60.0)
    Authority().issue(tmp_path, "fanfare")
    tls = Certificates(tmp_path).http_context()
    async with asyncio.timeout(DEADLINE_SECONDS), rest(read, cors, tls) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert await _raw(port, b"") == b""
        for _, writer in silent:
            writer.close()
        context = client_context(tmp_path)
        while True:
            try:
                served, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
                break
            except ConnectionError:
                pass  # the silent connections still count
        writer.write(b"GET /users/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await served.readline()).split()[1] == b"200"
        monkeypatch.setattr("gateway.listener.HANDSHAKE_SECONDS", 0.05)
        # The server closes this connection when its handshake has taken too long.
        assert await _raw(port, b"") == b""
        writer.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux closes such connections")
async def test_a_client_that_does_not_read_is_let_go(
    read: Fake, cors: Cors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server closes the client's connection, and discards its answer."""
    monkeypatch.setattr("gateway.listener.MAX_CONNECTIONS", 1)
    monkeypatch.setattr("gateway.listener.UNREAD_MILLISECONDS", 100)
    request = b"GET /users/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    read.answers["GetUser"] = read_pb2.GetUserResponse(user=User(bio="x" * 8_000_000))
    async with asyncio.timeout(DEADLINE_SECONDS), rest(read, cors) as port:
        with socket.create_connection(("127.0.0.1", port)) as silent:
            silent.sendall(request)
            while not (await _raw(port, request)).startswith(b"HTTP/1.1 503 "):
                pass  # the silent connection has not been accepted yet
            while not (await _raw(port, request)).startswith(b"HTTP/1.1 200 "):
                pass  # the silent connection has not been closed yet


@pytest.mark.parametrize(
    ("target", "header", "status"),
    [
        ("http://xn--a/", "", 404),
        ("http://xn--a/users/1", "", 404),
        ("/" * 65_000, "", 404),
        ("/users/1/" + "../" * 20_000, "", 404),
        ("/users/1", "Expect: \xff\r\n", 200),
        ("/users/1", "Expect: the best\r\n", 200),
    ],
    ids=lambda value: repr(value)[:24],
)
async def test_odd_messages_are_answered(
    queries: Client, monkeypatch: pytest.MonkeyPatch, target: str, header: str, status: int
) -> None:
    """This includes messages on which aiohttp fails. No path that is far too long is routed."""
    find = Router.find

    def find_short(self: Router[object], verb: str, path: str) -> object:
        assert len(path) <= 2048
        return find(self, verb, path)

    monkeypatch.setattr(Router, "find", find_short)
    request = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n"
    answer = await _raw(queries.port, request.encode("latin-1"))
    assert answer.split()[1] == str(status).encode()
    assert (b"PATH_NOT_FOUND" in answer) == (status == 404)


ODD_KINDS = [
    "application/json" + ";" * 8000,
    'application/json; a="' + '"' * 8000,
    "application/json; a*" + "9" * 5000 + "=2",
    "application/json;a*²=c",
    "application/json; a=" + "(" * 8000,
    " Application/JSON ;charset=utf-8",
]


@pytest.mark.parametrize("kind", ODD_KINDS, ids=lambda kind: repr(kind[:24]))
async def test_parameters_of_a_content_type_are_not_looked_at(
    commands: Client, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Python's parser takes a second for some parameters, and fails on others."""
    monkeypatch.setattr("email.message.Message.get_params", None)
    body = b'{"username": "alice", "email": "a@example.com", "password": "pass123"}'
    head = f"POST /users HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    assert (await _raw(commands.port, head.encode() + body)).split()[1] == b"201"


@pytest.mark.parametrize("name", ["user_ids", "userIds"])
async def test_a_list_that_no_method_takes_is_not_read(
    queries: Client, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Reading a million items would take protobuf seconds, before the caller is authenticated."""
    assert (await queries.send("POST", "/users:batchGet", {name: [*range(1, 1001)]})).status == 200
    monkeypatch.setattr("google.protobuf.json_format.ParseDict", None)
    reply = await queries.send("POST", "/users:batchGet", {name: [*range(1, 1002)]})
    assert (reply.status, reply.reason) == (400, "INVALID_REQUEST")
    assert b"user_ids" in reply.body


@pytest.mark.parametrize(
    "rest", [b"Transfer-Encoding: chunked\r\n\r\n9\r\n{", b"Content-Length: 9\r\n\r\n{"]
)
async def test_a_body_that_never_ends_is_400(
    commands: Client, monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    """A client that stalls cannot hold its request open for ever."""
    monkeypatch.setattr("gateway.bodies.BODY_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", commands.port)
    head = b"POST /users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    writer.write(head + rest)
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert (await reader.readline()).split()[1] == b"400"
        assert b"MALFORMED_REQUEST" in await reader.readuntil(b"}]}")
    writer.close()


@given(body=st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_surprises_a_reader(body: bytes) -> None:
    """For any body, a reader returns the request or says what is wrong with it."""
    for reader in READERS:
        try:
            message = reader.read(PATH, [], body)
        except (MalformedRequestError, InvalidRequestError) as error:
            str(error).encode()
        else:
            message.SerializeToString()


@example(name="\ud800", text="\ud800")
@given(name=st.text(st.characters()) | NAMES, text=st.text(st.characters()))
def test_no_path_or_query_surprises_a_reader(name: str, text: str) -> None:
    """For any text in path and query, a reader returns the request or says what is wrong."""
    for reader in READERS:
        try:
            reader.read(dict.fromkeys(PATH, text), [(name, text)], b"{}")
        except (MalformedRequestError, InvalidRequestError) as error:
            str(error).encode()


def test_a_reader_of_numbers_takes_plain_decimals_only() -> None:
    """An id consists of digits, with an optional minus, and fits into 64 bits."""
    reader = _reader("DELETE", "/users/{user_id}")
    for text in ("1", "-1", "0", str(2**63 - 1), str(-(2**63))):
        assert reader.read({"user_id": text}, [], b"") == write_pb2.DeleteUserRequest(
            user_id=int(text)
        )
    for text in (
        "",
        "+1",
        "1_0",
        " 1",
        "1 ",
        "\u0661",
        "1e3",
        str(2**63),
        str(-(2**63) - 1),
        "1\n",
    ):
        with pytest.raises(
            InvalidRequestError, match="user_id: must be a decimal number of 64 bits"
        ):
            reader.read({"user_id": text}, [], b"")
