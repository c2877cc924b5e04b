"""The archive of Kafka's classes."""

from __future__ import annotations

from pathlib import Path

from helpers.fanfare import Fanfare

from embedded.kafka import archive_path


def test_a_broker_uses_the_archive(fanfare: Fanfare) -> None:
    """The broker has the archive open: if it did not fit, Java would only warn and start slowly."""
    maps = Path(f"/proc/{fanfare.system.stack.kafka.pid}/maps").read_text()
    assert "/classes-" in maps


def test_other_jars_have_another_archive(tmp_path: Path) -> None:
    """After an upgrade, Kafka does not find the archive of the earlier version."""
    old, new = (archive_path([tmp_path / f"kafka-{version}.jar"]) for version in (1, 2))
    assert old.parent == new.parent == tmp_path
    assert old != new
