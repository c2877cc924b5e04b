"""What the tests of the worker's decisions share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from helpers.fakes.worker import FakeServers, FakeWorker

from core.runtime.metrics import METRICS, Metric


@pytest.fixture
def servers() -> FakeServers:
    """Return empty servers."""
    return FakeServers()


@pytest.fixture
def worker(servers: FakeServers) -> FakeWorker:
    """Return a worker that has no partitions yet."""
    return FakeWorker(servers)


@pytest.fixture
def counted() -> Iterator[Callable[[], Counter[Metric]]]:
    """Return a function that returns all metrics counted since the test began."""
    METRICS.take()
    total: Counter[Metric] = Counter()

    def take() -> Counter[Metric]:
        total.update(METRICS.take())
        return total

    yield take
    METRICS.take()
