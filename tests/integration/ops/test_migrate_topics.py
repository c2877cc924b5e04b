"""`fanfare migrate --dry-run` on real servers: what it says about topics, and that it stays so."""

from __future__ import annotations

import uuid

import pytest
from helpers.fanfare import Fanfare


def _dry_run(fanfare: Fanfare) -> list[str]:
    done = fanfare.command("migrate", "--dry-run")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_topics_that_are_missing_are_named(
    fanfare: Fanfare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are missing afterwards, too."""
    assert _dry_run(fanfare) == ["Everything is up to date."]
    topic = f"dry.{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("FANFARE_TOPIC", topic)
    told = [f"would create topic {topic}", f"would create topic {topic}.dlq"]
    assert _dry_run(fanfare) == told
    assert _dry_run(fanfare) == told


def test_topics_that_keep_records_for_too_long_are_named(
    fanfare: Fanfare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They keep them for as long afterwards."""
    monkeypatch.setenv("FANFARE_RETENTION_DAYS", "1")
    topic = fanfare.settings.topic
    told = [
        f"would limit topic {name} to keeping records for 1 days"
        for name in (topic, f"{topic}.dlq")
    ]
    assert _dry_run(fanfare) == told
    assert _dry_run(fanfare) == told
