"""What `fanfare status --watch` shows: the metrics of the processes, in words and numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ops.samples import Window, highest, rate, rate_quantile, rates, total
from ops.scraper import Observation
from ops.status import MAX_OUTBOX_SECONDS, StatusRow

# The codes with which a call fails through no fault of its caller.
_FAILURES = {"Unknown", "DeadlineExceeded", "Internal", "Unavailable", "DataLoss"}
_CALLS = ("grpc_server_handling_seconds", "http_server_handling_seconds")
# The sources of a timeline that cost Postgres nothing.
_CACHES = ("local", "redis")
# At most so many kinds of rare events are shown.
_EVENTS = 5


@dataclass(frozen=True)
class ProcessRow:
    """The present state of one process; None for what is not known."""

    name: str
    problem: str
    """Why it does not answer; empty if it does."""
    uptime_seconds: float | None
    calls_per_second: float | None
    failures_per_second: float | None
    """Calls that failed through no fault of their callers."""
    median_seconds: float | None
    p99_seconds: float | None
    connections_used: float | None
    """Connections to Postgres that are in use."""
    connections: float | None
    """Connections to Postgres, in use or not."""
    waiting: float | None
    """Callers that wait for a connection to Postgres."""
    cores: float | None
    """How many cores it keeps busy."""
    memory_bytes: float | None


@dataclass(frozen=True)
class View:
    """All that is shown at one moment."""

    processes: list[ProcessRow]
    rows: list[StatusRow]


def view(observations: Sequence[Observation], now: float) -> View:
    """Return what to show; now: the time in seconds since 1970."""
    windows = [observation.window for observation in observations]
    parts: list[Callable[[Sequence[Window]], Iterable[StatusRow]]] = [
        _outbox,
        _lag,
        _fanout,
        _reads,
        _local_cache,
        _watches,
        _replica,
        _redis,
        _trouble,
        _events,
    ]
    return View(
        [process_row(observation, now) for observation in observations],
        [row for part in parts for row in part(windows)],
    )


def process_row(observation: Observation, now: float) -> ProcessRow:
    """Return the row of a process; now: the time in seconds since 1970."""
    windows = [observation.window]
    grpc = rates(windows, "grpc_server_handled_total", "grpc_code")
    rest = rates(windows, "http_server_handled_total", "http_status")
    is_counted = bool(grpc or rest)
    failures = [grpc[code] for code in grpc if code in _FAILURES]
    failures += [rest[status] for status in rest if status.startswith("5")]
    started = highest(windows, "process_start_time_seconds")
    return ProcessRow(
        name=observation.name,
        problem=observation.problem,
        uptime_seconds=None if started is None else max(0.0, now - started),
        calls_per_second=sum(grpc.values()) + sum(rest.values()) if is_counted else None,
        failures_per_second=sum(failures) if is_counted else None,
        median_seconds=rate_quantile(0.5, windows, *_CALLS),
        p99_seconds=rate_quantile(0.99, windows, *_CALLS),
        connections_used=total(windows, "fanfare_postgres_connections", state="used"),
        connections=total(windows, "fanfare_postgres_connections"),
        waiting=total(windows, "fanfare_postgres_waiting"),
        cores=rate(windows, "process_cpu_seconds_total"),
        memory_bytes=highest(windows, "process_resident_memory_bytes"),
    )


def format_seconds(seconds: float | None) -> str:
    """Return a time in words, "-" if it is not known."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"


def format_bytes(size: float | None) -> str:
    """Return a size in words, "-" if it is not known."""
    if size is None:
        return "-"
    for unit in ("B", "KiB", "MiB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"


def format_number(number: float | None) -> str:
    """Return a number with at least three digits, "-" if it is not known."""
    if number is None:
        return "-"
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.3g}"


def _age(oldest_seconds: float) -> str:
    return f", the oldest for {format_seconds(oldest_seconds)}" if oldest_seconds else ""


def _outbox(windows: Sequence[Window]) -> Iterable[StatusRow]:
    leaders = highest(windows, "fanfare_relay_is_leader")
    if leaders is None:
        return
    if not leaders:
        yield StatusRow("outbox", "no relay is active", is_wrong=True)
        return
    # Relays that stand by report zeros.
    unsent = highest(windows, "fanfare_outbox_unsent_events")
    oldest = highest(windows, "fanfare_outbox_oldest_unsent_seconds") or 0.0
    text = f"{format_number(unsent)} unsent{_age(oldest)}"
    sent = rate(windows, "fanfare_relay_batch_events_sum")
    text += f"; the relay sends {format_number(sent)}/s"
    yield StatusRow("outbox", text, oldest > MAX_OUTBOX_SECONDS)


