"""A real PgBouncer in transaction mode, in front of a Postgres."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from embedded import users
from embedded.ports import free_ports
from embedded.server import ServerProcess

# Debian installs it where only root's PATH leads.
PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
# Fewer than Fanfare's pools have together, so that sessions go from one to another.
SESSIONS = 4
CONFIGURATION = """
[databases]
{database} = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {sessions}
ignore_startup_parameters = options
query_wait_timeout = 10
"""


@contextmanager
def pgbouncer(dsn: str, folder: Path) -> Iterator[str]:
    """Run PgBouncer as docs/operations.md describes it; yield the DSN that leads through it.

    The test is skipped where PgBouncer is not installed.

    Args:
        dsn: Postgres.
        folder: an empty one, for the configuration.
    """
    if PROGRAM is None:
        pytest.skip("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    server = conninfo_to_dict(dsn)
    (own_port,) = free_ports(1)
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        CONFIGURATION.format(
            database=server["dbname"],
            host=server["host"],
            port=server["port"],
            user=server["user"],
            password=server["password"],
            own_port=own_port,
            sessions=SESSIONS,
        )
    )
    pooled = make_conninfo(dsn, host="127.0.0.1", port=own_port)
    # PgBouncer does not run as root. Its user may not enter the folders above this one, hence the
    # relative path.
    user = users.unprivileged_user() if os.geteuid() == 0 else None
    users.chown(folder)
    users.chown(configuration)
    process = ServerProcess(
        "PgBouncer",
        [PROGRAM, configuration.name],
        folder / "pgbouncer.log",
        lambda: _answers(pooled),
        folder=folder,
        user=user,
    )
    process.start()
    try:
        yield pooled
    finally:
        process.stop()


def _answers(dsn: str) -> bool:
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return False
    return True
