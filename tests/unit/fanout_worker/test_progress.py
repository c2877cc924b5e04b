"""How long the worker waits before it retries."""

from __future__ import annotations

from fanout_worker.progress import MAX_RETRY_SECONDS, retry_seconds


def test_waits_grow_up_to_a_limit() -> None:
    """Each wait is longer than the one before, also after a night of failures."""
    assert retry_seconds(0) < retry_seconds(1) < retry_seconds(2)
    assert retry_seconds(20_000) == MAX_RETRY_SECONDS
