"""What the metrics of processes say about the last seconds: rates, ratios and quantiles.

The arithmetic is that of Prometheus, so that the numbers are those of the dashboards, with one
difference: a rate is the increase between the first and the last scrape of the window, divided by
the time between those two, and is not extrapolated to the ends of the window.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families


class Series(NamedTuple):
    """The name and the labels of a series of values."""

    name: str
    labels: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Scrape:
    """The values that a process had at one moment."""

    at: float
    """In seconds of time.monotonic()."""
    values: Mapping[Series, float]


def parse(text: str) -> dict[Series, float]:
    """Return the values in the text of /metrics, whose lines have no timestamps.

    Raises:
        ValueError: it is not in the format of Prometheus.
    """
    values = {}
    for line in text.split("\n"):  # splitlines() would split at characters of labels too
        if line and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            values[_series(series)] = float(value)
    return values


# prometheus_client takes 0.1 ms for a line. A process has a thousand, the same at each scrape.
@lru_cache(maxsize=100_000)
def _series(text: str) -> Series:
    (family,) = text_string_to_metric_families(f"{text} 0\n")
    (sample,) = family.samples
    return Series(sample.name, frozenset(sample.labels.items()))


def increase(values: Sequence[float]) -> float:
    """Return by how much a counter has grown, given its values one after the other.

    A value below the one before means that the process was restarted, and its counter at zero.
    """
    return sum(
        later - earlier if later >= earlier else later for earlier, later in pairwise(values)
    )


def quantile(q: float, buckets: Mapping[float, float]) -> float | None:
    """Return a quantile of what a histogram has counted; None if that is nothing.

    Within a bucket, values are taken to be spread evenly. What lies above the highest finite bound
    is taken to be that bound.

    Args:
        q: which quantile, from 0 to 1.
        buckets: how many values were at most as large as each upper bound; the last is infinite.
    """
    total = buckets.get(math.inf, 0.0)
    if not total:
        return None
    rank = q * total
    lower = below = 0.0
    for upper in sorted(buckets):
        count = max(below, buckets[upper])
        if count >= rank and count > below:
            if math.isinf(upper):
                break
            return lower + (upper - lower) * (rank - below) / (count - below)
        if not math.isinf(upper):
            lower = upper
        below = count
    return lower


class Window:
    """The scrapes of one process in the last seconds."""

    def __init__(self, scrapes: Sequence[Scrape]) -> None:
        """Take the scrapes, the oldest first."""
        self._scrapes = scrapes
        self._names: dict[str, list[Series]] = {}
        for series in {series for scrape in scrapes for series in scrape.values}:
            self._names.setdefault(series.name, []).append(series)

    def latest(self, name: str, **labels: str) -> list[float]:
        """Return the last values of the series with this name and these labels, without NaN."""
        if not self._scrapes:
            return []
        values = self._scrapes[-1].values
        found = (values.get(series, math.nan) for series in self._find(name, labels))
        return [value for value in found if not math.isnan(value)]

    def latest_by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Return the last values of the series with this name and these labels, by a label."""
        return {
            dict(series.labels).get(label, ""): value
            for series in self._find(name, labels)
            for value in [self._scrapes[-1].values.get(series, math.nan)]
            if not math.isnan(value)
        }

    def rates_by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Return the rates per second of counters with this name and these labels, by a label.

        A series with fewer than two scrapes has no rate, and is left out.
        """
        rates: dict[str, float] = {}
        for series in self._find(name, labels):
            points = [
                (scrape.at, scrape.values[series])
                for scrape in self._scrapes
                if series in scrape.values
            ]
            seconds = points[-1][0] - points[0][0]
            if seconds > 0:
                value = dict(series.labels).get(label, "")
                grown = increase([number for _, number in points])
                rates[value] = rates.get(value, 0.0) + grown / seconds
        return rates

    def _find(self, name: str, labels: Mapping[str, str]) -> Iterable[Series]:
        wanted = frozenset(labels.items())
        return (series for series in self._names.get(name, ()) if wanted <= series.labels)


def total(windows: Iterable[Window], name: str, **labels: str) -> float | None:
    """Return the sum of the last values in all windows; None if there is no such series."""
    values = [value for window in windows for value in window.latest(name, **labels)]
    return sum(values) if values else None


def highest(windows: Iterable[Window], name: str, **labels: str) -> float | None:
    """Return the highest of the last values in all windows; None if there is no such series."""
    return max((v for window in windows for v in window.latest(name, **labels)), default=None)


def rates(windows: Iterable[Window], name: str, label: str, **labels: str) -> dict[str, float]:
    """Return the rates per second of counters, summed over all windows, by a label."""
    summed: dict[str, float] = {}
    for window in windows:
        for value, per_second in window.rates_by(name, label, **labels).items():
            summed[value] = summed.get(value, 0.0) + per_second
    return summed


def rate(windows: Iterable[Window], name: str, **labels: str) -> float | None:
    """Return the rate per second of counters, summed over all windows; None if there is none."""
    summed = rates(windows, name, "", **labels)
    return sum(summed.values()) if summed else None


def rate_quantile(q: float, windows: Sequence[Window], *names: str) -> float | None:
    """Return a quantile of what histograms have counted in the windows; None if nothing.

    Args:
        q: which quantile, from 0 to 1.
        windows: the windows of some processes.
        names: the histograms, which have the same buckets.
    """
    buckets: dict[float, float] = {}
    for name in names:
        for text, per_second in rates(windows, f"{name}_bucket", "le").items():
            bound = float(text)
            buckets[bound] = buckets.get(bound, 0.0) + per_second
    return quantile(q, buckets)