def _lag(windows: Sequence[Window]) -> Iterable[StatusRow]:
    events = total(windows, "fanfare_consumer_lag_events")
    if events is None:
        return
    seconds = highest(windows, "fanfare_consumer_lag_seconds") or 0.0
    yield StatusRow("lag", f"{format_number(events)} events{_age(seconds)}")


def _fanout(windows: Sequence[Window]) -> Iterable[StatusRow]:
    deliveries = rate(windows, "fanfare_fanout_deliveries_total")
    if deliveries is None:
        return
    median, p99 = (
        format_seconds(rate_quantile(q, windows, "fanfare_fanout_freshness_seconds"))
        for q in (0.5, 0.99)
    )
    yield StatusRow("freshness", f"median {median}, p99 {p99}")
    records = rate(windows, "fanfare_fanout_batch_records_sum")
    size = rate(windows, "fanfare_fanout_bytes_total")
    text = f"{format_number(records)} events/s to {format_number(deliveries)} deliveries/s"
    yield StatusRow("fan-out", f"{text}, {format_bytes(size)}/s")


def _reads(windows: Sequence[Window]) -> Iterable[StatusRow]:
    sources = rates(windows, "fanfare_timeline_reads_total", "source")
    if not sources:
        return
    reads = sum(sources.values())
    text = f"{format_number(reads)}/s"
    if reads:
        hits = sum(sources.get(source, 0.0) for source in _CACHES)
        each = (f"{source} {share:.0%}" for source in sources if (share := sources[source] / reads))
        text += f", hit rate {hits / reads:.1%} ({', '.join(sorted(each))})"
    yield StatusRow("timeline reads", text)


def _local_cache(windows: Sequence[Window]) -> Iterable[StatusRow]:
    results = rates(windows, "fanfare_local_tweet_lookups_total", "result")
    if not results:
        return
    lookups = sum(results.values())
    text = f"{format_number(total(windows, 'fanfare_local_tweets'))} tweets"
    if lookups:
        text += f" (hit rate {results.get('hit', 0.0) / lookups:.1%} of {format_number(lookups)}/s)"
    timelines = format_number(total(windows, "fanfare_local_timelines"))
    size = format_bytes(total(windows, "fanfare_local_timeline_bytes"))
    yield StatusRow("in memory", f"{text}, {timelines} timelines of {size}")


def _watches(windows: Sequence[Window]) -> Iterable[StatusRow]:
    if count := total(windows, "fanfare_watches"):
        yield StatusRow("watches", f"{format_number(count)} open")


def _replica(windows: Sequence[Window]) -> Iterable[StatusRow]:
    seconds = highest(windows, "fanfare_replica_lag_seconds")
    if seconds is not None:
        yield StatusRow("replica", f"{format_seconds(seconds)} behind")


def _redis(windows: Sequence[Window]) -> Iterable[StatusRow]:
    states = [state for window in windows for state in window.latest("fanfare_redis_up")]
    if not states:
        return
    down = sum(not state for state in states)
    text = f"down for {down} of {len(states)} processes" if down else "up"
    used = highest(windows, "fanfare_redis_memory_bytes", kind="used")
    if used is not None:
        text += f", {format_bytes(used)} used"
    if limit := highest(windows, "fanfare_redis_memory_bytes", kind="max"):
        text += f" of {format_bytes(limit)}"
    if evicted := highest(windows, "fanfare_redis_evicted_keys"):
        text += f", {format_number(evicted)} keys evicted"
    yield StatusRow("Redis", text, bool(down))


def _trouble(windows: Sequence[Window]) -> Iterable[StatusRow]:
    """Yield rows for what should always be zero, where it is not."""
    wrong = total(windows, "fanfare_timeline_verifications_total", result="wrong")
    if wrong:
        text = f"{format_number(wrong)} wrong since the worker started"
        yield StatusRow("verified timelines", text, is_wrong=True)
    if letters := highest(windows, "fanfare_dead_letters"):
        text = f"{format_number(letters)} wait; see `fanfare dlq list`"
        yield StatusRow("dead letters", text, is_wrong=True)
    rules: dict[str, float] = {}
    for window in windows:
        rules |= {
            rule: state
            for rule, state in window.latest_by("fanfare_setting_unsafe", "rule").items()
            if state
        }
    if rules:
        text = f"{', '.join(sorted(rules))}; see `fanfare doctor`"
        yield StatusRow("unsafe settings", text, is_wrong=True)


def _events(windows: Sequence[Window]) -> Iterable[StatusRow]:
    per_second = rates(windows, "fanfare_events_total", "event")
    most = sorted(per_second, key=lambda event: -per_second[event])[:_EVENTS]
    shown = [f"{event} {format_number(per_second[event])}/s" for event in most if per_second[event]]
    if shown:
        yield StatusRow("rare events", ", ".join(shown))
