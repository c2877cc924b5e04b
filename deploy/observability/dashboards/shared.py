"""Panels and queries that several dashboards have."""

from __future__ import annotations

from dashboards.layout import Panel, Row


def quantiles(histogram: str) -> dict[str, str]:
    """Return queries for the median and the 99th percentile of a histogram."""
    total = f"sum by (le) (rate({histogram}_bucket[$i]))"
    return {
        "median": f"histogram_quantile(0.5, {total})",
        "99th percentile": f"histogram_quantile(0.99, {total})",
    }


def mean(histogram: str) -> str:
    """Return a query for the mean of what a histogram observed."""
    return f"sum(rate({histogram}_sum[$i])) / sum(rate({histogram}_count[$i]))"


def calls(job: str) -> Row:
    """Return the row about the calls of a service, over gRPC and REST."""
    grpc = f'job="{job}", grpc_service=~"fanfare[.].+"'
    rest = f'job="{job}", http_route!~"/health|other"'
    not_ok, not_2xx = f'{grpc}, grpc_code!="OK"', f'{rest}, http_status!~"2.."'
    grpc_total = (
        f"sum by (le, grpc_method) (rate(grpc_server_handling_seconds_bucket{{{grpc}}}[$i]))"
    )
    rest_total = (
        f"sum by (le, http_route) (rate(http_server_handling_seconds_bucket{{{rest}}}[$i]))"
    )
    return Row(
        "Calls",
        [
            Panel(
                "Calls",
                "ops",
                {
                    "{{grpc_method}}": "sum by (grpc_method)"
                    f" (rate(grpc_server_handled_total{{{grpc}}}[$i]))",
                    "{{http_method}} {{http_route}}": "sum by (http_method, http_route)"
                    f" (rate(http_server_handled_total{{{rest}}}[$i]))",
                },
            ),
            Panel(
                "Calls that were not answered OK",
                "ops",
                {
                    "{{grpc_code}}": "sum by (grpc_code)"
                    f" (rate(grpc_server_handled_total{{{not_ok}}}[$i])) > 0",
                    "{{http_status}}": "sum by (http_status)"
                    f" (rate(http_server_handled_total{{{not_2xx}}}[$i])) > 0",
                },
                "Refusals are in here too: NotFound and InvalidArgument are the caller's.",
            ),
            Panel(
                "Latency, 99th percentile",
                "s",
                {
                    "{{grpc_method}}": f"histogram_quantile(0.99, {grpc_total})",
                    "{{http_route}}": f"histogram_quantile(0.99, {rest_total})",
                },
                "Of methods with few calls, single calls decide.",
            ),
        ],
    )


def rare_events(job: str) -> Panel:
    """Return the panel of a process's rare events."""
    return Panel(
        "Rare events",
        "ops",
        {"{{event}}": f'sum by (event) (rate(fanfare_events_total{{job="{job}"}}[$i])) > 0'},
        "core/runtime/metrics.py says what each of them is.",
    )


def postgres(job: str) -> Panel:
    """Return the panel of a process's connections to Postgres."""
    own = f'{{job="{job}"}}'
    return Panel(
        "Connections to Postgres",
        "short",
        {
            "{{pool}} {{state}}": f"sum by (pool, state) (fanfare_postgres_connections{own})",
            "{{pool}} waiting": f"sum by (pool) (fanfare_postgres_waiting{own})",
        },
        "Waiting calls that do not go away: FanfarePostgresOverloaded.",
    )


VERIFICATIONS = Panel(
    "Timelines compared with SQL",
    "ops",
    {"{{result}}": "sum by (result) (rate(fanfare_timeline_verifications_total[$i]))"},
    "A wrong one pages: FanfareTimelineWrong.",
)
FRESHNESS = Panel("From commit to timeline", "s", quantiles("fanfare_fanout_freshness_seconds"))
