"""The metrics that every process has: its disk, backups, certificate, and servers' settings."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from core.rpc.tls import Certificates, expiry
from core.runtime.pulled_metrics import PulledMetric, exported, gauge, gauges
from core.runtime.sampling import Sample, sampling
from core.settings import Settings
from core.storage.backups import newest_backup_age
from core.storage.metrics import settings_metric
from core.storage.settings_monitor import SettingsMonitor

SAMPLE_SECONDS = 30.0


@contextmanager
def process_metrics(
    settings: Settings,
    certificates: Certificates | None,
    checks: SettingsMonitor,
    own: Iterable[PulledMetric],
    samples: Iterable[Sample[object]] = (),
) -> Iterator[None]:
    """Export metrics until the context ends; if metrics are off, do nothing.

    Args:
        settings: the settings of the process.
        certificates: its certificates; None where TLS is off.
        checks: the checks of the servers' settings.
        own: the metrics that only this process has.
        samples: what these look up in the background.
    """
    if not settings.metrics_port:
        yield
        return
    free = Sample("free disk", partial(free_bytes, settings.state_dir), SAMPLE_SECONDS)
    backup = Sample("backup", partial(_backup_age, settings.backup_dir), SAMPLE_SECONDS)
    metrics = [
        *own,
        settings_metric(checks),
        gauges(
            "fanfare_disk_free_bytes",
            "Free space on the disk of FANFARE_STATE_DIR, or of the working folder if there is no "
            "such folder.",
            "path",
            lambda: {("state",): _known(free)},
        ),
        gauge(
            "fanfare_backup_age_seconds",
            "Age of the newest complete backup in FANFARE_BACKUP_DIR, infinite if there is none; "
            "NaN if that is not set.",
            lambda: _known(backup),
        ),
    ]
    all_samples: list[Sample[object]] = [*samples, free, backup]
    if certificates is not None:
        ends = Sample("certificate", lambda: expiry(certificates.files().certificate), 60.0)
        all_samples.append(ends)
        metrics.append(
            gauges(
                "fanfare_certificate_expiry_timestamp_seconds",
                "When the certificate that this process uses expires, in seconds since 1970.",
                "file",
                lambda: {("tls",): _known(ends)},
            )
        )
    with exported(metrics), sampling(all_samples):
        yield


def free_bytes(folder: Path) -> float:
    """Return how many bytes are free for this user on the disk that a folder is on."""
    disk = os.statvfs(folder if folder.exists() else Path.cwd())
    return float(disk.f_bavail * disk.f_frsize)


def _backup_age(folder: Path | None) -> float:
    return math.nan if folder is None else newest_backup_age(folder, time.time())


def _known(sample: Sample[float]) -> float:
    latest = sample.latest
    return math.nan if latest is None else latest
