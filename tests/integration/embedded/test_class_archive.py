"""The archive of Kafka's classes."""

from __future__ import annotations

from pathlib import Path

from helpers.fanfare import Fanfare

from embedded.kafka import archive_path


def test_a_broker_uses_the_archive(fanfare: Fanfare) -> None:
    """Java would only warn if the archive did not fit, and start more slowly."""
    maps = Path(f"/proc/{fanfare.system.stack.kafka.pid}/maps").read_text()
    assert "/classes-" in maps


def test_other_jars_have_another_archive(tmp_path: Path) -> None:
    """An upgrade of Kafka does not find the archive of the version before."""
    old, new = (archive_path([tmp_path / f"kafka-{version}.jar"]) for version in (1, 2))
    assert old.parent == new.parent == tmp_path
    assert old != new
