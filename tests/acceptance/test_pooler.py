"""The whole system through PgBouncer in transaction mode, with a session DSN for the relay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import psycopg
import pytest
from helpers.expected_answers import Questions
from helpers.fanfare import Fanfare
from helpers.pgbouncer import SESSIONS, pgbouncer
from helpers.postgres_server import postgres_server
from helpers.traffic import Traffic
from psycopg.conninfo import make_conninfo

from core.runtime.process import StartError
from core.storage.postgres import SharedSessionError
from embedded.stack import default_parts_dir
from ops.migrate import apply_migrations
from ops.system import System
from write_service.postgres_outbox import PostgresOutbox
from write_service.same_database import refuse_other_database

SEED = 45
COMMANDS = 100


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fanfare]:
    """Return clients of a system that reaches its Postgres through PgBouncer."""
    with ExitStack() as stack:
        direct = stack.enter_context(postgres_server(tmp_path_factory.mktemp("behind")))
        dsn = stack.enter_context(pgbouncer(direct, tmp_path_factory.mktemp("pgbouncer")))
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("FANFARE_POSTGRES_DSN", dsn)
        environment.setenv("FANFARE_POSTGRES_SESSION_DSN", direct)
        system = stack.enter_context(System(tmp_path_factory.mktemp("system"), default_parts_dir()))
        yield stack.enter_context(Fanfare(system))


def _check_answers(clients: Fanfare, traffic: Traffic) -> None:
    """Compare every answer of the read service with SQL, once all events have taken effect."""
    clients.wait_drained()
    edges = [(edge[1], edge[2]) for edge in traffic.known("edge")]
    tweets = [tweet[1] for tweet in traffic.known("tweet")]
    questions = Questions(clients, traffic.users, traffic.names, tweets, edges)
    assert not questions.differences().values()


def test_traffic_through_a_pooler_is_exact(pooled: Fanfare) -> None:
    """No command fails, each is seen by a read with its token, and all answers are those of SQL."""
    traffic = Traffic(pooled, SEED)
    traffic.begin(8, 20)
    with traffic.running():
        traffic.wait_for_more(COMMANDS)
        deed = traffic.deeds[-1]
        assert traffic.done(deed, traffic.read(deed))
    _check_answers(pooled, traffic)
    assert not traffic.surprises
    assert len(traffic.deeds) == sum(len(states) for states in traffic.states.values())


def test_another_relay_takes_over_behind_a_pooler(pooled: Fanfare) -> None:
    """The relay lock belongs to a session of its own, so it is released with its process."""
    traffic = Traffic(pooled, SEED + 1)
    traffic.begin(4, 5)
    write = pooled.system.processes["write"]
    second, _ = pooled.system.another_write_service()
    try:
        write.kill()
        ((key,),) = pooled.sql("SELECT max(id) FROM outbox")
        pooled.wait_sent()
        write.start()
        with traffic.running():
            traffic.wait_for_more(20)
        _check_answers(pooled, traffic)
        assert pooled.sql("SELECT max(id) FROM outbox") > [(key,)]
    finally:
        second.stop()


def test_nothing_stays_in_a_shared_session(pooled: Fanfare) -> None:
    """No session of the pooler has a prepared statement, or a setting of somebody else."""
    pooled.tweets(pooled.user(), 10)
    left = (
        "SELECT current_setting('synchronous_commit'), current_setting('statement_timeout'),"
        " coalesce(current_setting('transaction_timeout', true), '0'),"
        " (SELECT count(*) FROM pg_prepared_statements),"
        " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),"
        " (SELECT count(*) FROM pg_listening_channels())"
    )
    sessions = {}
    with ExitStack() as stack:
        for _ in range(SESSIONS):
            connection = psycopg.connect(pooled.settings.primary_dsn(), prepare_threshold=None)
            stack.enter_context(closing(connection))
            # In a transaction, so that each connection keeps its session.
            ((pid,),) = connection.execute("SELECT pg_backend_pid()")
            (sessions[pid],) = connection.execute(left.encode())
    assert len(sessions) == SESSIONS
    assert set(sessions.values()) == {("on", "0", "0", 0, 0, 0)}


def test_what_needs_a_session_says_what_to_set(
    pooled: Fanfare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay and a command that got the pooler's address name the setting, and change nothing."""
    with pytest.raises(SharedSessionError, match="set FANFARE_POSTGRES_SESSION_DSN to the address"):
        PostgresOutbox(pooled.settings.primary_dsn())
    assert pooled.command("status").returncode == 0
    monkeypatch.delenv("FANFARE_POSTGRES_SESSION_DSN")
    migrated = pooled.command("migrate")
    assert migrated.returncode == 1
    assert "set FANFARE_POSTGRES_SESSION_DSN to the address of Postgres" in migrated.stderr


async def test_a_session_in_another_database_is_refused(pooled: Fanfare) -> None:
    """Its relay would find no events, and those of the commands would stay unsent for ever."""
    primary, session = pooled.settings.primary_dsn(), pooled.settings.session_dsn()
    await refuse_other_database(primary, session)
    await refuse_other_database(primary, make_conninfo(session, port="1"))
    pooled.sql("CREATE DATABASE another TEMPLATE template0")
    other = make_conninfo(session, dbname="another")
    await refuse_other_database(primary, other)  # without the schema, it cannot be told
    apply_migrations(other)
    with pytest.raises(StartError, match="leads to another database than FANFARE_POSTGRES_DSN"):
        await refuse_other_database(primary, other)


def test_the_operators_commands_work_behind_a_pooler(pooled: Fanfare) -> None:
    """They use the session DSN."""
    for command in (("migrate",), ("verify", "--sample", "5"), ("replay", "--since", "1")):
        done = pooled.command(*command)
        assert done.returncode == 0, done.stdout + done.stderr
    pooled.wait_drained()
