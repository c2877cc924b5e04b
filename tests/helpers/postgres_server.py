"""An embedded Postgres by itself, without Redis, Kafka, and Fanfare's processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.settings import Settings
from embedded.stack import Stack, default_parts_dir


@contextmanager
def postgres_server(folder: Path) -> Iterator[str]:
    """Run a Postgres with its data in a folder; yield the DSN of its database."""
    elsewhere = Settings.model_construct(redis_url="redis://none", kafka_bootstrap_servers="none:1")
    with Stack(folder, default_parts_dir(), given=elsewhere) as stack:
        yield stack.addresses.postgres_dsn
