"""Checks of this machine: limits, disk, and backups."""

from __future__ import annotations

import math
import resource
import shutil
import time
from pathlib import Path

from core.rpc.server_options import MAX_CONNECTIONS
from core.settings import Settings
from core.storage.backups import newest_backup_age
from embedded.causes import real_path
from gateway import listener
from ops.doctor.runner import Check
from ops.doctor.verdicts import Status, Verdict

GB = 10**9
# Files that a process has open beside the connections of clients: logs, and its own connections.
OTHER_FILES = 200
NEEDED_FILES = MAX_CONNECTIONS + listener.MAX_CONNECTIONS + OTHER_FILES
"""Without those of watches."""
WARN_FREE = 0.1
# As the alerts FanfareDiskFull and FanfareBackupOld.
FAIL_FREE_BYTES = 2 * GB
WARN_BACKUP_HOURS = 36


def machine_checks(settings: Settings) -> list[Check]:
    """Return the checks of this machine."""
    return [
        Check("open files", lambda: [_check_files(settings.max_watches)]),
        Check("disk", lambda: [_check_disk(settings.state_dir)]),
        Check("backup", lambda: [_check_backup(settings.backup_dir)]),
    ]


def files_verdict(limit: int, watches: int) -> Verdict:
    """Return the verdict on the hard limit of open files, to which the processes raise theirs.

    Args:
        limit: the limit.
        watches: how many watches may be open, each of which is a connection if it is over REST.
    """
    needed = NEEDED_FILES + watches
    if limit != resource.RLIM_INFINITY and limit < needed:
        return Verdict(
            Status.WARN,
            f"a process may open {limit:,} files, fewer than its clients' connections may need",
            f"allow {needed:,} (`ulimit -Hn`, or LimitNOFILE= of systemd)",
        )
    allowed = "any number of" if limit == resource.RLIM_INFINITY else f"{limit:,}"
    return Verdict(Status.OK, f"a process may open {allowed} files")


def disk_verdict(folder: Path, free: int, total: int) -> Verdict:
    """Return the verdict on the disk of a folder; free, total: in bytes."""
    text = f"{free / GB:,.1f} GB of {total / GB:,.1f} GB are free where {folder} is"
    if free < FAIL_FREE_BYTES or free < total * WARN_FREE:
        status = Status.FAIL if free < FAIL_FREE_BYTES else Status.WARN
        return Verdict(status, text, "free some space, or set FANFARE_STATE_DIR to another disk")
    return Verdict(Status.OK, text)


def backup_verdict(folder: Path, age_seconds: float) -> Verdict:
    """Return the verdict on the newest backup in a folder; its age is infinite if there is none."""
    take = "take one each day (docs/recovery.md), or correct FANFARE_BACKUP_DIR"
    if math.isinf(age_seconds):
        return Verdict(Status.FAIL, f"there is no complete backup in {folder}", take)
    hours = age_seconds / 3600
    status = Status.WARN if hours > WARN_BACKUP_HOURS else Status.OK
    text = f"the newest one in {folder} is {hours:,.1f} hours old"
    return Verdict(status, text, "" if status is Status.OK else take)


def _check_files(watches: int) -> Verdict:
    return files_verdict(resource.getrlimit(resource.RLIMIT_NOFILE)[1], watches)


def _check_backup(folder: Path | None) -> Verdict:
    if folder is None:
        return Verdict(Status.OK, "not looked for, since FANFARE_BACKUP_DIR is not set")
    return backup_verdict(folder, newest_backup_age(folder, time.time()))


def _check_disk(folder: Path) -> Verdict:
    existing = real_path(folder)
    while not existing.exists():
        existing = existing.parent
    usage = shutil.disk_usage(existing)
    return disk_verdict(folder, usage.free, usage.total)
