"""Calls of methods that answer once, over Connect, and what they share with gRPC-Web."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from fanfare.common.v1.common_pb2 import Tweet
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from helpers.grpc_server import READ

from core import errors
from core.auth.call_context import Context
from core.rpc.observed_calls import CallObserver
from core.runtime.access_log import AccessLog, CallRecord
from gateway.cors import Cors
from gateway.envelopes import envelope

from .fakes import Client, Fake, handled, rest
from .rpc_calls import (
    GET_USER,
    JSON,
    PROTO,
    READ_PATH,
    REQUEST,
    TEXT,
    USER,
    USER_JSON,
    WRITE_PATH,
    error_info,
    post,
)


async def test_a_binary_call(queries: Client, read: Fake) -> None:
    """Request and answer are serialised messages, without anything around them."""
    read.answers["GetUser"] = USER
    reply = await post(queries, GET_USER, REQUEST, PROTO, **{"Connect-Protocol-Version": "1"})
    assert (reply.status, reply.headers["Content-Type"]) == (200, PROTO)
    assert read_pb2.GetUserResponse.FromString(reply.body) == USER
    assert read.requests == [REQUEST]


@pytest.mark.parametrize("kind", [JSON, "Application/JSON; charset=utf-8"])
async def test_a_call_in_json(queries: Client, read: Fake, kind: str) -> None:
    """The JSON is that of REST, and either name of a field is understood."""
    read.answers["GetUser"] = USER
    for body in ({"user_id": str(2**60)}, {"userId": 2**60}):
        reply = await post(queries, GET_USER, body, kind)
        assert (reply.status, reply.json) == (200, USER_JSON)
    assert read.requests == [REQUEST, REQUEST]


async def test_a_command_answers_200(commands: Client, write: Fake) -> None:
    """REST has 201 and 204 for some commands, and Connect has not."""
    write.answers["CreateUser"] = write_pb2.CreateUserResponse(consistency_token="t")
    user = {"username": "alice", "email": "a@example.com", "password": "pass123"}
    reply = await post(commands, WRITE_PATH + "CreateUser", user, JSON)
    assert (reply.status, reply.json) == (200, {"consistency_token": "t"})
    reply = await post(
        commands, WRITE_PATH + "DeleteUser", write_pb2.DeleteUserRequest(user_id=1), PROTO
    )
    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize("encoding", ["json", "proto"])
async def test_a_query_by_get(queries: Client, read: Fake, encoding: str) -> None:
    """The message is in the query, as text or in base64, as a link can be."""
    read.answers["GetUser"] = USER
    if encoding == "json":
        message = "message=" + quote(json.dumps({"user_id": str(2**60)}))
    else:
        encoded = base64.urlsafe_b64encode(REQUEST.SerializeToString()).decode().rstrip("=")
        message = "base64=1&message=" + encoded
    path = f"{GET_USER}?connect=v1&encoding={encoding}&{message}&compression=identity"
    reply = await queries.send("GET", path)
    assert (reply.status, reply.headers["Content-Type"]) == (200, f"application/{encoding}")
    assert read.requests == [REQUEST]
    head = await queries.send("HEAD", path)
    assert (head.status, head.body) == (200, b"")


async def test_a_broken_query_is_an_error_of_connect(queries: Client) -> None:
    """Unknown parameters are ignored, unlike in REST. An unknown encoding is 415."""
    for query in ("encoding=json", "encoding=proto&message=%FF", "encoding=json&message={}"):
        reply = await queries.send("GET", f"{GET_USER}?{query}&x=y")
        assert (reply.status, reply.json["code"]) == (400, "invalid_argument")
    reply = await queries.send("GET", f"{GET_USER}?encoding=xml&message=1")
    assert (reply.status, reply.headers["Content-Type"]) == (415, TEXT)


async def test_only_methods_without_side_effects_take_get(
    commands: Client, queries: Client
) -> None:
    """The others are 405. Every query takes GET."""
    reply = await commands.send("GET", WRITE_PATH + "CreateTweet?encoding=json&message=%7B%7D")
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")
    assert reply.headers["Content-Type"] == TEXT
    for method in READ.methods:
        reply = await queries.send("PUT", READ_PATH + method.name)
        allowed = "POST" if method.server_streaming else "GET, HEAD, POST"
        assert (reply.status, reply.headers["Allow"]) == (405, allowed), method.name


async def test_an_error_is_json_with_its_details(queries: Client, read: Fake) -> None:
    """Also if the call is binary. The HTTP status is that of the code."""
    read.answers["GetUser"] = errors.UserNotFoundError(7)
    for kind in (PROTO, JSON):
        body: Any = REQUEST if kind == PROTO else {"user_id": 7}
        reply = await post(queries, GET_USER, body, kind)
        assert (reply.status, reply.json["code"]) == (404, "not_found")
        assert reply.json["message"] == "there is no user 7"
        info = error_info(reply.json["details"][0])
        assert (info.reason, info.metadata) == ("USER_NOT_FOUND", {"user_id": "7"})
    reply = await post(queries, GET_USER, read_pb2.GetUserRequest(), PROTO)
    assert (reply.status, reply.json["code"]) == (400, "invalid_argument")
    assert [each["type"] for each in reply.json["details"]] == [
        "google.rpc.ErrorInfo",
        "google.rpc.BadRequest",
    ]


async def test_a_busy_service_says_when_to_retry(queries: Client, read: Fake) -> None:
    """In the details for clients of Connect, and as a header for those of HTTP."""
    read.answers["GetUser"] = errors.OverloadedError()
    reply = await post(queries, GET_USER, REQUEST, PROTO)
    assert (reply.status, reply.json["code"]) == (429, "resource_exhausted")
    assert reply.headers["Retry-After"] == "1"


async def test_a_bug_keeps_its_secrets(queries: Client, read: Fake) -> None:
    """The client sees that there was one."""
    read.answers["GetUser"] = RuntimeError("secret")
    for kind in (PROTO, "application/grpc-web+proto"):
        body = REQUEST.SerializeToString()
        reply = await post(queries, GET_USER, body if kind == PROTO else envelope(body), kind)
        assert b"internal error" in reply.body
        assert b"secret" not in reply.body


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"\xff", PROTO),
        (b"{", JSON),
        (b"", JSON),
        (b'{"unknown": 1}', JSON),
        (b'{"user_id": 1.5}', JSON),
    ],
)
async def test_a_body_that_is_no_message_is_malformed(
    queries: Client, body: bytes, kind: str
) -> None:
    """As over gRPC and REST."""
    reply = await post(queries, GET_USER, body, kind)
    assert (reply.status, reply.json["code"]) == (400, "invalid_argument")
    assert error_info(reply.json["details"][0]).reason in {"MALFORMED_REQUEST", "INVALID_REQUEST"}


@pytest.mark.parametrize(
    "kind",
    ["", "image/jpeg", "application/xml", "application/connect+proto", "application/grpc"],
)
async def test_another_content_type_is_415(queries: Client, kind: str) -> None:
    """A stream of Connect is none that a method has which answers once."""
    reply = await post(queries, GET_USER, b"12345678", kind)
    assert (reply.status, reply.headers["Content-Type"]) == (415, TEXT)
    assert b"application/grpc-web-text" in reply.body


async def test_another_method_is_404(queries: Client) -> None:
    """Clients of Connect infer "unimplemented" from it, if there is no JSON of another form."""
    for path in (READ_PATH + "None", "/fanfare.none.v1.None/None"):
        reply = await post(queries, path, b"", PROTO)
        assert (reply.status, reply.headers["Content-Type"]) == (404, TEXT)
        assert path.encode() in reply.body


async def test_a_compressed_message_is_unimplemented(queries: Client) -> None:
    """The answer says which encodings there are."""
    reply = await post(queries, GET_USER, b"x", PROTO, **{"Content-Encoding": "gzip"})
    assert (reply.status, reply.json["code"]) == (501, "unimplemented")
    assert reply.headers["Accept-Encoding"] == "identity"
    assert "identity" in reply.json["message"]
    reply = await queries.send("GET", f"{GET_USER}?encoding=json&message=x&compression=br")
    assert (reply.status, reply.json["code"]) == (501, "unimplemented")


async def test_another_version_of_connect_is_refused(queries: Client) -> None:
    """There is one version, which need not be named."""
    reply = await post(queries, GET_USER, REQUEST, PROTO, **{"Connect-Protocol-Version": "2"})
    assert (reply.status, reply.json["code"]) == (400, "invalid_argument")
    reply = await queries.send("GET", f"{GET_USER}?connect=v2&encoding=json&message=%7B%7D")
    assert reply.status == 400


async def test_calls_are_counted_by_their_path_and_outcome(queries: Client, read: Fake) -> None:
    """An error over gRPC-Web counts as one, though its response is 200."""
    before = handled()
    read.answers["GetUser"] = errors.UserNotFoundError(7)
    await post(queries, GET_USER, REQUEST, PROTO)
    await post(queries, GET_USER, envelope(REQUEST.SerializeToString()), "application/grpc-web")
    await queries.send("GET", f"{GET_USER}?encoding=json&message=%7B%22user_id%22%3A7%7D")
    await post(queries, READ_PATH + "GetTweet", {"tweet_id": 1}, JSON)
    await post(queries, READ_PATH + "Other", b"", PROTO)
    assert handled() - before == {
        ("POST", GET_USER, "404"): 2,
        ("GET", GET_USER, "404"): 1,
        ("POST", READ_PATH + "GetTweet", "200"): 1,
        ("other", "other", "404"): 1,
    }


async def test_pages_of_other_origins_may_call(queries: Client) -> None:
    """The preflight allows what the clients of Connect and gRPC-Web send."""
    origin = {"Origin": "https://app.example"}
    reply = await queries.send("OPTIONS", GET_USER, **origin)
    assert reply.status == 204
    assert reply.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST"
    allowed = set(reply.headers["Access-Control-Allow-Headers"].lower().split(", "))
    assert allowed >= {
        "authorization",
        "content-type",
        "connect-protocol-version",
        "connect-timeout-ms",
        "grpc-timeout",
        "x-grpc-web",
        "x-user-agent",
    }
    reply = await post(queries, GET_USER, REQUEST, PROTO, **origin)
    assert reply.headers["Access-Control-Allow-Origin"] == "https://app.example"


async def test_a_method_may_answer_with_bytes(session: aiohttp.ClientSession) -> None:
    """The read service does so for pages that it has serialised."""
    tweets = read_pb2.GetHomeTimelineResponse(tweets=[Tweet(id=1, content="a")])

    async def answer(_request: Any, _context: Context) -> Any:
        return tweets.SerializeToString()

    read = Fake(READ)
    read.answers["GetHomeTimeline"] = answer
    async with rest(read, Cors("")) as port:
        client = Client(session, port)
        request = read_pb2.GetHomeTimelineRequest(user_id=1)
        path = READ_PATH + "GetHomeTimeline"
        reply = await post(client, path, request, PROTO)
        assert reply.body == tweets.SerializeToString()
        reply = await post(client, path, {"user_id": 1}, JSON)
        assert reply.json["tweets"] == [{"id": "1", "content": "a", "user_id": "0"}]


class _Log(AccessLog):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[CallRecord] = []

    def add(self, call: CallRecord) -> None:
        self.calls.append(call)


async def test_calls_are_observed(read: Fake, session: aiohttp.ClientSession) -> None:
    """The access log names the verb and the path, and the HTTP status of the code."""
    log = _Log()
    read.handlers.observer = CallObserver(None, log)
    read.answers["GetTweet"] = errors.TweetNotFoundError(7)
    async with rest(read, Cors("")) as port:
        client = Client(session, port)
        await post(client, GET_USER, REQUEST, PROTO)
        tweet = envelope(read_pb2.GetTweetRequest(tweet_id=7).SerializeToString())
        await post(client, READ_PATH + "GetTweet", tweet, "application/grpc-web")
        await post(client, READ_PATH + "WatchHomeTimeline", envelope(b""), "application/grpc-web")
        await post(client, GET_USER, b"x" * 100_000, PROTO)
    assert [(call.name, call.code, call.reason) for call in log.calls] == [
        (f"POST {GET_USER}", "200", ""),
        (f"POST {READ_PATH}GetTweet", "404", "TWEET_NOT_FOUND"),
        (f"POST {READ_PATH}WatchHomeTimeline", "400", "INVALID_REQUEST"),
        (f"POST {GET_USER}", "400", "BODY_TOO_LARGE"),
    ]
