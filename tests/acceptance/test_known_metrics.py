"""The table of known metrics is what a running system exports, in both directions."""

from __future__ import annotations

from helpers.fanfare import Fanfare
from helpers.known_metrics import KNOWN, TARGET, exported_series
from helpers.prometheus import scrape

from core.runtime.metrics_ports import metrics_addresses

# The libraries' own are not all in the table; those of the table must exist.
PREFIXES = ("fanfare_", "grpc_server_", "http_server_")


def _exported(fanfare: Fanfare) -> dict[str, list[dict[str, str]]]:
    """Return the labels of every series of all processes, by its name."""
    found: dict[str, list[dict[str, str]]] = {}
    for addresses in metrics_addresses(fanfare.settings).values():
        for address in addresses:
            for name, labels in scrape(address):
                found.setdefault(name, []).append(dict(labels))
    return found


def test_the_table_has_what_is_exported(fanfare: Fanfare) -> None:
    """No series is missing in the table, and none has other labels or values than it says."""
    fanfare.cached_pair()
    assert fanfare.rest("GET", "/users")[0] == 200
    table = exported_series()
    for name, series in _exported(fanfare).items():
        expected = table.get(name)
        if expected is None:
            assert not name.startswith(PREFIXES), f"{name} is not in the table"
            continue
        for labels in series:
            assert labels.keys() == expected.keys(), name
            for label, value in labels.items():
                values = expected[label]
                assert values is None or value in values, f"{name} {label}={value}"
            assert not labels.keys() & TARGET.keys(), "Prometheus would rename it"


def test_everything_in_the_table_is_exported(fanfare: Fanfare) -> None:
    """A metric that no longer exists leaves the table, and with it the rules and dashboards."""
    exported = set(_exported(fanfare))
    expected = {
        f"{name}_bucket" if known.is_histogram else name
        for name, known in KNOWN.items()
        if not known.is_optional
    }
    assert expected - exported == set()
