"""Which calls are sampled, and the current span."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import pytest
from helpers.fakes.tracing import SAMPLED, TRACE_ID, UNSAMPLED, FakeTracer

from core.errors import UserNotFoundError
from core.runtime import tracing
from core.runtime.metrics import METRICS, Metric
from core.runtime.tracing import (
    CURRENT,
    CallTracer,
    Kind,
    child_span,
    client_span,
    current_traceparent,
    is_sampled,
    trace_id_of,
)


@pytest.fixture
def tracer() -> FakeTracer:
    """Return a tracer without spans."""
    return FakeTracer()


@pytest.fixture
def current(tracer: FakeTracer) -> Iterator[str]:
    """Work for a span, and return its traceparent."""
    span = tracer.begin("call", Kind.SERVER, None, {})
    token = CURRENT.set(span)
    yield span.traceparent
    CURRENT.reset(token)


@pytest.mark.parametrize(
    "traceparent",
    [
        SAMPLED,
        SAMPLED.replace("-01", "-ff"),
        SAMPLED.replace("-01", "-03"),
        SAMPLED.replace("00-", "01-", 1),
        SAMPLED.replace("00-", "cc-", 1) + "-what-the-future-will-be-like",
    ],
)
def test_a_sampled_traceparent(traceparent: str) -> None:
    """The last bit of the flags counts; later versions may have more at the end."""
    assert is_sampled(traceparent)
    assert trace_id_of(traceparent) == TRACE_ID


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "\n",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        SAMPLED.upper(),
        SAMPLED[:-1],
        SAMPLED + "-more",
        SAMPLED + "\n",
        SAMPLED.replace("00-", "ff-", 1),
        SAMPLED.replace("b7", "b\N{FULLWIDTH DIGIT SEVEN}"),
    ],
)
def test_an_unusable_traceparent(traceparent: str) -> None:
    """It is not sampled, and has no trace id that could go into a log."""
    assert not is_sampled(traceparent)
    assert trace_id_of(traceparent) is None


def test_the_caller_decides_if_it_has_a_trace(tracer: FakeTracer) -> None:
    """The ratio is for the others."""
    for ratio in (0.0, 1.0):
        calls = CallTracer(tracer, ratio)
        assert calls.begin("m", UNSAMPLED, {}) is None
        assert calls.begin("m", SAMPLED, {}) is not None
    assert [span.parent for span in tracer.spans] == [SAMPLED, SAMPLED]


def test_a_part_of_the_other_calls_is_sampled(tracer: FakeTracer) -> None:
    """Each of them begins a trace."""
    draws = cycle([0.0, 0.5, 0.24, 0.25])
    calls = CallTracer(tracer, 0.25, lambda: next(draws))
    assert [calls.begin("m", None, {}) is not None for _ in range(4)] == [True, False, True, False]
    assert [span.parent for span in tracer.spans] == [None, None]


def test_callers_cannot_have_every_call_traced(
    tracer: FakeTracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is above the limit of a second is counted, and the next second has its own."""
    monkeypatch.setattr(tracing, "MAX_SAMPLED_PER_SECOND", 2)
    now = [1.0]
    calls = CallTracer(tracer, 0.0, clock=lambda: now[0])
    METRICS.take()
    assert [calls.begin("m", SAMPLED, {}) is not None for _ in range(4)] == [True, True] + [
        False
    ] * 2
    assert METRICS.take() == {Metric.TRACE_REFUSED: 2}
    now[0] = 2.0
    assert calls.begin("m", SAMPLED, {}) is not None


def test_without_a_current_span_there_are_no_others() -> None:
    """Nothing is made for an unsampled call."""
    assert child_span("a") is child_span("b") is client_span("c")
    with child_span("a"):
        assert CURRENT.get() is None
        assert current_traceparent() is None


def test_a_span_within_another(tracer: FakeTracer, current: str) -> None:
    """It is the current one until its context ends; that of a server never is."""
    with child_span("inner"):
        inner = tracer.spans[-1]
        assert current_traceparent() == inner.traceparent
        with client_span("postgres"):
            assert current_traceparent() == inner.traceparent
        assert tracer.spans[-1].parent == inner.traceparent
    assert current_traceparent() == current
    assert inner.parent == current
    assert tracer.ended() == {"call": None, "inner": "", "postgres": ""}


def test_a_failure_is_named_without_its_text(tracer: FakeTracer, current: str) -> None:
    """The text may quote what a user wrote."""
    assert current
    with pytest.raises(UserNotFoundError), child_span("refused"):
        raise UserNotFoundError(7)
    with pytest.raises(ValueError, match="secret"), client_span("failed"):
        raise ValueError("secret")
    assert tracer.ended() == {"call": None, "refused": "USER_NOT_FOUND", "failed": "ValueError"}
