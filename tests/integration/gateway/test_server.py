"""HTTP requests to a fake service, and the HTTP responses made from its answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from fanfare.common.v1.common_pb2 import Tweet, User
from fanfare.read.v1 import read_pb2
from fanfare.write.v1 import write_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from core import errors
from core.runtime.process import StartError
from gateway.cors import Cors

from .fakes import Client, Fake, Held

DEADLINE_SECONDS = 10.0


async def _chunks(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def test_a_command(commands: Client, write: Fake) -> None:
    """POST /users answers 201; ids are strings, and empty fields are printed."""
    write.answers["CreateUser"] = write_pb2.CreateUserResponse(
        user=User(id=1, username="alice", created_at=Timestamp(seconds=1)), consistency_token="t1"
    )
    reply = await commands.send(
        "POST", "/users", {"username": "alice", "email": "a@example.com", "password": "pass123"}
    )
    assert (reply.status, reply.headers["Fanfare-Consistency-Token"]) == (201, "t1")
    assert reply.json == {
        "user": {"id": "1", "username": "alice", "bio": "", "created_at": "1970-01-01T00:00:01Z"},
        "consistency_token": "t1",
    }
    assert write.requests == [
        write_pb2.CreateUserRequest(username="alice", email="a@example.com", password="pass123")
    ]


async def test_a_query(queries: Client, read: Fake) -> None:
    """GET /timeline/1?limit=10&offset=0 fills the request from path and query."""
    read.answers["GetHomeTimeline"] = read_pb2.GetHomeTimelineResponse(
        tweets=[Tweet(id=2**60, user_id=2, content="Grüße 👋")]
    )
    reply = await queries.send("GET", "/timeline/1?limit=10&offset=0&page_token=a%2Bb")
    assert reply.status == 200
    assert reply.json == {
        "tweets": [{"id": str(2**60), "user_id": "2", "content": "Grüße 👋"}],
        "next_page_token": "",
    }
    assert read.requests == [read_pb2.GetHomeTimelineRequest(user_id=1, limit=10, page_token="a+b")]


@pytest.mark.parametrize("verb", ["PUT", "PATCH"])
async def test_a_path_and_a_body_fill_one_request(commands: Client, write: Fake, verb: str) -> None:
    """The body may repeat the id from the path; an optional field sent as "" counts as set."""
    reply = await commands.send(verb, "/users/1", {"user_id": "1", "bio": ""})
    assert reply.status == 200
    assert write.requests == [write_pb2.UpdateUserRequest(user_id=1, bio="")]


async def test_a_deletion_has_no_body(commands: Client, write: Fake) -> None:
    """DELETE answers 204 without a body; the consistency token is in a header."""
    write.answers["UnfollowUser"] = write_pb2.UnfollowUserResponse(consistency_token="t2")
    reply = await commands.send("DELETE", "/followers/1/2")
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["Fanfare-Consistency-Token"] == "t2"
    assert "Content-Type" not in reply.headers
    assert write.requests == [write_pb2.UnfollowUserRequest(follower_id=1, followed_id=2)]


async def test_an_empty_token_is_no_header(commands: Client) -> None:
    """Without a consistency token there is no header for it."""
    reply = await commands.send("POST", "/followers", {"follower_id": 1, "followed_id": 2})
    assert reply.status == 200
    assert "Fanfare-Consistency-Token" not in reply.headers


async def test_a_name_beside_an_id(queries: Client, read: Fake) -> None:
    """/users/username/alice, /users/7 and /users:batchGet are paths of three methods."""
    for path in ("/users/username/alice", "/users/7", "/users:batchGet?user_ids=1&user_ids=2"):
        assert (await queries.send("GET", path)).status == 200
    assert read.requests == [
        read_pb2.GetUserByUsernameRequest(username="alice"),
        read_pb2.GetUserRequest(user_id=7),
        read_pb2.BatchGetUsersRequest(user_ids=[1, 2]),
    ]


async def test_the_largest_batches_pass(commands: Client, write: Fake, queries: Client) -> None:
    """The batches are 1,000 tweets of 280 escaped emoji, and a query of 1,000 long ids."""
    item = {"user_id": str(2**62), "content": "👋" * 280}
    reply = await commands.send("POST", "/tweets:batchCreate", {"requests": [item] * 1000})
    assert reply.status == 200
    assert len(write.requests[0].requests) == 1000  # type: ignore[attr-defined]
    query = "&".join(f"tweet_ids={2**62 + i}" for i in range(1000))
    assert (await queries.send("GET", f"/tweets:batchGet?{query}")).status == 200


async def test_a_large_answer_passes(queries: Client, read: Fake) -> None:
    """An answer may be larger than grpc's default limit of 4 MiB."""
    tweets = [Tweet(content="x" * 5000)] * 1000
    read.answers["BatchGetTweets"] = read_pb2.BatchGetTweetsResponse(tweets=tweets)
    reply = await queries.send("POST", "/tweets:batchGet", {"tweet_ids": [1]})
    assert len(reply.json["tweets"]) == 1000


