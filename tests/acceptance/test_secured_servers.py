"""The whole system on a Postgres, Redis and Kafka that accept only TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import redis
from helpers.fanfare import Fanfare
from helpers.tls_servers import PASSWORD, secure_kafka, tls_front
from pydantic import SecretStr

from core.settings import Settings
from embedded import postgres as pg
from embedded.ports import HOST, free_ports
from embedded.stack import default_parts_dir
from embedded.valkey import prepare_valkey
from ops.certificates import Authority
from ops.system import System


def _addresses(stack: ExitStack, folder: Path, authority: Path) -> Settings:
    """Start the servers; return their addresses, which name the certificate authority."""
    tls = folder / "tls"
    postgres_port, redis_port = free_ports(2)
    password = pg.load_password(folder / "postgres")
    for server in (
        pg.prepare_postgres(folder / "postgres", postgres_port, password),
        prepare_valkey(folder / "valkey", redis_port),
    ):
        server.start()
        stack.callback(server.stop)
    postgres = stack.enter_context(tls_front(postgres_port, tls, postgres=True))
    cache = stack.enter_context(tls_front(redis_port, tls))
    brokers = stack.enter_context(secure_kafka(folder / "kafka", tls))
    ca = quote(str(authority))
    kafka = f"fanfare:{quote(PASSWORD, safe='')}@{brokers}?ca={ca}&mechanism=PLAIN"
    return Settings(
        postgres_dsn=SecretStr(
            f"{pg.dsn(postgres, password)}?sslmode=verify-full&sslrootcert={ca}"
        ),
        redis_url=SecretStr(f"rediss://{HOST}:{cache}/0?ssl_ca_certs={ca}"),
        kafka_bootstrap_servers=SecretStr(f"sasl+ssl://{kafka}"),
    )


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Return the addresses of the servers."""
    folder = tmp_path_factory.mktemp("secured")
    Authority().issue(folder / "tls", "servers")
    with ExitStack() as stack:
        yield _addresses(stack, folder, folder / "tls" / "ca.crt")


def test_the_system_works_over_tls(addresses: Settings, tmp_path: Path) -> None:
    """Commands, fan-out, pages and `fanfare status` work with TLS addresses as settings."""
    system = System(tmp_path, default_parts_dir(), given=addresses)
    system.start()
    try:
        with Fanfare(system) as fanfare:
            author, reader = fanfare.cached_pair()
            pushed = fanfare.tweet(author)
            fanfare.wait_drained()
            assert fanfare.timeline(reader, 1).tweets == [pushed]
            assert fanfare.whole_timeline(reader) == fanfare.oracle(reader)
            assert fanfare.command("status").returncode == 0
    finally:
        system.stop()


def test_a_certificate_of_another_authority_is_refused(addresses: Settings, tmp_path: Path) -> None:
    """Only the certificate authority in the address is trusted."""
    Authority().issue(tmp_path, "another")
    real, other = addresses.redis_address().partition("ssl_ca_certs=")[2], str(tmp_path / "ca.crt")
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(addresses.primary_dsn().replace(real, other))
    with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
        redis.Redis.from_url(addresses.redis_address().replace(real, other)).ping()
