"""Fixtures of the write service's unit tests."""

from __future__ import annotations

import math

import pytest

from write_service import group_commit


@pytest.fixture
def single_tweets_stay_recent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the tests independent of time: a busy machine may take a second between two lines."""
    monkeypatch.setattr(group_commit, "SINGLE_SECONDS", math.inf)
