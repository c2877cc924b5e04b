"""The line in the log with which each process begins: its version, and the settings in effect."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from psycopg.conninfo import conninfo_to_dict

from core.runtime.build_info import version
from core.runtime.log_fields import Fields
from core.runtime.metrics_ports import Program
from core.settings import ReadBy, Settings, SettingsError

LOG = logging.getLogger(__name__)

# What is logged of a Postgres address; all else, such as the password, is left out.
_SHOWN_OF_DSN = ("host", "port", "dbname", "user", "sslmode", "target_session_attrs", "service")


def log_start(settings: Settings, program: Program) -> None:
    """Log that the process starts, with its version and its settings, but no secret in them."""
    LOG.info(
        "process starts: version=%s program=%s pid=%d %s",
        version(),
        program.name.lower(),
        os.getpid(),
        shown_settings(settings, program),
    )


def shown_settings(settings: Settings, program: Program) -> Fields:
    """Return the settings that a program reads, as they are in effect, without secrets."""
    addresses: dict[str, Callable[[], str]] = {
        "postgres_dsn": lambda: _shown_dsn(settings.primary_dsn()),
        "postgres_replica_dsn": lambda: _shown_dsn(settings.replica_dsn()),
        "redis_url": lambda: _shown_url(settings.redis_address()),
        "kafka_bootstrap_servers": lambda: _shown_url(settings.kafka_address()),
    }
    shown = Fields()
    for name, field in Settings.model_fields.items():
        readers = next(each for each in field.metadata if isinstance(each, ReadBy))
        if program.name.lower() not in readers.programs:
            continue
        if name in addresses:
            try:
                shown[name] = addresses[name]()
            except SettingsError:
                shown[name] = "unusable"
        else:
            value = getattr(settings, name)
            # A secret that this module does not know is not printed, since str() masks it.
            shown[name] = value if isinstance(value, int | float) else str(value)
    return shown


def _shown_dsn(dsn: str) -> str:
    parts = conninfo_to_dict(dsn)
    return " ".join(f"{name}={parts[name]}" for name in _SHOWN_OF_DSN if name in parts)


def _shown_url(url: str) -> str:
    """Return a URL without what stands before its last @, and without its options."""
    login, _, rest = url.rpartition("@")
    scheme = f"{login.partition('://')[0]}://" if "://" in login else ""
    return scheme + rest.partition("?")[0]