async def test_head_is_get_without_the_body(queries: Client) -> None:
    """HEAD answers like GET, without the body."""
    reply = await queries.send("HEAD", "/users/1")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Content-Length"] == "3"


@pytest.mark.parametrize("path", ["/users/1", "/users/x", "/nosuch", "/health"])
async def test_an_answer_ends_its_line(queries: Client, path: str) -> None:
    """Otherwise a shell shows the answers of several curls, and its prompt, on one line."""
    reply = await queries.send("GET", path)
    assert reply.body.endswith(b"}\n")
    assert reply.body.count(b"\n") == 1


@pytest.mark.parametrize(
    ("verb", "path", "allow"),
    [
        ("DELETE", "/users/1", "GET, HEAD"),
        ("PUT", "/users:batchGet", "GET, HEAD, POST"),
        ("OPTIONS", "/timeline/1", "GET, HEAD"),
        ("POST", "/health", "GET, HEAD"),
    ],
)
async def test_another_method_is_405(queries: Client, verb: str, path: str, allow: str) -> None:
    """The answer is 405, and Allow lists every method of the path."""
    reply = await queries.send(verb, path)
    assert (reply.status, reply.headers["Allow"]) == (405, allow)
    assert (reply.json["code"], reply.reason) == (12, "METHOD_NOT_FOUND")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/tweet/1",
        "/users/",
        "/users/1/",
        "//users/1",
        "/users/%FF/x",
        "/users/{user_id}",
        "/users/1/2",
    ],
)
async def test_another_path_is_404(queries: Client, path: str) -> None:
    """Only the paths of the contract exist, and none of them ends with a slash."""
    reply = await queries.send("GET", path)
    assert (reply.status, reply.json["code"], reply.reason) == (404, 5, "PATH_NOT_FOUND")


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
async def test_a_body_that_is_not_json_is_415(commands: Client, content_type: str) -> None:
    """The content type of a body must be JSON."""
    reply = await commands.send("POST", "/users", b"{}", **{"Content-Type": content_type})
    assert (reply.status, reply.json["code"]) == (415, 3)
    assert reply.reason == "UNSUPPORTED_MEDIA_TYPE"


async def test_a_charset_is_fine(commands: Client) -> None:
    """Parameters of the content type are ignored."""
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    body = b'{"follower_id":1,"followed_id":2}'
    assert (await commands.send("POST", "/followers", body, **headers)).status == 200


