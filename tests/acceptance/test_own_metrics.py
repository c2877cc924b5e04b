"""Fanfare's own metrics: each process exports them, and what happens moves them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from confluent_kafka import Producer
from helpers.fanfare import Fanfare
from helpers.kafka_topic import RECORD_BYTES
from helpers.metrics_table import PROCESSES, documented_metrics
from helpers.prometheus import Samples, scrape
from helpers.waiting import wait_until

from core.feed.sharding import PARTITIONS
from core.runtime.metrics_ports import metrics_addresses
from core.storage.kafka import producer_settings
from ops.system import System

# Where authentication or TLS is on; tests/acceptance/test_secured_metrics.py has them.
SECURED = {
    ("fanfare_redis_up", "write"),
    *(("fanfare_certificate_expiry_timestamp_seconds", p) for p in PROCESSES),
}
# What else begins with fanfare_, and is not in the table.
OTHERS = ("fanfare_events", "fanfare_build_info")


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system whose metrics nobody else moves."""
    with Fanfare(start_system()) as clients:
        yield clients


def _scrape(own: Fanfare, process: str) -> Samples:
    (address,) = metrics_addresses(own.settings)[process]
    return scrape(address)


def _number(own: Fanfare, process: str, name: str, **labels: str) -> float:
    """Return the sum of the series of this name that have these labels."""
    wanted = set(labels.items())
    samples = _scrape(own, process).items()
    return sum(
        value for (found, with_labels), value in samples if found == name and wanted <= with_labels
    )


def _cause(
    own: Fanfare, process: str, moved: dict[str, dict[str, str]], act: Callable[[], object]
) -> None:
    """Do something again and again until all these metrics have grown.

    Once may not be enough on a busy machine, where Redis is given up after a fifth of a second.
    """
    before = {name: _number(own, process, name, **labels) for name, labels in moved.items()}

    def have_grown() -> bool:
        act()
        return all(
            _number(own, process, name, **labels) > before[name] for name, labels in moved.items()
        )

    wait_until(have_grown, f"{[*moved]} grow")


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_exports_what_the_guide_says(own: Fanfare, process: str) -> None:
    """Every metric in the table is there, with its labels, and none that the table lacks."""
    table = {metric.name: metric for metric in documented_metrics()}
    expected = {
        metric.series
        for metric in table.values()
        if process in metric.processes and (metric.name, process) not in SECURED
    }

    def lacks() -> set[str]:
        return expected - {name for name, _ in _scrape(own, process)}

    wait_until(lambda: not lacks(), f"{process} exports everything")
    for name, labels in _scrape(own, process):
        is_other = name.startswith(OTHERS) or name.endswith("_created")
        if not name.startswith("fanfare_") or is_other:
            continue
        for ending in ("_bucket", "_sum", "_count", ""):
            if (metric := table.get(name.removesuffix(ending))) is not None:
                break
        assert metric is not None, name
        assert {label for label, _ in labels} - {"le"} == metric.labels, name


def test_a_write_moves_the_metrics_of_the_write_service(own: Fanfare) -> None:
    """Groups and batches are counted, and one relay is the active one."""
    author = own.user()
    moved: dict[str, dict[str, str]] = {
        "fanfare_write_group_tweets_count": {},
        "fanfare_relay_batch_events_count": {},
        "fanfare_relay_batch_seconds_count": {},
        "fanfare_outbox_rows": {},
    }
    _cause(own, "write", moved, lambda: own.tweets(author, 3))
    write = partial(_number, own, "write")
    assert write("fanfare_relay_is_leader") == 1
    # The outbox is looked up every few seconds.
    unsent, age = "fanfare_outbox_unsent_events", "fanfare_outbox_oldest_unsent_seconds"
    wait_until(lambda: write(unsent) == write(age) == 0, "nothing is unsent")
    idle = partial(write, "fanfare_postgres_connections", pool="primary", state="idle")
    wait_until(lambda: idle() >= 1, "a connection is idle")


