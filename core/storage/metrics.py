"""The metrics of the connections to Postgres and Redis, and of the settings of the servers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.metrics_core import GaugeMetricFamily

from core.runtime.pulled_metrics import PulledMetric, gauge, gauges
from core.storage.postgres_pool import Database
from core.storage.settings_checks import RedisCheck
from core.storage.settings_monitor import SettingsMonitor


def postgres_metrics(pools: Mapping[str, Database]) -> Iterator[PulledMetric]:
    """Yield the metrics of pools of connections.

    Args:
        pools: the pools, each by the name of the role that its server has.
    """
    yield PulledMetric(
        GaugeMetricFamily,
        "fanfare_postgres_connections",
        "Connections of a pool to Postgres that statements use, and that are idle.",
        ("pool", "state"),
        lambda: {
            (name, state): count
            for name, pool in pools.items()
            for state, count in (
                ("used", pool.connections_used),
                ("idle", pool.connections_idle),
            )
        },
    )
    yield gauges(
        "fanfare_postgres_waiting",
        "Statements that wait for a connection of a pool.",
        "pool",
        lambda: {(name,): pool.statements_waiting for name, pool in pools.items()},
    )


def redis_connection(is_up: Callable[[], bool]) -> PulledMetric:
    """Return the metric of the connection to Redis; is_up returns whether Redis answers."""
    return gauge(
        "fanfare_redis_up",
        "Whether Redis answers this process: 1 or 0.",
        is_up,
    )


def redis_metrics(check: RedisCheck) -> Iterator[PulledMetric]:
    """Yield what Redis says of itself when its settings are checked."""

    def number(field: str) -> float:
        value = check.info.get(field)
        return float(value) if value is not None else math.nan

    yield gauge(
        "fanfare_redis_evicted_keys",
        "Keys that Redis has evicted since it started; NaN if it does not say.",
        lambda: number("evicted_keys"),
    )
    yield gauges(
        "fanfare_redis_memory_bytes",
        "Memory that Redis uses, and its limit, which is 0 if it has none; NaN if it does not say.",
        "kind",
        lambda: {("used",): number("used_memory"), ("max",): number("maxmemory")},
    )


def settings_metric(monitor: SettingsMonitor) -> PulledMetric:
    """Return the metric of the settings of the servers that a process checks."""
    return gauges(
        "fanfare_setting_unsafe",
        "Whether a setting of a server breaks a rule, as the log of the process says: 1 or 0.",
        "rule",
        lambda: {(rule.value,): is_broken for rule, is_broken in monitor.broken_rules().items()},
    )
