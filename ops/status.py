"""The state of a running system: a row for each thing that is checked, and whether it is right."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from core.rpc.health_probe import health_serves, probe
from core.settings import Settings
from ops.database import SQL, connect
from ops.failures import FAILURES, describe_failure
from ops.feed_status import Feed, OutboxBacklog, PartitionStatus, current_keys
from ops.redis import open_redis
from ops.replication import check_replica, describe_replica

# The relay sends an event within milliseconds, and within some 15 s of a restart of Kafka.
MAX_OUTBOX_SECONDS = 30.0
# Even with its pauses after a failure, a worker makes progress in every partition that has lag well
# within this time.
MAX_STALL_SECONDS = 10.0
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class StatusRow:
    """One thing that was checked."""

    label: str
    text: str
    is_wrong: bool = False
    values: dict[str, float | None] = field(default_factory=dict, compare=False)
    """The numbers in the text, for programs; None for one that is not known."""


Rows = Iterable[StatusRow]


def read_status(settings: Settings) -> list[StatusRow]:
    """Look at all parts of the system and return their rows.

    A part that does not answer has one row with the reason. Takes up to MAX_STALL_SECONDS longer
    while a partition makes no progress.
    """
    with Feed(settings) as feed:
        return [
            *_rows_or_failure("Postgres", lambda: _count_rows(settings)),
            *_rows_or_failure("Redis", lambda: _cached_rows(settings)),
            *read_state(settings, feed),
        ]


def read_state(settings: Settings, feed: Feed) -> list[StatusRow]:
    """Return the rows of read_status() that are cheap to read, however much there is to count."""
    parts: list[tuple[str, Callable[[], Rows]]] = [
        ("Postgres", lambda: [outbox_row(feed.outbox_backlog())]),
        ("replica", lambda: _replica_rows(settings)),
        ("Kafka or Redis", lambda: watch_partitions(feed.partitions)),
        ("processes", lambda: _process_rows(settings)),
    ]
    return [row for label, part in parts for row in _rows_or_failure(label, part)]


def outbox_row(backlog: OutboxBacklog) -> StatusRow:
    """Return the row of the outbox; only the age of the oldest event can be wrong."""
    text = f"{backlog.events:,}"
    if backlog.events:
        text += f", the oldest for {backlog.oldest_seconds:.1f} s"
    return StatusRow(
        "outbox waiting",
        text,
        backlog.oldest_seconds > MAX_OUTBOX_SECONDS,
        {"events": backlog.events, "oldest_seconds": backlog.oldest_seconds},
    )


def partition_row(partition: PartitionStatus, *, is_stalled: bool) -> StatusRow:
    """Return the row of a partition.

    Args:
        partition: its status.
        is_stalled: whether it has lag and made no progress within MAX_STALL_SECONDS.
    """
    lag = "no checkpoint yet" if partition.lag is None else f"lag {partition.lag:,}"
    committed = "none" if partition.committed is None else f"{partition.committed:,}"
    text = f"{lag} (end {partition.end:,}, committed {committed})"
    if is_stalled:
        text += f", no progress for {MAX_STALL_SECONDS:.0f} s"
    values = {"lag": partition.lag, "end": partition.end, "committed": partition.committed}
    return StatusRow(f"partition {partition.number}", text, is_stalled, {**values})


def watch_partitions(
    read_partitions: Callable[[], list[PartitionStatus]],
    sleep: Callable[[float], None] = time.sleep,
) -> Rows:
    """Yield the row of each partition, after watching whether those with lag make progress.

    Lag is normal under load. It is wrong only if the worker applies nothing.

    Args:
        read_partitions: returns the present status of all partitions.
        sleep: waits for a number of seconds.
    """
    partitions = read_partitions()
    # The partitions that have made no progress so far, each with its applied offset at the start. A
    # partition whose lag is not known counts too: progress means that it gets its checkpoints.
    stalled = {status.number: status.applied for status in partitions if status.lag != 0}
    seconds_left = MAX_STALL_SECONDS
    while stalled and seconds_left > 0:
        sleep(POLL_SECONDS)
        seconds_left -= POLL_SECONDS
        partitions = read_partitions()
        for partition in partitions:
            if partition.lag == 0 or partition.applied != stalled.get(partition.number):
                stalled.pop(partition.number, None)
    for partition in partitions:
        yield partition_row(partition, is_stalled=partition.number in stalled)


def _rows_or_failure(label: str, part: Callable[[], Rows]) -> list[StatusRow]:
    """Return the rows of a part; if it fails, those before the failure and one with the reason."""
    rows = []
    try:
        for row in part():
            rows.append(row)  # noqa: PERF402 - extend() would lose the rows before the failure
    except FAILURES as error:
        rows.append(StatusRow(label, describe_failure(error), is_wrong=True))
    return rows


def _count_rows(settings: Settings) -> Rows:
    with connect(settings.session_dsn()) as connection:
        cursor = connection.execute(SQL["count_rows"])
        labels = [column.name for column in cursor.description or []]
        for label, count in zip(labels, cursor.fetchone() or [], strict=True):
            yield StatusRow(label, f"{count:,}", values={"count": count})


def _replica_rows(settings: Settings) -> Rows:
    replica = settings.replica_dsn()
    if replica != settings.primary_dsn():
        state = check_replica(settings.session_dsn(), replica)
        text, cure = describe_replica(state, settings.max_replica_lag)
        yield StatusRow("replica", f"{text}; {cure}" if cure else text, bool(cure))


def _cached_rows(settings: Settings) -> Rows:
    with open_redis(settings) as redis:
        # SCAN visits all keys, in steps that are too short to delay other clients.
        pattern = current_keys(settings).home_lists_pattern
        count = sum(1 for _ in redis.scan_iter(pattern, count=10_000))
        yield StatusRow("cached timelines", f"{count:,}", values={"count": count})


def _process_rows(settings: Settings) -> Rows:
    targets = {
        "write service": settings.write_service_target(),
        "read service": settings.read_service_target(),
        "fan-out worker": settings.local_address(settings.worker_port),
    }
    for label, target in targets.items():
        is_serving = probe(target, tls_dir=settings.tls_dir) is None
        yield _process_row(label, target, is_serving=is_serving)
    for label, port in (
        ("REST commands", settings.rest_write_port),
        ("REST queries", settings.rest_read_port),
    ):
        if port:  # 0 turns REST off
            target = settings.local_address(port)
            yield _process_row(label, target, is_serving=health_serves(target, settings.tls_dir))


def _process_row(label: str, target: str, *, is_serving: bool) -> StatusRow:
    return StatusRow(label, "serving" if is_serving else f"not serving at {target}", not is_serving)
