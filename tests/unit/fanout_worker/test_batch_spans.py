"""The spans of batches."""

from __future__ import annotations

import pytest
from helpers.fakes.tracing import SAMPLED, UNSAMPLED, FakeTracer
from helpers.fakes.worker import FakeServers, FakeWorker
from helpers.fakes.worker_events import created

from core.runtime.tracing import TRACEPARENT, Kind
from fanout_worker import batch_spans

AUTHOR, READER = 1, 20
OTHER = SAMPLED.replace("b7ad6b7169203331", "00f067aa0ba902b7")


@pytest.fixture
def tracer() -> FakeTracer:
    """Return a tracer without spans."""
    return FakeTracer()


@pytest.fixture
def traced(servers: FakeServers, tracer: FakeTracer) -> FakeWorker:
    """Return a worker whose batches are traced, with partition 0."""
    worker = FakeWorker(servers, tracer)
    servers.store.followers_of = {AUTHOR: [READER]}
    worker.assign(0)
    return worker


def _send(worker: FakeWorker, tweet_id: int, traceparent: str | None = None) -> None:
    headers = [] if traceparent is None else [(TRACEPARENT, traceparent.encode())]
    worker.servers.kafka.send(0, created(tweet_id, AUTHOR), headers)


def test_a_batch_has_a_span_with_links(traced: FakeWorker, tracer: FakeTracer) -> None:
    """It continues the first trace, is linked to all, and has one within it for Redis."""
    for tweet_id, traceparent in enumerate((None, OTHER, SAMPLED, UNSAMPLED, "unusable"), 100):
        _send(traced, tweet_id, traceparent)
    traced.drain()
    traced.step()
    batch, redis = tracer.spans
    assert (batch.name, batch.kind, batch.parent) == ("fan out", Kind.CONSUMER, OTHER)
    assert batch.links == (OTHER, SAMPLED)
    assert batch.attributes["messaging.batch.message_count"] == 5
    assert (redis.name, redis.kind, redis.parent) == ("redis", Kind.CLIENT, batch.traceparent)
    assert tracer.ended() == {"fan out": "", "redis": ""}


def test_a_span_lasts_until_redis_has_the_batch(traced: FakeWorker, tracer: FakeTracer) -> None:
    """The last round is under way while the next batch is prepared."""
    _send(traced, 100, SAMPLED)
    traced.step()
    assert tracer.ended() == {"fan out": None, "redis": None}
    _send(traced, 101, OTHER)
    traced.step()
    assert [span.error for span in tracer.spans] == ["", "", None, None]
    _send(traced, 102)
    traced.step()
    traced.step()
    assert [span.error for span in tracer.spans] == [""] * 4


@pytest.mark.parametrize("traceparent", [None, UNSAMPLED, "unusable"])
def test_a_batch_without_traced_records_has_no_span(
    traced: FakeWorker, tracer: FakeTracer, traceparent: str | None
) -> None:
    """Nor has any batch where traces are off."""
    _send(traced, 100, traceparent)
    traced.drain()
    assert tracer.spans == []


def test_a_batch_that_is_thrown_away(traced: FakeWorker, tracer: FakeTracer) -> None:
    """Its spans are failed ones; the next try has its own."""
    other = FakeWorker(traced.servers)
    _send(traced, 100, SAMPLED)
    other.assign(0)
    other.drain()  # moves the checkpoints
    traced.step()
    traced.step()
    assert {span.error for span in tracer.spans} == {"abandoned"}
    traced.drain()


def test_the_links_of_a_large_batch_are_limited(
    traced: FakeWorker, tracer: FakeTracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The span says how many there were."""
    monkeypatch.setattr(batch_spans, "MAX_LINKS", 2)
    for tweet_id in range(100, 105):
        _send(traced, tweet_id, SAMPLED)
    traced.drain()
    assert len(tracer.spans[0].links) == 2
    assert tracer.spans[0].attributes["fanfare.traced_records"] == 5
