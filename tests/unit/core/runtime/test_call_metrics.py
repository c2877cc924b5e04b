"""The counters and the histogram of calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from core.runtime import call_metrics
from core.runtime.call_metrics import SentMessages, ServerMetrics
from core.runtime.metrics import LATENCY_BUCKETS

_LABELS = ("route", "outcome", "le")


@pytest.fixture
def metrics() -> Iterator[ServerMetrics]:
    """Return metrics of calls that succeed or fail."""
    metrics = ServerMetrics("test_server", ("route",), "outcome", {0: "ok", 7: "failed"})
    yield metrics
    REGISTRY.unregister(metrics)


def _scraped(metrics: ServerMetrics) -> dict[tuple[str, ...], float]:
    """Return what a scrape shows, by the name and the values of the labels."""
    registry = CollectorRegistry()
    registry.register(metrics)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, *(sample.labels[name] for name in _LABELS if name in sample.labels)): (
            sample.value
        )
        for family in families
        for sample in family.samples
    }


def test_a_method_has_all_series_before_its_first_call(metrics: ServerMetrics) -> None:
    """Otherwise the first call would not be an increase of any of them."""
    metrics.of("/users")
    scraped = _scraped(metrics)
    assert scraped.keys() == {
        ("test_server_started_total", "/users"),
        ("test_server_handled_total", "/users", "ok"),
        ("test_server_handled_total", "/users", "failed"),
        ("test_server_handling_seconds_count", "/users"),
        ("test_server_handling_seconds_sum", "/users"),
        *(
            ("test_server_handling_seconds_bucket", "/users", bound)
            for bound in (*(str(float(bound)) for bound in LATENCY_BUCKETS), "+Inf")
        ),
    }
    assert set(scraped.values()) == {0}


def test_calls_are_counted_by_outcome_and_time(
    metrics: ServerMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that took exactly as long as a bound is below it, as in every Prometheus histogram."""
    for ended, outcome in ((0.0005, 0), (0.3, 7), (99.0, 0)):
        times = iter((0.0, ended))
        monkeypatch.setattr(call_metrics, "perf_counter", lambda times=times: next(times))
        calls = metrics.of("/users")
        calls.end(calls.begin(), outcome)
    monkeypatch.undo()
    metrics.of("/users").begin()
    scraped = _scraped(metrics)
    assert scraped["test_server_started_total", "/users"] == 4
    assert scraped["test_server_handled_total", "/users", "ok"] == 2
    assert scraped["test_server_handled_total", "/users", "failed"] == 1
    assert scraped["test_server_handling_seconds_count", "/users"] == 3
    assert scraped["test_server_handling_seconds_sum", "/users"] == pytest.approx(99.3005)
    bucket = "test_server_handling_seconds_bucket", "/users"
    bounds = ("0.0005", "0.25", "0.5", "10.0", "+Inf")
    assert [scraped[*bucket, bound] for bound in bounds] == [1, 1, 2, 2, 3]


def test_an_unknown_outcome_is_an_error(metrics: ServerMetrics) -> None:
    """It would be a series that did not exist from the start."""
    calls = metrics.of("/users")
    with pytest.raises(KeyError):
        calls.end(calls.begin(), 3)


def test_of_a_stream_the_first_message_is_timed(
    metrics: ServerMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long it lasts is up to its client; one that fails before it begins has no time."""
    times = iter((0.0, 0.3, 0.0))
    monkeypatch.setattr(call_metrics, "perf_counter", lambda: next(times))
    streams = metrics.of("/users", is_stream=True)
    began = streams.begin()
    sent = SentMessages(streams, began)
    for _ in range(3):
        sent.add()
    streams.end(began, 0)
    streams.end(streams.begin(), 7)
    monkeypatch.undo()
    scraped = _scraped(metrics)
    assert streams.sent == 3
    assert scraped["test_server_started_total", "/users"] == 2
    assert scraped["test_server_handled_total", "/users", "ok"] == 1
    assert scraped["test_server_handled_total", "/users", "failed"] == 1
    assert scraped["test_server_handling_seconds_count", "/users"] == 1
    assert scraped["test_server_handling_seconds_sum", "/users"] == pytest.approx(0.3)