async def test_a_compressed_body_is_415(commands: Client) -> None:
    """The body is not decompressed, since a small one could become a large one."""
    reply = await commands.send("POST", "/tweets", b"{}", **{"Content-Encoding": "deflate"})
    assert (reply.status, reply.reason) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    ("verb", "path", "body", "reason"),
    [
        ("POST", "/users", None, "MALFORMED_REQUEST"),
        ("POST", "/users", b'{"username": ', "MALFORMED_REQUEST"),
        ("POST", "/users", {"nickname": "x"}, "MALFORMED_REQUEST"),
        ("POST", "/users", {"username": "no spaces please"}, "INVALID_REQUEST"),
        ("PUT", "/users/1", {"userId": 2, "bio": "x"}, "INVALID_REQUEST"),
        ("PUT", "/users/1?bio=x", {"bio": "x"}, "MALFORMED_REQUEST"),
        ("PUT", "/users/one", {"bio": "x"}, "INVALID_REQUEST"),
        ("DELETE", "/users/1", {}, "MALFORMED_REQUEST"),
        ("DELETE", "/users/1?force=1", None, "MALFORMED_REQUEST"),
    ],
)
async def test_an_invalid_request_is_400(
    commands: Client, verb: str, path: str, body: object, reason: str
) -> None:
    """Malformed requests and broken rules are refused in the same form."""
    reply = await commands.send(verb, path, body)
    assert (reply.status, reply.json["code"], reply.reason) == (400, 3, reason)


