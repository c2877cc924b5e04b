"""Metrics whose values are read from the objects that own them, whenever Prometheus asks.

Counting costs the owners nothing, or the increment of an attribute. Reading must be quick, because
the event loop answers Prometheus. So what takes a query or a system call is looked up in the
background (core/runtime/sampling.py), and only the result is read here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

Family = CounterMetricFamily | GaugeMetricFamily
Values = Mapping[tuple[str, ...], float]
"""Numbers by the values of the labels."""


class PulledMetric(Collector):
    """A metric with a function that returns its values."""

    def __init__(
        self,
        family: type[Family],
        name: str,
        help_text: str,
        labels: Iterable[str],
        read: Callable[[], Values],
    ) -> None:
        """Define a metric, which exported() adds to those of the process.

        Args:
            family: gauge or counter.
            name: the name; that of a counter without `_total`.
            help_text: what is measured, as one sentence.
            labels: the names of the labels.
            read: returns the values.
        """
        self._family = family
        self.name = name
        self._help_text = help_text
        self._labels = tuple(labels)
        self._read = read

    def describe(self) -> Iterable[Family]:
        """Return the metric without values."""
        return [self._family(self.name, self._help_text, labels=self._labels)]

    def collect(self) -> Iterable[Family]:
        """Return the metric, as prometheus_client asks for it."""
        family = self._family(self.name, self._help_text, labels=self._labels)
        for labels, number in self._read().items():
            family.add_metric(labels, number)
        return [family]


def gauge(name: str, help_text: str, read: Callable[[], float]) -> PulledMetric:
    """Return a gauge without labels."""
    return PulledMetric(GaugeMetricFamily, name, help_text, (), lambda: {(): read()})


def gauges(name: str, help_text: str, label: str, read: Callable[[], Values]) -> PulledMetric:
    """Return gauges that a label tells apart; its values are the keys of what is read."""
    return PulledMetric(GaugeMetricFamily, name, help_text, (label,), read)


@contextmanager
def exported(
    metrics: Iterable[PulledMetric], registry: CollectorRegistry = REGISTRY
) -> Iterator[None]:
    """Export metrics until the context ends, and with it their owners."""
    registered = list(metrics)
    for metric in registered:
        registry.register(metric)
    try:
        yield
    finally:
        for metric in registered:
            registry.unregister(metric)
