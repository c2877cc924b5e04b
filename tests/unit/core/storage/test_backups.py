"""The age of the newest backup."""

from __future__ import annotations

import math
import os
from pathlib import Path

from core.storage.backups import newest_backup_age

NOW = 1_800_000_000.0


def _backup(folder: Path, name: str, age: float) -> None:
    manifest = folder / name / "backup_manifest"
    manifest.parent.mkdir()
    manifest.touch()
    os.utime(manifest, (NOW - age, NOW - age))


def test_the_newest_backup_counts(tmp_path: Path) -> None:
    """It does not matter what the folders are called."""
    _backup(tmp_path, "z", 7200)
    _backup(tmp_path, "a", 60)
    assert newest_backup_age(tmp_path, NOW) == 60


def test_a_backup_without_its_manifest_does_not_count(tmp_path: Path) -> None:
    """pg_basebackup was killed, or is still writing to backup_manifest.tmp."""
    _backup(tmp_path, "old", 7200)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "backup_manifest.tmp").touch()
    (tmp_path / "wal").mkdir()
    assert newest_backup_age(tmp_path, NOW) == 7200


def test_no_backup_is_infinitely_old(tmp_path: Path) -> None:
    """So that an alert fires; likewise if the folder is missing."""
    assert newest_backup_age(tmp_path, NOW) == math.inf
    assert newest_backup_age(tmp_path / "missing", NOW) == math.inf


def test_a_clock_that_is_behind_gives_no_negative_age(tmp_path: Path) -> None:
    """The backup may have been written by another machine."""
    _backup(tmp_path, "b", -5)
    assert newest_backup_age(tmp_path, NOW) == 0
