"""What the worker measures while it applies batches."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from helpers.fakes.worker import FakeServers, FakeWorker
from helpers.fakes.worker_events import created, followed
from prometheus_client import REGISTRY, Histogram

from core.feed.sharding import Partition
from core.feed.timeline_lists import home_list
from fanout_worker.fetched import RecordReader
from fanout_worker.metrics import BATCH_RECORDS, BATCH_SECONDS, worker_metrics

AUTHOR, READER = 1, 20


def _value(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


@pytest.fixture
def grown() -> Callable[[str], float]:
    """Return a function that returns by how much a series has grown since the test began."""
    names = (
        "fanfare_fanout_deliveries_total",
        "fanfare_fanout_batch_records_count",
        "fanfare_fanout_batch_records_sum",
        "fanfare_fanout_batch_seconds_count",
        "fanfare_fanout_freshness_seconds_count",
    )
    before = {name: _value(name) for name in names}
    return lambda name: _value(name) - before[name]


def test_deliveries_are_tweets_times_followers(
    worker: FakeWorker, servers: FakeServers, grown: Callable[[str], float]
) -> None:
    """Whether a timeline is cached makes no difference. A batch counts once it is in Redis."""
    servers.store.followers_of = {AUTHOR: [READER, 21, 22]}
    worker.assign(0)
    worker.cache(home_list(READER))
    servers.kafka.send(0, created(100, AUTHOR))
    servers.kafka.send(0, created(101, AUTHOR))
    worker.step()
    assert grown("fanfare_fanout_batch_seconds_count") == 0
    worker.drain()
    assert grown("fanfare_fanout_deliveries_total") == 6
    assert grown("fanfare_fanout_batch_records_count") == 1
    assert grown("fanfare_fanout_batch_records_sum") == 2
    assert grown("fanfare_fanout_batch_seconds_count") == 1


def test_the_lag_follows_the_worker(worker: FakeWorker, servers: FakeServers) -> None:
    """It grows with what Kafka has, and only the worker's own partitions have one."""
    worker.assign(0, 3)
    servers.kafka.send(0, followed(READER, AUTHOR))
    servers.kafka.send(0, created(100, AUTHOR))
    worker.group.disconnect()  # so that what the step fetches is dropped
    worker.clock.seconds += 2
    worker.step()
    assert worker.lag.events() == {0: 2, 3: 0}
    worker.drain()
    assert worker.lag.events() == {0: 0, 3: 0}
    worker.group.rebalance(3)
    worker.step()  # polls, and learns that it has lost both
    assert worker.lag.partitions == []
    worker.step()
    assert worker.lag.partitions == [3]


def test_the_commit_time_is_that_of_the_first_record() -> None:
    """It is read from a header. That of a replayed dead letter does not count."""
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    first = [("ce_time", at.isoformat().encode())]
    later = [("ce_time", at.replace(hour=13).isoformat().encode())]
    messages = [_Message(0, first), _Message(1, later)]
    read = RecordReader().read(messages, {Partition(0)}, "")
    assert read.committed_at == {0: at.timestamp()}
    for headers in ([], [("ce_time", b"noon")], [*first, ("replayed", b"feed/0/1")]):
        read = RecordReader().read([_Message(0, headers)], {Partition(0)}, "")
        assert read.committed_at == {}
        assert read.ends == {0: 1}


class _Message:
    def __init__(self, offset: int, headers: list[tuple[str, bytes]]) -> None:
        self._offset = offset
        self._headers = headers

    def topic(self) -> str:
        return "feed"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def leader_epoch(self) -> int | None:
        return None

    def key(self) -> bytes:
        return b"1"

    def value(self) -> bytes:
        return created(100, AUTHOR).SerializeToString()

    def headers(self) -> list[tuple[str, bytes]]:
        return self._headers

    def error(self) -> None:
        return None


def test_unknown_dead_letters_are_not_zero(worker: FakeWorker) -> None:
    """NaN keeps an alert from clearing while Kafka does not answer."""
    metrics = {m.name: m for m in worker_metrics(worker.lag, lambda: 5, lambda: None)}
    (family,) = metrics["fanfare_dead_letters"].collect()
    (sample,) = family.samples
    assert str(sample.value) == "nan"
    (family,) = metrics["fanfare_authors_in_memory"].collect()
    assert family.samples[0].value == 5


@pytest.mark.parametrize("histogram", [BATCH_RECORDS, BATCH_SECONDS])
def test_histograms_have_no_labels(histogram: Histogram) -> None:
    """So they are exported from the start."""
    (family,) = histogram.collect()
    assert family.samples
