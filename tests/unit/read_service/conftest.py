"""Fixtures of the read service's unit tests."""

from __future__ import annotations

import pytest
from helpers.fakes.home_pages import LENGTH
from helpers.fakes.reading import Reading

from core.runtime.metrics import METRICS
from read_service import lists


@pytest.fixture
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the first window only slightly longer than the page, and reset the metrics."""
    monkeypatch.setattr(lists, "LOG_ROOM", 2)
    METRICS.take()


@pytest.fixture
def reading() -> Reading:
    """Return a read service with an author (user 1) and a reader (user 2) whose list is absent."""
    reading = Reading(length=LENGTH, slack=5)
    reading.reader_of(reading.user())
    reading.drain()
    return reading
