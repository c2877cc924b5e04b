"""The metrics that exist, with their labels: what rules, dashboards and the runbook may name.

tests/acceptance/test_known_metrics.py compares this table with what a running system exports.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from helpers.rules import recorded
from prometheus_client.utils import floatToGoString

from core.runtime.metrics import LATENCY_BUCKETS, Metric
from core.runtime.metrics_ports import Program
from core.storage.settings_rules import Rule
from write_service.relay import HEALTH_NAME

ANY = None
"""In place of the values of a label whose values are not a closed set here."""
Labels = Mapping[str, Collection[str] | None]

# As Go spells them.
_CODES = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
]
_TYPES = {"unary", "server_stream"}
_GRPC: Labels = {"grpc_type": _TYPES, "grpc_service": ANY, "grpc_method": ANY}
_HTTP: Labels = {"http_method": ANY, "http_route": ANY}
_EVENT: Labels = {"event": [metric.value for metric in Metric]}
_POOL: Labels = {"pool": {"primary", "replica"}}


@dataclass(frozen=True)
class Known:
    """A metric that exists."""

    labels: Labels = field(default_factory=dict)
    is_histogram: bool = False
    is_optional: bool = False
    """Whether the system of the tests does not export it, because of its settings."""


# By the names of the series; that of a histogram has no suffix.
KNOWN: dict[str, Known] = {
    "fanfare_build_info": Known({"version": ANY, "revision": ANY}),
    "fanfare_events_total": Known(_EVENT),
    "fanfare_serving": Known({"part": {"process", HEALTH_NAME}}),
    "grpc_server_started_total": Known(_GRPC),
    "grpc_server_handled_total": Known({**_GRPC, "grpc_code": _CODES}),
    "grpc_server_msg_received_total": Known(_GRPC),
    "grpc_server_msg_sent_total": Known(_GRPC),
    "grpc_server_handling_seconds": Known(_GRPC, is_histogram=True),
    "http_server_started_total": Known(_HTTP),
    "http_server_handled_total": Known({**_HTTP, "http_status": ANY}),
    "http_server_handling_seconds": Known(_HTTP, is_histogram=True),
    # The write service.
    "fanfare_outbox_unsent_events": Known(),
    "fanfare_outbox_oldest_unsent_seconds": Known(),
    "fanfare_outbox_rows": Known(),
    "fanfare_relay_is_leader": Known(),
    "fanfare_relay_batch_events": Known(is_histogram=True),
    "fanfare_relay_batch_seconds": Known(is_histogram=True),
    "fanfare_write_group_tweets": Known(is_histogram=True),
    "fanfare_sessions_created_total": Known(),
    "fanfare_sign_in_failures_total": Known(),
    "fanfare_rate_limited_calls_total": Known({"limit": {"user", "address", "cost"}}),
    # The worker.
    "fanfare_consumer_lag_events": Known({"partition": ANY}),
    "fanfare_consumer_lag_seconds": Known({"partition": ANY}),
    "fanfare_fanout_freshness_seconds": Known(is_histogram=True),
    "fanfare_fanout_deliveries_total": Known(),
    "fanfare_fanout_rounds_total": Known(),
    "fanfare_fanout_bytes_total": Known(),
    "fanfare_fanout_batch_records": Known(is_histogram=True),
    "fanfare_fanout_batch_seconds": Known(is_histogram=True),
    "fanfare_dead_letters": Known(),
    "fanfare_authors_in_memory": Known(),
    "fanfare_timeline_verifications_total": Known({"result": {"exact", "wrong", "skipped"}}),
    # The read service.
    "fanfare_timeline_reads_total": Known({"source": {"local", "redis", "built", "postgres"}}),
    "fanfare_local_tweets": Known(),
    "fanfare_local_tweet_lookups_total": Known({"result": {"hit", "miss"}}),
    "fanfare_local_timelines": Known(),
    "fanfare_local_timeline_bytes": Known(),
    "fanfare_replica_lag_seconds": Known(),
    "fanfare_watches": Known(),
    "fanfare_watch_events_total": Known({"event": {"tweet", "removed", "reset", "heartbeat"}}),
    "fanfare_watch_reads_total": Known(),
    # Several of them.
    "fanfare_postgres_connections": Known({**_POOL, "state": {"used", "idle"}}),
    "fanfare_postgres_waiting": Known(_POOL),
    "fanfare_redis_up": Known(),
    "fanfare_redis_evicted_keys": Known(),
    "fanfare_redis_memory_bytes": Known({"kind": {"used", "max"}}),
    "fanfare_setting_unsafe": Known({"rule": list(Rule)}),
    "fanfare_certificate_expiry_timestamp_seconds": Known({"file": {"tls"}}, is_optional=True),
    "fanfare_disk_free_bytes": Known({"path": {"state"}}),
    "fanfare_backup_age_seconds": Known(),
    "process_cpu_seconds_total": Known(),
    "process_resident_memory_bytes": Known(),
    "process_open_fds": Known(),
}
# What Prometheus itself adds.
OWN: dict[str, Labels] = {
    "up": {},
    "ALERTS": {"alertname": ANY, "alertstate": {"firing", "pending"}, "severity": ANY},
}
# What Prometheus adds to every series that it scrapes.
TARGET: Labels = {
    "job": {f"fanfare-{program.name.lower()}" for program in Program},
    "instance": ANY,
}
_BOUNDS = {*map(floatToGoString, LATENCY_BUCKETS), "+Inf"}


def exported_series() -> dict[str, Labels]:
    """Return the labels of every series of the table, by its name."""
    found: dict[str, Labels] = {}
    for name, known in KNOWN.items():
        if known.is_histogram:
            # All that measure time have the same bounds.
            bounds = _BOUNDS if name.endswith("_seconds") else ANY
            found[f"{name}_bucket"] = {**known.labels, "le": bounds}
            found |= {f"{name}_{suffix}": known.labels for suffix in ("sum", "count")}
        else:
            found[name] = known.labels
    return found


def series() -> dict[str, Labels]:
    """Return the labels of every series that a query may name, by its name."""
    found = {**OWN, **exported_series(), **{name: {} for name in recorded()}}
    return {name: {**TARGET, **labels} for name, labels in found.items()}


def series_names() -> set[str]:
    """Return the names of all series that a query may name."""
    return set(series())
