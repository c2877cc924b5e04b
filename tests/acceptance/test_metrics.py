"""The metrics of a running system: every process is scraped as Prometheus would do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from helpers.fanfare import Fanfare
from helpers.prometheus import scrape, value

from core.runtime.metrics import Metric
from core.runtime.metrics_ports import metrics_addresses
from ops.system import System


@pytest.fixture(scope="module")
def own(start_system: Callable[..., System]) -> Iterator[Fanfare]:
    """Return clients of a system with two read processes."""
    with Fanfare(start_system(FANFARE_READ_PROCESSES="2")) as clients:
        yield clients


def test_every_process_has_metrics(own: Fanfare) -> None:
    """Preforked processes too: each has a port of its own."""
    addresses = metrics_addresses(own.settings)
    assert {name: len(each) for name, each in addresses.items()} == {
        "write": 1,
        "read": 2,
        "worker": 1,
    }
    for address in (address for each in addresses.values() for address in each):
        samples = scrape(address)
        for metric in Metric:
            assert value(samples, "fanfare_events_total", event=metric.value) >= 0
        assert value(samples, "process_start_time_seconds") > 0
