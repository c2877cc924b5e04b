"""Reads the metrics of a process as Prometheus does."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from core.rpc.tls import client_context, open_url

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(address: str, tls_dir: Path | None = None) -> Samples:
    """Return the value of each series at host:port, by its name and its labels."""
    scheme = "http" if tls_dir is None else "https"
    context = client_context(tls_dir)
    with open_url(f"{scheme}://{address}/metrics", context, timeout=10) as answer:
        text = answer.read().decode()
    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in samples, f"{key} occurs twice"
            samples[key] = sample.value
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return the value of a series."""
    return samples[name, frozenset(labels.items())]