async def test_an_error_of_the_service_keeps_its_details(queries: Client, read: Fake) -> None:
    """Code, message, ErrorInfo and BadRequest are sent as google.rpc.Status in JSON."""
    read.answers["GetUser"] = errors.UserNotFoundError(7)
    reply = await queries.send("GET", "/users/7")
    assert (reply.status, reply.reason) == (404, "USER_NOT_FOUND")
    assert (reply.json["code"], reply.json["message"]) == (5, "there is no user 7")
    assert reply.json["details"][0]["metadata"] == {"user_id": "7"}
    reply = await queries.send("GET", "/users/0")
    assert (reply.status, reply.reason) == (400, "INVALID_REQUEST")
    assert reply.json["details"][1]["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert reply.json["details"][1]["field_violations"][0]["field"] == "user_id"


async def test_too_much_work_is_429_with_retry_after(queries: Client, read: Fake) -> None:
    """RetryInfo becomes Retry-After in whole seconds, rounded up."""
    overloaded = errors.OverloadedError()
    overloaded.retry_after = 1.2
    read.answers["GetUser"] = overloaded
    reply = await queries.send("GET", "/users/7")
    assert (reply.status, reply.headers["Retry-After"], reply.reason) == (429, "2", "OVERLOADED")


async def test_a_bug_in_the_service_keeps_its_secrets(
    queries: Client, read: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets only INTERNAL; the log has the method and the traceback."""
    read.answers["GetUser"] = ValueError("the password is hunter2")
    reply = await queries.send("GET", "/users/7")
    assert (reply.status, reply.json["code"], reply.reason) == (500, 13, "INTERNAL")
    assert b"hunter2" not in reply.body
    assert "call failed method=fanfare.read.v1.ReadService.GetUser" in caplog.text
    assert "Traceback" in caplog.text


async def test_a_bug_in_the_shim_keeps_its_secrets(
    queries: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets only INTERNAL; the log has the traceback."""
    monkeypatch.setattr("gateway.endpoint.json_body", None)
    reply = await queries.send("GET", "/users/7")
    assert (reply.status, reply.json["code"], reply.reason) == (500, 13, "INTERNAL")
    assert "NoneType" not in reply.json["message"]
    assert "Traceback" in caplog.text


async def test_health_follows_the_service(commands: Client, write: Fake) -> None:
    """/health reports the same health as the process does over gRPC."""
    reply = await commands.send("GET", "/health")
    assert (reply.status, reply.json) == (200, {"status": "SERVING", "authentication": "off"})
    write.is_serving = False
    reply = await commands.send("GET", "/health")
    assert (reply.status, reply.json) == (503, {"status": "NOT_SERVING", "authentication": "off"})


async def test_calls_above_the_limit_are_503(
    queries: Client, read: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are refused at once; when a call ends, another is accepted."""
    monkeypatch.setattr("core.rpc.calls.MAX_CALLS", 1)
    held = read.answers["GetUser"] = Held(read_pb2.GetUserResponse())
    async with asyncio.timeout(DEADLINE_SECONDS):
        first = asyncio.create_task(queries.send("GET", "/users/7"))
        await held.entered.wait()
        reply = await queries.send("GET", "/users/8")
        assert (reply.status, reply.reason) == (503, "TOO_MANY_CALLS")
        assert reply.headers["Retry-After"] == "1"
        held.release.set()
        assert (await first).status == 200
        assert (await queries.send("GET", "/users/9")).status == 200


async def test_a_slow_service_is_504(
    queries: Client, read: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that takes longer than CALL_SECONDS is cancelled."""
    monkeypatch.setattr("gateway.deadlines.CALL_SECONDS", 0.05)
    held = read.answers["GetUser"] = Held(read_pb2.GetUserResponse())
    async with asyncio.timeout(DEADLINE_SECONDS):
        reply = await queries.send("GET", "/users/7")
        await held.cancelled.wait()
    assert (reply.status, reply.json["code"], reply.reason) == (504, 4, "DEADLINE_EXCEEDED")


async def test_a_client_that_leaves_cancels_its_call(queries: Client, read: Fake) -> None:
    """The method is cancelled when its HTTP client disconnects."""
    held = read.answers["GetUser"] = Held(read_pb2.GetUserResponse())
    _, writer = await asyncio.open_connection("127.0.0.1", queries.port)
    writer.write(b"GET /users/7 HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(DEADLINE_SECONDS):
        await held.entered.wait()
        writer.close()
        await held.cancelled.wait()


async def test_cross_origin_pages(queries: Client) -> None:
    """Pages of a configured origin may call and read the consistency token; others may not."""
    ours = await queries.send("GET", "/users/1", Origin="https://app.example")
    assert ours.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "Fanfare-Consistency-Token" in ours.headers["Access-Control-Expose-Headers"]
    preflight = await queries.send("OPTIONS", "/users:batchGet", Origin="https://app.example")
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST"
    other = await queries.send("GET", "/users/1", Origin="https://evil.example")
    assert (other.status, other.headers["Vary"]) == (200, "Origin")
    assert "Access-Control-Allow-Origin" not in other.headers
    assert (await queries.send("OPTIONS", "/users", Origin="https://evil.example")).status == 405
    assert Cors("").headers("https://app.example") == {}
    with pytest.raises(StartError, match="FANFARE_CORS_ORIGINS"):
        Cors("https://app.example/path")


async def test_a_taken_port_is_one_sentence(queries: Client, read: Fake) -> None:
    """The sentence names the port and what to do; the server can be drained all the same."""
    server = read.rest_server(Cors(""), queries.port)
    with pytest.raises(StartError, match=rf"{queries.port}: .* listens on the port; stop it, or"):
        await server.start()
    await server.drain()


async def test_a_body_on_get_is_400(queries: Client) -> None:
    """GET takes its request only from path and query."""
    reply = await queries.send("GET", "/users/1", {"user_id": 1})
    assert (reply.status, reply.reason) == (400, "MALFORMED_REQUEST")
    assert (await queries.send("GET", "/users/1", _chunks())).status == 200


async def test_int64_is_taken_in_every_form_of_proto3_json(commands: Client, write: Fake) -> None:
    """A number, a string, and a number with an exponent are the same id."""
    for text in ("1000", '"1000"', "1e3"):
        body = f'{{"user_id": {text}, "content": "x"}}'
        assert (await commands.send("POST", "/tweets", body)).status == 201
        reply = await commands.send("PUT", "/users/1000", f'{{"user_id": {text}, "bio": "x"}}')
        assert reply.status == 200, json.dumps(reply.json)
    assert {getattr(request, "user_id") for request in write.requests} == {1000}  # noqa: B009
