"""Which port the metrics of which process are at."""

from __future__ import annotations

from core.runtime.metrics_ports import (
    Program,
    metrics_addresses,
    metrics_port,
    with_metrics_port_of,
)
from core.settings import Settings


def test_each_process_has_a_port_of_its_own() -> None:
    """The address that commands use is the one that the process itself listens on."""
    settings = Settings(metrics_port=9000, read_processes=3, bind="0.0.0.0")
    assert metrics_addresses(settings) == {
        "write": ["127.0.0.1:9000"],
        "read": ["127.0.0.1:9001", "127.0.0.1:9011", "127.0.0.1:9021"],
        "worker": ["127.0.0.1:9002"],
    }
    assert metrics_port(settings, Program.WORKER) == 9002
    own = [with_metrics_port_of(settings, child) for child in range(3)]
    assert [metrics_port(each, Program.READ) for each in own] == [9001, 9011, 9021]


def test_without_a_port_nothing_has_metrics() -> None:
    """A 0 means that metrics are off, for the second read process too."""
    settings = Settings(read_processes=2)
    assert metrics_addresses(settings) == {}
    assert metrics_port(with_metrics_port_of(settings, 1), Program.READ) == 0
