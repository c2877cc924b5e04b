"""A tracer that remembers its spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.runtime.tracing import Attributes, Kind, Span

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE_ID}-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE_ID}-b7ad6b7169203331-00"


@dataclass
class FakeSpan:
    """A span; fulfils Span."""

    name: str
    kind: Kind
    parent: str | None
    attributes: dict[str, str | int]
    links: tuple[str, ...]
    traceparent: str
    tracer: FakeTracer = field(repr=False)
    trace_id: str = TRACE_ID
    error: str | None = None
    """None until the span has ended."""

    def begin_child(self, name: str, kind: Kind) -> Span:
        """See Span."""
        return self.tracer.begin(name, kind, self.traceparent, {})

    def set(self, attributes: Attributes) -> None:
        """See Span."""
        self.attributes |= attributes

    def end(self, error: str = "") -> None:
        """See Span."""
        assert self.error is None, "it has ended before"
        self.error = error


class FakeTracer:
    """Fulfils Tracer; all spans are of one trace."""

    def __init__(self) -> None:
        self.spans: list[FakeSpan] = []

    def begin(
        self,
        name: str,
        kind: Kind,
        parent: str | None,
        attributes: Attributes,
        links: Sequence[str] = (),
    ) -> FakeSpan:
        """See Tracer."""
        traceparent = f"00-{TRACE_ID}-{len(self.spans) + 1:016x}-01"
        span = FakeSpan(name, kind, parent, dict(attributes), tuple(links), traceparent, self)
        self.spans.append(span)
        return span

    def ended(self) -> dict[str, str | None]:
        """Return by the names of the spans how each has ended; None if it has not."""
        return {span.name: span.error for span in self.spans}
