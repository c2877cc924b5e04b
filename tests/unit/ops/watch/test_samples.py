"""The arithmetic of `fanfare status --watch`, held against that of Prometheus."""

from __future__ import annotations

import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ops.samples import (
    Scrape,
    Series,
    Window,
    increase,
    parse,
    quantile,
    rate,
    rate_quantile,
    rates,
    total,
)

STEPS = st.lists(st.integers(0, 1000), min_size=1, max_size=20)
BOUNDS = (0.001, 0.01, 0.1, 1.0, 10.0)
VALUES = st.lists(st.floats(0, 20), min_size=1, max_size=50)
PARTS = st.floats(0, 1)


def _buckets(values: list[float]) -> dict[float, float]:
    """Return what a histogram of these values has counted."""
    return {bound: float(sum(value <= bound for value in values)) for bound in (*BOUNDS, math.inf)}


def _window(name: str, *values: float | None, seconds: float = 1.0, **labels: str) -> Window:
    """Return a window of one series; None: a scrape without it."""
    series = Series(name, frozenset(labels.items()))
    return Window(
        [
            Scrape(number * seconds, {} if value is None else {series: value})
            for number, value in enumerate(values)
        ]
    )


@given(st.dictionaries(st.text(), st.floats(allow_nan=False), max_size=5), st.floats(0, 1e12))
def test_parsing_agrees_with_the_library(gauges: dict[str, float], count: float) -> None:
    """Whatever the labels contain."""
    registry = CollectorRegistry()
    gauge = Gauge("g", "of any\nvalue", ["label"], registry=registry)
    for label, value in gauges.items():
        gauge.labels(label).set(value)
    Counter("c", "without labels", registry=registry).inc(count)
    text = generate_latest(registry).decode()
    assert parse(text) == {
        Series(sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("text", ["<html>no metrics</html>", "a b c", 'x{a="1" 2', "x one"])
def test_what_is_not_of_the_format_is_an_error(text: str) -> None:
    """Another program may have the port."""
    with pytest.raises(ValueError, match=r".*"):
        parse(text)


@given(STEPS)
def test_a_counter_grows_by_what_was_counted(steps: list[int]) -> None:
    """Without a restart, by the difference of the last and the first value."""
    values = list(accumulate(steps, initial=7))
    assert increase(values) == sum(steps)


@given(st.lists(STEPS, min_size=1, max_size=5))
def test_a_restart_loses_only_what_nobody_saw(runs: list[list[int]]) -> None:
    """A counter that falls began at zero again: all that was seen of each run is counted."""
    seen = [list(accumulate(run)) for run in runs]
    # Otherwise nobody could tell that there was a restart; Prometheus cannot either.
    values, true = list(seen[0]), seen[0][-1] - seen[0][0]
    for run in seen[1:]:
        if run[0] < values[-1]:
            values += run
            true += run[-1]
    assert increase(values) == true


@given(st.lists(st.floats(0, 1e9), min_size=1), st.lists(st.floats(0, 1e9), min_size=1))
def test_increases_add_up_and_are_never_negative(first: list[float], then: list[float]) -> None:
    """Wherever a window is cut in two."""
    both = increase([*first, *then])
    assert both == pytest.approx(increase(first) + increase([first[-1], *then]))
    assert both >= 0


@given(VALUES, PARTS)
def test_a_quantile_is_in_the_bucket_of_the_true_one(values: list[float], q: float) -> None:
    """It cannot be more exact; above the highest bound, it is that bound."""
    found = quantile(q, _buckets(values))
    assert found is not None
    rank = max(1, math.ceil(q * len(values) - 1e-9))
    true = sorted(values)[rank - 1]
    bounds = (0.0, *BOUNDS)
    lower = max(bound for bound in bounds if bound < true or bound == 0)
    upper = min((bound for bound in BOUNDS if bound >= true), default=BOUNDS[-1])
    assert lower <= found <= upper + 1e-9


@given(VALUES, PARTS, PARTS, st.floats(0.01, 100))
def test_quantiles_are_in_order_and_independent_of_the_rate(
    values: list[float], q: float, p: float, factor: float
) -> None:
    """Twice the calls have the same quantiles."""
    buckets = _buckets(values)
    low, high = (quantile(part, buckets) for part in sorted((q, p)))
    assert low is not None
    assert high is not None
    assert low <= high + 1e-9
    scaled = {bound: count * factor for bound, count in buckets.items()}
    again = quantile(q, scaled)
    assert again is not None
    # Rounding may put the rank into the next bucket, at its lower end.
    assert again == pytest.approx(quantile(q, buckets), abs=0.01) or again in BOUNDS


def test_nothing_has_no_quantile() -> None:
    """Neither has a histogram that does not exist, nor one that has counted nothing."""
    assert quantile(0.5, {}) is None
    assert quantile(0.5, _buckets([])) is None
    assert rate_quantile(0.5, [Window([])], "x") is None


def test_a_quantile_as_prometheus_gives_it() -> None:
    """The example of its documentation: interpolated within the bucket."""
    buckets = {0.1: 8.0, 0.2: 10.0, math.inf: 10.0}
    assert quantile(0.9, buckets) == pytest.approx(0.15)
    assert quantile(0.5, {1.0: 0.0, 2.0: 4.0, math.inf: 4.0}) == pytest.approx(1.5)
    assert quantile(0.99, {1.0: 0.0, math.inf: 4.0}) == 1.0


def test_rates_of_a_process_that_restarts() -> None:
    """The time in which it was down counts as time without events."""
    window = _window("c_total", 100.0, 110.0, None, None, 4.0, 6.0, seconds=2)
    assert rate([window], "c_total") == pytest.approx((10 + 4 + 2) / 10)


def test_a_series_needs_two_scrapes_for_a_rate() -> None:
    """One value says nothing of a rate. A series that came later has the time since then."""
    assert rate([_window("c_total", 5.0)], "c_total") is None
    assert rate([_window("c_total", 5.0)], "other_total") is None
    assert rate([_window("c_total", None, None, 5.0, 7.0)], "c_total") == 2.0


def test_processes_and_labels_are_summed() -> None:
    """Rates are taken of each series, then summed, so that a restart of one is not hidden."""
    windows = [
        _window("c_total", 0.0, 2.0, code="OK", method="a"),
        _window("c_total", 9.0, 1.0, code="OK", method="b"),
        _window("c_total", 0.0, 4.0, code="BAD", method="a"),
    ]
    assert rates(windows, "c_total", "code") == {"OK": 3.0, "BAD": 4.0}
    assert rates(windows, "c_total", "code", method="a") == {"OK": 2.0, "BAD": 4.0}
    assert total(windows, "c_total", method="a") == 6.0
    assert total(windows, "c_total", method="z") is None


def test_a_value_that_is_not_known_does_not_count() -> None:
    """NaN stands for what a process cannot say, such as the lag without a replica."""
    assert total([_window("lag", math.nan), _window("lag", 2.0)], "lag") == 2.0
    assert total([_window("lag", math.nan)], "lag") is None


def test_quantiles_of_several_histograms() -> None:
    """REST and gRPC calls have the same buckets, and count together."""
    bounds = {"0.1": (0.0, 1.0), "1.0": (0.0, 1.0), "+Inf": (0.0, 1.0)}
    windows = [
        _window(f"{name}_bucket", *counts, le=bound)
        for name in ("grpc", "rest")
        for bound, counts in (bounds if name == "grpc" else bounds | {"0.1": (0.0, 0.0)}).items()
    ]
    assert rate_quantile(0.5, windows, "grpc", "rest") == pytest.approx(0.1)
    assert rate_quantile(1.0, windows, "grpc", "rest") == pytest.approx(1.0)
