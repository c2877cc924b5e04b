"""The dashboards of the write path, the fan-out and the read path."""

from __future__ import annotations

from dashboards.layout import Dashboard, Panel, Row
from dashboards.shared import (
    FRESHNESS,
    VERIFICATIONS,
    calls,
    mean,
    postgres,
    quantiles,
    rare_events,
)

WRITE_PATH = Dashboard(
    "write-path",
    "Fanfare: write path",
    [
        calls("fanfare-write"),
        Row(
            "Outbox and relay",
            [
                Panel(
                    "Outbox",
                    "short",
                    {
                        "unsent events": "max(fanfare_outbox_unsent_events)",
                        "rows": "max(fanfare_outbox_rows)",
                    },
                    "Sent events stay for FANFARE_RETENTION_DAYS.",
                ),
                Panel(
                    "Oldest unsent event",
                    "s",
                    {"age": "max(fanfare_outbox_oldest_unsent_seconds)"},
                    "More than 30 s: FanfareOutboxStuck.",
                ),
                Panel(
                    "Active relay",
                    "short",
                    {"{{instance}}": "fanfare_relay_is_leader"},
                    "Exactly one.",
                ),
                Panel(
                    "Relay, per batch",
                    "s",
                    quantiles("fanfare_relay_batch_seconds"),
                    "From the select until the events are marked as sent.",
                ),
                Panel(
                    "Together",
                    "short",
                    {
                        "events per batch of the relay": mean("fanfare_relay_batch_events"),
                        "tweets per transaction": mean("fanfare_write_group_tweets"),
                    },
                ),
                Panel(
                    "Events sent",
                    "ops",
                    {"events": "sum(rate(fanfare_relay_batch_events_sum[$i]))"},
                ),
            ],
        ),
        Row(
            "Accounts and servers",
            [
                Panel(
                    "Sessions",
                    "ops",
                    {
                        "created": "sum(rate(fanfare_sessions_created_total[$i]))",
                        "failed sign-ins": "sum(rate(fanfare_sign_in_failures_total[$i]))",
                    },
                ),
                Panel(
                    "Calls above a limit",
                    "ops",
                    {"{{limit}}": "sum by (limit) (rate(fanfare_rate_limited_calls_total[$i]))"},
                ),
                postgres("fanfare-write"),
                rare_events("fanfare-write"),
            ],
        ),
    ],
)

FAN_OUT = Dashboard(
    "fan-out",
    "Fanfare: fan-out",
    [
        Row(
            "How far behind",
            [
                Panel(
                    "Lag in seconds",
                    "s",
                    {
                        "partition {{partition}}": "max by (partition)"
                        " (fanfare_consumer_lag_seconds)"
                    },
                    "The age of the oldest record that is not applied. More than 30 s: FanfareLag.",
                ),
                Panel(
                    "Lag in events",
                    "short",
                    {"partition {{partition}}": "max by (partition) (fanfare_consumer_lag_events)"},
                ),
                FRESHNESS,
            ],
        ),
        Row(
            "Work",
            [
                Panel(
                    "Deliveries and rounds",
                    "ops",
                    {
                        "deliveries": "sum(rate(fanfare_fanout_deliveries_total[$i]))",
                        "rounds": "sum(rate(fanfare_fanout_rounds_total[$i]))",
                    },
                    "A delivery is one tweet in one follower's list.",
                ),
                Panel(
                    "Sent to Redis", "Bps", {"bytes": "sum(rate(fanfare_fanout_bytes_total[$i]))"}
                ),
                Panel("Time per batch", "s", quantiles("fanfare_fanout_batch_seconds")),
                Panel(
                    "Records per batch", "short", {"records": mean("fanfare_fanout_batch_records")}
                ),
                Panel(
                    "Authors whose followers are in memory",
                    "short",
                    {"authors": "sum(fanfare_authors_in_memory)"},
                ),
            ],
        ),
        Row(
            "What should not happen",
            [
                Panel("Dead letters", "short", {"waiting": "max(fanfare_dead_letters)"}),
                VERIFICATIONS,
                rare_events("fanfare-worker"),
            ],
        ),
    ],
)

READ_PATH = Dashboard(
    "read-path",
    "Fanfare: read path",
    [
        calls("fanfare-read"),
        Row(
            "Where timelines come from",
            [
                Panel(
                    "Timelines by source",
                    "ops",
                    {"{{source}}": "sum by (source) (rate(fanfare_timeline_reads_total[$i]))"},
                ),
                Panel(
                    "Hit rates",
                    "percentunit",
                    {
                        "timelines, local or in Redis": "sum(rate("
                        'fanfare_timeline_reads_total{source=~"local|redis"}[$i]))'
                        " / sum(rate(fanfare_timeline_reads_total[$i]))",
                        "tweets, local": "sum(rate("
                        'fanfare_local_tweet_lookups_total{result="hit"}[$i]))'
                        " / sum(rate(fanfare_local_tweet_lookups_total[$i]))",
                    },
                ),
                Panel(
                    "Kept in process",
                    "short",
                    {
                        "tweets {{instance}}": "fanfare_local_tweets",
                        "timelines {{instance}}": "fanfare_local_timelines",
                    },
                ),
                Panel(
                    "Memory of local timelines",
                    "bytes",
                    {"{{instance}}": "fanfare_local_timeline_bytes"},
                    "At most 128 MiB in each process.",
                ),
                Panel(
                    "Watches",
                    "short",
                    {"{{instance}}": "fanfare_watches"},
                    "Open watches of home timelines; at most FANFARE_MAX_WATCHES in each process.",
                ),
            ],
        ),
        Row(
            "Servers",
            [
                Panel(
                    "Redis: memory",
                    "bytes",
                    {"{{kind}}": "max by (kind) (fanfare_redis_memory_bytes)"},
                    "max is 0 where Redis has no limit.",
                ),
                Panel(
                    "Redis: keys evicted",
                    "ops",
                    {"keys": "max(rate(fanfare_redis_evicted_keys[$i]))"},
                ),
                Panel("Redis: usable", "short", {"{{job}} {{instance}}": "fanfare_redis_up"}),
                Panel(
                    "Replica: lag",
                    "s",
                    {"{{instance}}": "fanfare_replica_lag_seconds"},
                    "Empty where there is no replica.",
                ),
                postgres("fanfare-read"),
                rare_events("fanfare-read"),
            ],
        ),
    ],
)
