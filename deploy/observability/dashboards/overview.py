"""The dashboard to look at first."""

from __future__ import annotations

from dashboards.layout import Dashboard, Panel, Row
from dashboards.shared import FRESHNESS, VERIFICATIONS

OVERVIEW = Dashboard(
    "overview",
    "Fanfare: overview",
    [
        Row(
            "Objectives",
            [
                Panel(
                    "Burn rate, over an hour",
                    "short",
                    {
                        "availability {{job}}": "job:fanfare_call_errors:ratio_rate1h / 0.001",
                        "latency {{job}}": "job:fanfare_slow_calls:ratio_rate1h / 0.01",
                        "freshness": "job:fanfare_stale_events:ratio_rate1h / 0.01",
                    },
                    "1 spends the error budget in exactly 30 days; 14.4 pages.",
                ),
                Panel(
                    "Alerts that fire",
                    "short",
                    {
                        "{{alertname}}": "sum by (alertname)"
                        ' (ALERTS{alertstate="firing", alertname=~"Fanfare.+"})'
                    },
                    "docs/runbook.md has an entry for each.",
                ),
                VERIFICATIONS,
            ],
        ),
        Row(
            "Traffic",
            [
                Panel(
                    "Calls",
                    "ops",
                    {
                        "{{job}}": "sum by (job)"
                        ' (rate(grpc_server_handled_total{grpc_service=~"fanfare[.].+"}[$i])'
                        ' or rate(http_server_handled_total{http_route!~"/health|other"}[$i]))'
                    },
                ),
                Panel(
                    "Latency of gRPC, 99th percentile",
                    "s",
                    {
                        "{{job}}": "histogram_quantile(0.99, sum by (le, job) (rate("
                        'grpc_server_handling_seconds_bucket{grpc_service=~"fanfare[.].+"}[$i])))'
                    },
                ),
                FRESHNESS,
            ],
        ),
        Row(
            "What waits",
            [
                Panel(
                    "Oldest event that waits",
                    "s",
                    {
                        "in the outbox": "max(fanfare_outbox_oldest_unsent_seconds)",
                        "in Kafka": "max(fanfare_consumer_lag_seconds)",
                        "lag of the replica": "max(fanfare_replica_lag_seconds)",
                    },
                ),
                Panel(
                    "Events that wait",
                    "short",
                    {
                        "in the outbox": "max(fanfare_outbox_unsent_events)",
                        "in Kafka": "sum(fanfare_consumer_lag_events)",
                        "dead letters": "max(fanfare_dead_letters)",
                    },
                ),
                Panel(
                    "Serving",
                    "short",
                    {
                        "{{job}} is scraped": 'min by (job) (up{job=~"fanfare-.+"})',
                        "{{job}} {{part}}": "min by (job, part) (fanfare_serving)",
                        "{{job}} has Redis": "min by (job) (fanfare_redis_up)",
                        "active relays": "sum(fanfare_relay_is_leader)",
                    },
                    "1 is well.",
                ),
            ],
        ),
        Row(
            "Processes",
            [
                Panel(
                    "CPU",
                    "percentunit",
                    {
                        "{{job}} {{instance}}": "rate("
                        'process_cpu_seconds_total{job=~"fanfare-.+"}[$i])'
                    },
                    "Of one core.",
                ),
                Panel(
                    "Memory",
                    "bytes",
                    {"{{job}} {{instance}}": 'process_resident_memory_bytes{job=~"fanfare-.+"}'},
                ),
                Panel(
                    "Open files",
                    "short",
                    {"{{job}} {{instance}}": 'process_open_fds{job=~"fanfare-.+"}'},
                ),
                Panel(
                    "Versions",
                    "short",
                    {
                        "{{job}} {{version}} {{revision}}": "count by (job, version, revision)"
                        " (fanfare_build_info)"
                    },
                    "The number of processes of each.",
                ),
                Panel(
                    "Free space",
                    "bytes",
                    {"{{instance}} {{path}}": "min by (instance, path) (fanfare_disk_free_bytes)"},
                ),
                Panel(
                    "Until it is too late",
                    "s",
                    {
                        "certificate {{file}} expires in": "min by (file)"
                        " (fanfare_certificate_expiry_timestamp_seconds) - time()",
                        "age of the newest backup": "min(fanfare_backup_age_seconds)",
                    },
                    "Empty where TLS is off and no folder of backups is set.",
                ),
            ],
        ),
    ],
)
