"""Traces: one shows a command on its way to Redis, and the read after it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator

import pytest
from fanfare.read.v1 import read_pb2 as r
from fanfare.read.v1.read_pb2_grpc import ReadServiceStub
from fanfare.write.v1 import write_pb2 as w
from helpers.fanfare import Fanfare
from helpers.kafka_topic import read_records
from helpers.otlp import Collector, ReceivedSpan, collecting
from helpers.waiting import wait_until

from core.rpc.tls import open_channel
from core.settings import GrpcServerKind
from ops.system import System

TEXT = "whispered-text"
CREATE = "fanfare.write.v1.WriteService/CreateTweet"
READ = "fanfare.read.v1.ReadService/GetHomeTimeline"


@pytest.fixture(scope="module")
def collector() -> Iterator[tuple[Collector, str]]:
    """Return a collector and its endpoint."""
    with collecting() as both:
        yield both


@pytest.fixture(scope="module")
def spans(collector: tuple[Collector, str]) -> Collector:
    """Return the collector that the system exports to."""
    return collector[0]


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System], collector: tuple[Collector, str]) -> Iterator[Fanfare]:
    """Return clients of a system that traces what its callers ask for, and logs JSON."""
    system = start_system(
        FANFARE_TRACES=collector[1],
        FANFARE_TRACES_SAMPLE="0",
        FANFARE_LOG_FORMAT="json",
        FANFARE_ACCESS_LOG="on",
    )
    with Fanfare(system) as clients:
        yield clients


def _traceparent(*, sampled: bool = True) -> tuple[str, str]:
    """Return a new trace id, and the traceparent of a caller's span in it."""
    trace_id = secrets.token_hex(16)
    return trace_id, f"00-{trace_id}-{secrets.token_hex(8)}-0{int(sampled)}"


def _by_grpc(own: Fanfare, author: int, traceparent: str) -> int:
    request = w.CreateTweetRequest(user_id=author, content=TEXT)
    answer = own.write.CreateTweet(request, metadata=(("traceparent", traceparent),))
    return answer.tweet.id


def _by_rest(own: Fanfare, author: int, traceparent: str) -> int:
    body = {"user_id": author, "content": TEXT}
    headers = {"traceparent": traceparent}
    status, answer, _ = own.rest("POST", "/tweets", body, headers=headers)
    assert status == 201
    return int(answer["tweet"]["id"])


@pytest.mark.parametrize(
    ("create", "name"),
    [(_by_grpc, CREATE), (_by_rest, "POST /tweets")],
    ids=["grpc", "rest"],
)
def test_one_trace_from_a_command_to_redis_and_to_a_read(
    own: Fanfare, spans: Collector, create: Callable[[Fanfare, int, str], int], name: str
) -> None:
    """Each span continues the one that led to it, across the processes and Kafka."""
    author, reader = own.cached_pair()
    trace_id, traceparent = _traceparent()
    tweet = create(own, author.id, traceparent)
    own.wait_drained()

    def child_of(parent: str, name: str) -> ReceivedSpan:
        def matches(span: ReceivedSpan) -> bool:
            return (span.parent_id, span.name) == (parent, name)

        return spans.wait_for(matches, f"a span {name}", trace_id)

    call = child_of(traceparent.split("-")[2], name)
    commit = child_of(call.span_id, "commit")
    publish = child_of(commit.span_id, "publish fanfare.feed.v1")
    fan_out = child_of(publish.span_id, "fan out")
    redis = child_of(fan_out.span_id, "redis")
    assert fan_out.links == {publish.span_id}
    assert [span.service for span in (call, commit, publish, fan_out, redis)] == [
        *["fanfare-write"] * 3,
        *["fanfare-worker"] * 2,
    ]
    assert [span.kind for span in (call, commit, publish, fan_out, redis)] == [
        *("SERVER", "INTERNAL", "PRODUCER", "CONSUMER", "CLIENT")
    ]
    assert call.began <= commit.began <= publish.began <= fan_out.began <= redis.began
    assert redis.ended <= fan_out.ended

    request = r.GetHomeTimelineRequest(user_id=reader.id)
    page = own.read.GetHomeTimeline(request, metadata=(("traceparent", redis.traceparent),))
    assert page.tweets[0].id == tweet
    read = child_of(redis.span_id, READ)
    assert read.service == "fanfare-read"
    child_of(read.span_id, "redis")


