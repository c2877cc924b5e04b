"""The metrics of the write service and its relay."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import Counter, Histogram

from core.runtime.metrics import LATENCY_BUCKETS
from core.runtime.pulled_metrics import PulledMetric, gauge
from write_service.outbox_size import OutboxSize

_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
RELAY_BATCH_EVENTS = Histogram(
    "fanfare_relay_batch_events", "Events that the relay sent together.", buckets=_SIZES
)
RELAY_BATCH_SECONDS = Histogram(
    "fanfare_relay_batch_seconds",
    "Time from the selection of a batch in the outbox until Kafka has confirmed all of it.",
    buckets=LATENCY_BUCKETS,
)
GROUP_TWEETS = Histogram(
    "fanfare_write_group_tweets", "Tweets that share a transaction.", buckets=_SIZES
)
SESSIONS_CREATED = Counter("fanfare_sessions_created", "Sessions that users have created.")
SIGN_IN_FAILURES = Counter(
    "fanfare_sign_in_failures", "Attempts to create a session with a wrong name or password."
)


def outbox_metrics(
    is_leader: Callable[[], bool], size: Callable[[], OutboxSize | None]
) -> Iterator[PulledMetric]:
    """Yield the metrics of the outbox, which only the process with the active relay looks up.

    Args:
        is_leader: returns whether the relay of this process is the active one.
        size: returns the size of the outbox; None if it is not known. All that this process exports
            of it is 0 then, so that the sum over all processes is right.
    """
    yield gauge(
        "fanfare_relay_is_leader",
        "Whether the relay of this process is the active one: 1 or 0.",
        is_leader,
    )
    empty = OutboxSize(0, 0.0, 0)
    yield gauge(
        "fanfare_outbox_unsent_events",
        "Events in the outbox that are not sent yet; 0 where the relay is not active.",
        lambda: (size() or empty).unsent_events,
    )
    yield gauge(
        "fanfare_outbox_oldest_unsent_seconds",
        "Age of the oldest event in the outbox that is not sent yet; 0 if there is none.",
        lambda: (size() or empty).oldest_seconds,
    )
    yield gauge(
        "fanfare_outbox_rows",
        "Rows of the outbox as Postgres estimates them, sent ones too; 0 where the relay is not "
        "active.",
        lambda: (size() or empty).rows,
    )
