"""How old the newest backup of Postgres is; docs/recovery.md has the commands that take one."""

from __future__ import annotations

import math
from pathlib import Path

# What pg_basebackup writes last, after it has flushed everything else to the disk.
COMPLETE = "backup_manifest"


def newest_backup_age(folder: Path, now: float) -> float:
    """Return the age of the newest complete backup, in seconds.

    Each folder in the given one is a backup, and it is complete once it contains a backup_manifest.
    The age counts from when that file was written: the backup has every commit from before it.

    Args:
        folder: the setting FANFARE_BACKUP_DIR.
        now: the current time, in seconds since 1970.

    Returns:
        The age; infinity if there is no complete backup, or the folder cannot be read.
    """
    written = [manifest.stat().st_mtime for manifest in folder.glob(f"*/{COMPLETE}")]
    return max(0.0, now - max(written)) if written else math.inf