def test_what_a_span_says(own: Fanfare, spans: Collector) -> None:
    """The result of the call and its size, but no text, no secret and no address."""
    author = own.user()
    trace_id, traceparent = _traceparent()
    _by_grpc(own, author.id, traceparent)
    call = spans.wait_for(lambda span: span.kind == "SERVER", "the call", trace_id)
    assert call.attributes.pop("fanfare.request.bytes") == len(
        w.CreateTweetRequest(user_id=author.id, content=TEXT).SerializeToString()
    )
    assert call.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": CREATE,
        "rpc.response.status_code": "OK",
        "fanfare.caller": "unknown",
    }
    own.wait_drained()
    spans.wait_for(lambda span: span.name == "fan out", "the last span", trace_id)
    assert TEXT not in repr(spans.spans())
    assert author.username not in repr(spans.spans())


def test_a_failed_call_has_a_failed_span(own: Fanfare, spans: Collector) -> None:
    """It has the code and the reason, and not the message, which may quote the request."""
    trace_id, traceparent = _traceparent()
    status, _, _ = own.rest(
        "POST",
        "/tweets",
        {"user_id": 1 << 60, "content": TEXT},
        headers={"traceparent": traceparent},
    )
    call = spans.wait_for(lambda span: span.kind == "SERVER", "the call", trace_id)
    assert call.is_error
    assert call.attributes["http.response.status_code"] == status == 404
    assert call.attributes["error.type"] == "USER_NOT_FOUND"


def test_the_traceparent_in_the_outbox_and_in_kafka(own: Fanfare, spans: Collector) -> None:
    """Only the events of sampled commands have one; the record has that of its publisher."""
    author, reader = own.user(), own.user()
    trace_id, traceparent = _traceparent()
    for traceparent_ in (traceparent, _traceparent(sampled=False)[1]):
        own.write.FollowUser(
            w.FollowUserRequest(follower_id=reader.id, followed_id=author.id),
            metadata=(("traceparent", traceparent_),),
        )
        own.unfollow(reader, author)
    own.wait_sent()
    commit = spans.wait_for(lambda span: span.name == "commit", "the commit", trace_id)
    publish = spans.wait_for(lambda span: span.kind == "PRODUCER", "the publisher", trace_id)
    rows = own.sql("SELECT id, traceparent FROM outbox WHERE key = %s ORDER BY id", author.id)
    assert [row[1] for row in rows] == [commit.traceparent, None, None, None]
    records = [dict(record.headers() or ()) for record in read_records(own.settings)]
    headers = {record["ce_id"]: record for record in records}
    (first, *others) = [headers[str(row[0]).encode()] for row in rows]
    assert first["traceparent"] == publish.traceparent.encode()
    assert first["ce_traceparent"] == commit.traceparent.encode()
    assert not any("traceparent" in name for other in others for name in other)


def test_the_native_server_traces_too(own: Fanfare, spans: Collector) -> None:
    """It hands over metadata in its own way."""
    service, target = own.system.another_read_service(1, grpc_server=GrpcServerKind.NATIVE)
    trace_id, traceparent = _traceparent()
    reader = own.user()
    try:
        with open_channel(target, None) as channel:
            ReadServiceStub(channel).GetHomeTimeline(
                r.GetHomeTimelineRequest(user_id=reader.id),
                metadata=(("traceparent", traceparent),),
            )
    finally:
        service.stop()
    # The process has stopped, so it has exported its spans.
    assert [span.name for span in spans.spans(trace_id) if span.kind == "SERVER"] == [READ]


def test_logs_are_json(own: Fanfare) -> None:
    """Each line has its event; the access log has a line for each call, with its trace id."""
    author = own.user()
    trace_id, traceparent = _traceparent()
    _by_grpc(own, author.id, traceparent)
    logs = own.settings.state_dir / "logs"

    def lines_of(name: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in (logs / f"{name}.log").read_text().splitlines()]

    def has_line() -> bool:
        return any(line.get("trace_id") == trace_id for line in lines_of("write"))

    wait_until(has_line, "the line of the call")
    (call,) = (line for line in lines_of("write") if line.get("trace_id") == trace_id)
    assert (call["event"], call["name"], call["code"]) == ("call", CREATE, "OK")
    assert (call["transport"], call["caller"]) == ("grpc", "unknown")
    for name in ("write", "read", "worker"):
        first, *others = lines_of(name)
        starts = [line for line in (first, *others) if line["event"] == "process_starts"]
        assert [line["program"] for line in starts] == [name]
        assert starts[0]["log_format"] == "json"
        assert all(line["event"] for line in others)
    everything = "".join(path.read_text() for path in logs.glob("*.log"))
    assert TEXT not in everything
    assert _passwords(own).isdisjoint(everything.split())
    assert not any(password in everything for password in _passwords(own))


def _passwords(own: Fanfare) -> set[str]:
    """Return the passwords of the servers that the system uses."""
    settings = own.settings
    return {
        part.rpartition("@")[0].rpartition(":")[2]
        for part in (settings.primary_dsn(), settings.redis_address())
        if "@" in part
    }