def test_events_that_wait_are_seen(own: Fanfare) -> None:
    """While Kafka refuses records, the outbox grows, and its oldest event gets older."""
    author = own.user()
    own.wait_drained()
    own.set_record_bytes(1)
    try:
        moved: dict[str, dict[str, str]] = {
            "fanfare_outbox_unsent_events": {},
            "fanfare_outbox_oldest_unsent_seconds": {},
        }
        _cause(own, "write", moved, lambda: own.tweet(author))
    finally:
        own.set_record_bytes(RECORD_BYTES)
    own.wait_drained()
    wait_until(
        lambda: _number(own, "write", "fanfare_outbox_unsent_events") == 0, "the outbox is empty"
    )


def test_a_delivery_moves_the_metrics_of_the_worker(own: Fanfare) -> None:
    """Freshness, batches, deliveries, rounds and bytes are measured, and the lag is 0 again."""
    author, _ = own.cached_pair()
    moved: dict[str, dict[str, str]] = {
        "fanfare_fanout_freshness_seconds_count": {},
        "fanfare_fanout_batch_records_count": {},
        "fanfare_fanout_batch_seconds_count": {},
        "fanfare_fanout_deliveries_total": {},
        "fanfare_fanout_rounds_total": {},
        "fanfare_fanout_bytes_total": {},
    }
    _cause(own, "worker", moved, lambda: own.tweet(author))
    worker = partial(_number, own, "worker")
    assert worker("fanfare_authors_in_memory") >= 1
    lags = [name for name, _ in _scrape(own, "worker") if name == "fanfare_consumer_lag_events"]
    assert len(lags) == PARTITIONS
    own.wait_drained()
    wait_until(lambda: worker("fanfare_consumer_lag_events") == 0, "the worker has caught up")
    wait_until(lambda: worker("fanfare_consumer_lag_seconds") == 0, "and knows it")
    assert worker("fanfare_redis_up") == 1
    assert worker("fanfare_redis_memory_bytes", kind="used") > 0
    assert worker("fanfare_disk_free_bytes") > 0
    assert math.isnan(worker("fanfare_backup_age_seconds"))


def test_reads_are_counted_by_their_source(own: Fanfare) -> None:
    """A page is built, then read in Redis, then kept in the process; deep pages are Postgres'."""
    author, reader = own.cached_pair()
    reads, lookups = "fanfare_timeline_reads_total", "fanfare_local_tweet_lookups_total"
    first: dict[str, dict[str, str]] = {
        reads: {"source": "built"},
        lookups: {"result": "miss"},
        "fanfare_local_tweets": {},
    }

    def read_first() -> None:
        followed = own.user()
        own.tweet(followed)
        own.timeline(own.user(followed))

    _cause(own, "read", first, read_first)
    from_redis = {reads: {"source": "redis"}, lookups: {"result": "hit"}}
    _cause(own, "read", from_redis, lambda: (own.tweet(author), own.timeline(reader)))
    kept: dict[str, dict[str, str]] = {reads: {"source": "local"}}
    _cause(own, "read", kept, lambda: own.timeline(reader))
    assert _number(own, "read", "fanfare_local_timelines") >= 1
    assert _number(own, "read", "fanfare_local_timeline_bytes") > 0
    deep = {reads: {"source": "postgres"}}
    _cause(own, "read", deep, lambda: own.timeline(reader, offset=10_000))
    assert math.isnan(_number(own, "read", "fanfare_replica_lag_seconds"))


def test_dead_letters_are_counted(own: Fanfare) -> None:
    """The gauge is that of the topic, so it is right after a restart of the worker, too."""
    author = own.user()
    producer = Producer(producer_settings(own.settings.kafka_address()))
    waiting = partial(_number, own, "worker", "fanfare_dead_letters")
    wait_until(lambda: waiting() == 0, "the topic has been looked at")
    producer.produce(own.settings.topic, b"\xff\xff", str(author.id))
    assert producer.flush(10) == 0
    wait_until(lambda: waiting() == 1, "the dead letter is counted")
