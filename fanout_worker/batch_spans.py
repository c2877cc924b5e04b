"""The spans of batches that have records of traced commands."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain

from core.feed.sharding import Partition
from core.runtime.tracing import Attributes, Kind, Span, Tracer, is_sampled
from fanout_worker.records import Record

# How many traced commands the span of a batch is linked to at most.
MAX_LINKS = 100


class BatchSpans:
    """Begins a span for each batch with traced records, and ends it once Redis has the batch.

    The span continues the trace of the first such record, and is linked to all of them. Within it
    is another span for the time in which Redis is written. While Redis executes the last round of
    one batch, the next batch may begin, so there are two places.
    """

    def __init__(self, tracer: Tracer | None) -> None:
        """Begin spans by this tracer, or none at all if it is None."""
        self._tracer = tracer
        self._begun: tuple[Span, Span] | None = None
        self._sent: tuple[Span, Span] | None = None

    def begin(self, records: Mapping[Partition, Sequence[Record]]) -> None:
        """Begin the span of a batch, if it has records of traced commands."""
        if self._tracer is None:
            return
        traced = [each.traceparent for each in chain(*records.values()) if each.traceparent]
        links = [traceparent for traceparent in traced[:MAX_LINKS] if is_sampled(traceparent)]
        if links:
            attributes: Attributes = {
                "messaging.system": "kafka",
                "messaging.operation.type": "process",
                "messaging.batch.message_count": sum(map(len, records.values())),
                "fanfare.partitions": len(records),
                "fanfare.traced_records": len(traced),
            }
            span = self._tracer.begin("fan out", Kind.CONSUMER, links[0], attributes, links)
            self._begun = (span, span.begin_child("redis", Kind.CLIENT))

    def send(self) -> None:
        """Note that the last round of the batch has been sent."""
        self._sent, self._begun = self._begun, None

    def finish(self) -> None:
        """End the span of the batch that was sent, since Redis has executed it."""
        _end(self._sent)
        self._sent = None

    def abandon(self) -> None:
        """End all spans, since the batches are thrown away."""
        for spans in (self._sent, self._begun):
            _end(spans, "abandoned")
        self._sent = self._begun = None


def _end(spans: Collection[Span] | None, error: str = "") -> None:
    # The inner one first.
    for span in reversed(list(spans or ())):
        span.end(error)
